package pattern_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/stix/pattern"
)

// canonical are patterns and the form in which they are written, "" for as they are.
// They go through STIX 2.1 section 9 construct by construct.
var canonical = map[string]string{
	`[ipv4-addr:value = '240.0.0.1']`:                                        "",
	`[ipv4-addr:value=='240.0.0.1'OR ipv6-addr:value<>'2001:db8::1']`:        `[ipv4-addr:value = '240.0.0.1' OR ipv6-addr:value != '2001:db8::1']`,
	`[file:hashes.'SHA-256' = 'ab' AND file:size >= 25536]`:                  "",
	`[a:b = 1 OR a:b = 2 AND a:b = 3]`:                                       "",
	`[(a:b = 1 OR a:b = 2) AND a:b = 3]`:                                     "",
	`[a:b = 1] AND [a:b = 2] OR [a:b = 3] FOLLOWEDBY [a:b = 4]`:              "",
	`([a:b = 1] FOLLOWEDBY [a:b = 2]) WITHIN 5.5 SECONDS`:                    "",
	`[a:b = 1] REPEATS 5 TIMES WITHIN 1800 SECONDS`:                          "",
	`[a:b = 1] START t'2016-06-01T00:00:00Z' STOP t'2016-07-01T00:00:00.5Z'`: "",
	`[a:b IN ('x', 'y') AND a:c NOT IN (1, 2)]`:                              "",
	`[a:b IN ()]`: "",
	`[a:b LIKE 'x%' OR a:b NOT MATCHES '^x.*$']`:                                            "",
	`[ipv4-addr:value ISSUBSET '240.0.0.0/8' AND ipv4-addr:value ISSUPERSET '240.0.0.0/8']`: "",
	`[EXISTS network-traffic:src_ref.value]`:                                                "",
	`[file:extensions.'windows-pebinary-ext'.sections[*].entropy > 7.0]`:                    "",
	`[a:b[0].c = true AND a:d = false]`:                                                     "",
	`[a:b = h'cafe' AND a:c = b'dGVzdA==' AND a:t < t'2026-03-19T00:00:00Z']`:               "",
	`[a:b = 'it\'s \\ here']`:                                                               "",
	"[a:b = -5 AND a:c = +1] // a comment\n":                                                `[a:b = -5 AND a:c = +1]`,
	"/* one */ [ a : b\t=\n'x' ]":                                                           `[a:b = 'x']`,
	`[x-usb-device:usbdrive.serial_number = '575833314133343231313937']`:                    "",
	`[user-account:'extensions'.'x y' = 'é']`:                                               `[user-account:extensions.'x y' = 'é']`,
	`[process:command_line MATCHES '^.+>-add GlobalSign.cer -c -s -r localMachine Root$'] FOLLOWEDBY [a:b = 1] WITHIN 300 SECONDS`: "",
}

func TestEveryConstructIsReadAndWritten(t *testing.T) {
	for in, want := range canonical {
		if want == "" {
			want = in
		}
		p, err := pattern.Parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := p.String(); got != want {
			t.Errorf("%s: written as %s", in, got)
		}
	}
}

func TestWhatIsNoPatternIsNamed(t *testing.T) {
	for in, want := range map[string]string{
		``:                              `at 0: the pattern ends where [ or ( was expected`,
		`[`:                             `at 1: the pattern ends where an object type, as in ipv4-addr:value was expected`,
		`[ipv4-addr:value = '1'`:        `at 22: the pattern ends where ] was expected`,
		`[ipv4-addr = '1']`:             `at 11: "=" stands where : was expected`,
		`[ipv4-addr:value '1']`:         `at 17: "1" stands where a comparison operator was expected`,
		`[a:b = x]`:                     `at 7: "x" stands where a value`,
		`[a:b = 'x]`:                    `at 7: a quote is opened and not closed`,
		`[a:b = 'x\n']`:                 `a backslash stands before`,
		`[a:b = 1] [a:b = 2]`:           `at 10: "[" stands where AND, OR, FOLLOWEDBY or a qualifier was expected`,
		`[a:b LIKE 5]`:                  `LIKE wants text in quotes`,
		`[a:b = h'abc']`:                `not pairs of hexadecimal digits`,
		`[a:b = b'*']`:                  `not Base64`,
		`[a:b = t'yesterday']`:          `is no timestamp`,
		`[a:b = 1] START t'x' STOP t''`: `is no timestamp`,
		`[a:b = 1] WITHIN 0 SECONDS`:    `a number above zero`,
		`[a:b = 1] REPEATS 1.5 TIMES`:   `a number above zero`,
		`[a:b-c = 1]`:                   `in quotes where it has a hyphen`,
		`[a:b > true]`:                  `has no meaning for true`,
		`[a:b = 1] AND`:                 `the pattern ends`,
		`[a:b[-1] = 1]`:                 `an index or *`,
		`[AND:b = 1]`:                   `an object type`,
		`[a:b = 1 § 2]`:                 `has no place in a pattern`,
		`[a:b IN ('x' 'y')]`:            `stands where , was expected`,
		`/* open`:                       `a comment is opened`,
		"[a:b = '\xff']":                `not UTF-8`,
		strings.Repeat("(", 100):        `more than 64 deep`,
		`[` + strings.Repeat("(", 100):  `more than 64 deep`,
		strings.Repeat(" ", 70_000):     `longer than 64 KiB`,
	} {
		_, err := pattern.Parse(in)
		var e *pattern.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %s", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for in := range canonical {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := pattern.Parse(in)
		if err != nil {
			return
		}
		once := p.String()
		again, err := pattern.Parse(once)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", in, once, err)
		}
		if twice := again.String(); twice != once {
			t.Fatalf("%q, then %q", once, twice)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := pattern.Parse(`[ipv4-addr:value = '240.0.0.1']`); err != nil {
			b.Fatal(err)
		}
	}
}
