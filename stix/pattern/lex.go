package pattern

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// kind is what a token is.
type kind uint8

const (
	end kind = iota
	word
	text   // '…'
	hex    // h'…'
	binary // b'…'
	stamp  // t'…'
	number
	sign // brackets, operators
)

// token is one token; value is what stands between the quotes, unescaped, or the token
// itself.
type token struct {
	kind  kind
	value string
	at    int // bytes from the start
}

// lexer cuts a pattern into tokens.
type lexer struct {
	s  string
	at int
}

// signs are the operators and brackets, longer ones first.
var signs = []string{"!=", "<>", "==", "<=", ">=", "[", "]", "(", ")", ":", ".", ",", "=", "<", ">", "*"}

func (l *lexer) fail(at int, format string, args ...any) error {
	return &Error{Offset: at, Reason: fmt.Sprintf(format, args...)}
}

func (l *lexer) space() error {
	for l.at < len(l.s) {
		rest := l.s[l.at:]
		switch c := rest[0]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f':
			l.at++
		case strings.HasPrefix(rest, "//"):
			if i := strings.IndexByte(rest, '\n'); i >= 0 {
				l.at += i + 1
			} else {
				l.at = len(l.s)
			}
		case strings.HasPrefix(rest, "/*"):
			i := strings.Index(rest, "*/")
			if i < 0 {
				return l.fail(l.at, "a comment is opened and not closed")
			}
			l.at += i + 2
		case strings.HasPrefix(rest, "\u00a0"), strings.HasPrefix(rest, "\u0085"):
			l.at += 2
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	t := token{at: l.at}
	if l.at == len(l.s) {
		return t, nil
	}
	rest := l.s[l.at:]
	switch c := rest[0]; {
	case c == '\'':
		return l.quoted(text, 0)
	case len(rest) > 1 && rest[1] == '\'' && strings.IndexByte("hbt", c) >= 0:
		return l.quoted(map[byte]kind{'h': hex, 'b': binary, 't': stamp}[c], 1)
	case letter(c):
		// A hyphen is part of a name: x-usb-device, ipv4-addr.
		n := 1
		for n < len(rest) && (letter(rest[n]) || digit(rest[n]) || rest[n] == '-') {
			n++
		}
		t.kind, t.value = word, rest[:n]
	case digit(c), (c == '-' || c == '+' || c == '.') && len(rest) > 1 && digit(rest[1]):
		n := 1
		for n < len(rest) && (digit(rest[n]) || rest[n] == '.') {
			n++
		}
		t.kind, t.value = number, rest[:n]
	default:
		for _, s := range signs {
			if strings.HasPrefix(rest, s) {
				t.kind, t.value = sign, s
				break
			}
		}
		if t.value == "" {
			r, _ := utf8.DecodeRuneInString(rest)
			return t, l.fail(l.at, "%q has no place in a pattern", r)
		}
	}
	l.at += len(t.value)
	return t, nil
}

// quoted reads a literal in quotes, after a letter or none.
func (l *lexer) quoted(k kind, letter int) (token, error) {
	t := token{kind: k, at: l.at}
	var b strings.Builder
	for i := l.at + letter + 1; i < len(l.s); i++ {
		switch c := l.s[i]; {
		case c == '\'':
			l.at, t.value = i+1, b.String()
			return t, nil
		case c == '\\' && k == text:
			if i++; i == len(l.s) || l.s[i] != '\'' && l.s[i] != '\\' {
				return t, l.fail(i, `a backslash stands before ' or \ only`)
			}
			b.WriteByte(l.s[i])
		default:
			b.WriteByte(c)
		}
	}
	return t, l.fail(t.at, "a quote is opened and not closed")
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }
