package erasure

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Text tells whether a text names what is erased, between other letters: an address in any of its forms, with its dots in brackets
// ([.]), or reversed under in-addr.arpa; or an account.
func (m *Matcher) Text(b []byte) bool {
	if m.plain(b) {
		return true
	}
	if bytes.Contains(b, []byte(`\u`)) {
		if b = unescaped(b); m.plain(b) {
			return true
		}
	}
	return bytes.Contains(b, []byte("[.]")) && m.plain(bytes.ReplaceAll(b, []byte("[.]"), []byte{'.'}))
}

// plain is Text without what JSON escapes.
func (m *Matcher) plain(b []byte) bool {
	for i := 0; i < len(b); {
		if !inAddress(b[i]) {
			i++
			continue
		}
		k, dots, colons := i, 0, 0
		for ; k < len(b) && inAddress(b[k]); k++ {
			switch b[k] {
			case '.':
				dots++
			case ':':
				colons++
			}
		}
		if (dots > 2 || colons > 1) && m.run(string(b[i:k]), b[k:]) {
			return true
		}
		i = k
	}
	for at := bytes.IndexByte(b, '@'); at >= 0; {
		from, to := at, at+1
		for from > 0 && inAccount(b[from-1]) {
			from--
		}
		for to < len(b) && inAccount(b[to]) {
			to++
		}
		if from < at && to > at+1 && m.account(strings.ReplaceAll(string(b[from:to]), `\`, "")) {
			return true
		}
		next := bytes.IndexByte(b[at+1:], '@')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return false
}

// account tells whether a run of an account's letters is one that is erased, within quotes or behind an equals sign, too: these can
// be letters of it themselves.
func (m *Matcher) account(s string) bool {
	s = strings.TrimRight(s, ".")
	for _, text := range []string{s, strings.TrimRight(s, "'`*_|}")} {
		for i := range strings.IndexByte(text, '@') {
			begins := i == 0 || text[i-1] == '=' || !alphanumeric(text[i-1]) && (i == 1 || !alphanumeric(text[i-2]))
			if begins && m.Account(text[i:]) {
				return true
			}
		}
	}
	return false
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// run tells whether a run of an address's letters has one that is erased: from any letter behind a colon on, such as that of
// "source:2001:db8::5", or between letters of words. behind is what follows it.
func (m *Matcher) run(s string, behind []byte) bool {
	is := func(text string) bool {
		a, err := netip.ParseAddr(text)
		return err == nil && m.Address(a)
	}
	for text, more := strings.Trim(s, "."), true; more; {
		if is(text) || is(strings.TrimSuffix(text, ":")) {
			return true
		}
		if is(":" + text) { // it began with two colons
			return true
		}
		_, text, more = strings.Cut(text, ":")
	}
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' }) {
		part = strings.Trim(part, ".")
		if is(part) {
			return true
		}
		if numbers := strings.Split(part, "."); len(numbers) == 4 && bytes.HasPrefix(bytes.ToLower(behind[:min(len(behind), 12)]), []byte("in-addr.arpa")) {
			slices.Reverse(numbers)
			if is(strings.Join(numbers, ".")) {
				return true
			}
		}
	}
	return false
}

func inAddress(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == '.' || c == ':'
}

// inAccount tells whether a letter can be of an account (RFC 5322 section 3.2.3); a backslash is of what JSON or STIX escapes.
func inAccount(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.\\", c) >= 0
}

// unescaped is JSON with its \u00XX as they are.
func unescaped(b []byte) []byte {
	var out []byte
	for {
		i := bytes.Index(b, []byte(`\u`))
		if i < 0 || i+6 > len(b) {
			return append(out, b...)
		}
		out = append(out, b[:i]...)
		if r, err := strconv.ParseUint(string(b[i+2:i+6]), 16, 16); err == nil {
			out = append(out, string(rune(r))...)
		}
		b = b[i+6:]
	}
}

// Erased stands for a text from which something was erased.
const Erased = "(erased)"

// JSON is a text of JSON without what names what is erased: members of lists that do go, and other texts become Erased; changed is
// false where there is nothing of it. What is no JSON becomes Erased as a whole.
func (m *Matcher) JSON(text []byte) (stays []byte, changed bool) {
	if !m.Text(text) {
		return text, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return []byte(Erased), true
	}
	stays, err := json.Marshal(m.value(v))
	if err != nil {
		return []byte(Erased), true
	}
	return stays, true
}

func (m *Matcher) value(v any) any {
	switch v := v.(type) {
	case string:
		if m.plain([]byte(v)) {
			return Erased
		}
	case []any:
		return slices.DeleteFunc(v, m.has)
	case map[string]any:
		for key, x := range v {
			if m.plain([]byte(key)) {
				delete(v, key)
				continue
			}
			v[key] = m.value(x)
		}
	}
	return v
}

// has tells whether anything in a value names what is erased.
func (m *Matcher) has(v any) bool {
	switch v := v.(type) {
	case string:
		return m.plain([]byte(v))
	case []any:
		return slices.ContainsFunc(v, m.has)
	case map[string]any:
		for key, x := range v {
			if m.plain([]byte(key)) || m.has(x) {
				return true
			}
		}
	}
	return false
}
