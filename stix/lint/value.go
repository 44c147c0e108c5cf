package lint

import (
	"fmt"
	"math"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// checks are the types of the table whose values are not texts. They are filled in by init, since they need each other.
var checks map[string]func(c *checker, at string, v any, section string)

func init() {
	checks = map[string]func(c *checker, at string, v any, section string){
		"boolean": func(c *checker, at string, v any, section string) {
			if _, ok := v.(bool); !ok {
				c.add(at, Error, section, "is neither true nor false")
			}
		},
		"dictionary": nil, "list": nil, "ref": nil, "word": nil, "integer": nil, "number": nil, // in checker.value
		"object": func(c *checker, at string, v any, section string) {
			if _, ok := v.(map[string]any); !ok {
				c.add(at, Error, section, "is no object")
			}
		},
		"hashes":       (*checker).hashes,
		"headers":      (*checker).headers,
		"options":      (*checker).options,
		"exif":         (*checker).exif,
		"startup":      (*checker).startup,
		"translations": (*checker).translations,
		"extensions":   func(c *checker, at string, v any, _ string) { c.extensions(at, v) },
		// which checker.markings and object look at
		"granular-marking": func(*checker, string, any, string) {},
		"id":               func(*checker, string, any, string) {},
		"spec":             func(*checker, string, any, string) {},
	}
}

// texts are the types of the table whose values are texts of a form, and what to say of others.
var texts = map[string]*struct {
	is   func(string) bool
	what string
}{
	"string":       {func(string) bool { return true }, ""},
	"text":         {func(s string) bool { return s != "" }, "is empty"},
	"pattern":      {func(string) bool { return true }, ""}, // object looks at it, with pattern_type
	"timestamp":    {isTimestamp, "is no timestamp such as 2026-03-19T00:04:07.000Z"},
	"milliseconds": {func(s string) bool { return len(s) > 23 && isTimestamp(s) }, "is no timestamp with three digits of a second, such as 2026-03-19T00:04:07.000Z"},
	"seconds":      {func(s string) bool { return len(s) == 20 && isTimestamp(s) }, "is no timestamp of whole seconds, such as 2026-03-19T00:04:07Z"},
	"hex":          {matches(`^([a-fA-F0-9]{2})+$`), "is not hexadecimal"},
	"binary":       {matches(`^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$`), "is not base64"},
	"name":         {matches(`^[a-z0-9-]+$`), "is not of a-z, 0-9 and hyphens"},
	"url":          {isURL, "is no URL (RFC 3986)"},
	"mime":         {matches(`^(application|audio|font|image|message|model|multipart|text|video)/[a-zA-Z0-9.+_-]+$`), "is no media type of IANA's registry"},
	"charset":      {matches(`^[a-zA-Z0-9/.+_:-]{2,250}$`), "is no name of a character set of IANA's registry"},
	"ipv4":         {func(s string) bool { return isAddress(s, true) }, "is neither an IPv4 address nor in CIDR notation"},
	"ipv6":         {func(s string) bool { return isAddress(s, false) }, "is neither an IPv6 address nor in CIDR notation"},
	"mac":          {matches(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`), "is no MAC address such as 00:00:5e:00:53:01"},
	"domain":       {isDomain, "is no domain name (RFC 1034, RFC 5890)"},
	"email":        {isEmail, "is no e-mail address (RFC 5322)"},
	"registry":     {func(s string) bool { return !shortHive.MatchString(s) }, "has the short name of a hive: write HKEY_LOCAL_MACHINE and so on"},
	"language-tag": {matches(`^([a-z]{2}(-[A-Z]{2})?(-[a-z]{4})?(-[A-Z]{2}|[0-9]{3})?(-[a-z0-9]{5,8}|[0-9][a-z0-9]{3})*(-[a-z0-9]{1,8})*|[a-z]{3})$`), "is no language tag (RFC 5646)"},
	"cpe":          {matches(`^cpe:2\.3:[aho*-](:[^:\s]([^:\\\s]|\\.)*){10}$`), "is no CPE 2.3 formatted string"},
}

var shortHive = regexp.MustCompile(`^(HKLM|HKCC|HKCR|HKCU|HKU|hklm|hkcc|hkcr|hkcu|hku)|HKCC|HKCR|HKCU|HKU|hklm|hkcc|hkcr|hkcu|hku`)

func matches(pattern string) func(string) bool { return regexp.MustCompile(pattern).MatchString }

// value checks a value against its type.
func (c *checker) value(at string, t *valueType, v any, section string) {
	if c.full() || v == nil { // that it is null is named already
		return
	}
	if text := texts[t.kind]; text != nil {
		s, ok := v.(string)
		switch {
		case !ok:
			c.add(at, Error, section, "is no text")
		case c.errorsOnly && t.kind == "milliseconds" && isTimestamp(s):
		case !text.is(s):
			c.add(at, Error, section, "%.80q %s", s, text.what)
		}
		return
	}
	switch t.kind {
	case "list":
		list, ok := v.([]any)
		if !ok {
			c.add(at, Error, section, "is no list")
		}
		for i, v := range list {
			here := fmt.Sprintf("%s[%d]", at, i)
			if v == nil {
				c.add(here, Error, "3.1", "is null; leave it out")
			}
			c.value(here, t.of, v, section)
			if c.full() {
				return
			}
		}
	case "ref":
		c.reference(at, t.refs, v)
	case "word":
		c.word(at, t.words, v)
	case "integer", "number":
		f, ok := v.(float64)
		if !ok || t.kind == "integer" && f != math.Trunc(f) || f < t.low || f > t.high {
			c.add(at, Error, section, "is %.40s, not a%s", fmt.Sprint(v), t.bounds())
		}
	case "struct":
		o, ok := v.(map[string]any)
		if !ok {
			c.add(at, Error, section, "is no object")
			return
		}
		c.properties(at, t.object, o)
	case "dictionary":
		c.dictionary(at, v, section, t.refs)
	default:
		checks[t.kind](c, at, v, section)
	}
}

func (t *valueType) bounds() string {
	what := map[string]string{"integer": " whole number", "number": " number"}[t.kind]
	switch {
	case math.IsInf(t.low, 0) && math.IsInf(t.high, 0):
		return what
	case math.IsInf(t.high, 0):
		return fmt.Sprintf("%s from %.0f on", what, t.low)
	}
	return fmt.Sprintf("%s from %.0f to %.0f", what, t.low, t.high)
}

// word checks a text against a list of words.
func (c *checker) word(at string, of *vocabulary, v any) {
	s, ok := v.(string)
	switch {
	case !ok:
		c.add(at, Error, "10", "is no text")
	case slices.Contains(of.words, s):
	case of.closed:
		c.add(at, Error, "10", "%.60q is none of the standard's words: %s", v, strings.Join(of.words, ", "))
	default:
		c.add(at, Warning, "10", "%.60q is none of the standard's words: %s", v, strings.Join(of.words, ", "))
	}
}

// reference checks an identifier of an object of some types or classes, of any where none is named.
func (c *checker) reference(at string, may []string, v any) {
	id, _ := v.(string)
	typ, err := stix.ParseID(id)
	if err != nil || !isUUID(id) {
		c.add(at, Error, "2.9", "%.80q is no identifier", fmt.Sprint(v))
		return
	}
	if !refersTo(typ, may) {
		c.add(at, Error, "3.2", "refers to %s, and may to %s", typ, strings.Join(may, " or "))
	}
	if len(may) == 1 && may[0] == "marking-definition" {
		if _, ok := tlp.FromMarking(id); !ok {
			c.add(at, Warning, "7.2", "%s is no TLP marking that is known here: nobody may be shown the object", id)
		}
	}
}

// refersTo tells whether a type is one of some types or classes. One that is not the standard's may be of any class, and is a
// type only where classes are named.
func refersTo(typ string, may []string) bool {
	if len(may) == 0 || slices.Contains(may, typ) {
		return true
	}
	o := theStandard().types[typ]
	if o == nil {
		return typ != "bundle" && slices.ContainsFunc(may, isClass)
	}
	return slices.Contains(may, o.class)
}

func isClass(s string) bool { return s == "sdo" || s == "sro" || s == "sco" }

// isUUID tells whether the UUID of an identifier is one of RFC 4122, versions 1 to 5.
func isUUID(id string) bool {
	u := id[len(id)-36:]
	return u[14] >= '1' && u[14] <= '5' && strings.IndexByte("89abAB", u[19]) >= 0
}

// dictionary checks the keys of a dictionary, and its values, of some kinds where any are named.
func (c *checker) dictionary(at string, v any, section string, kinds []string) {
	c.keys(at, v, section, dictionaryKey, func(at, _ string, v any) {
		kind := "other"
		switch x := v.(type) {
		case string:
			kind = "string"
		case float64:
			if kind = "number"; x == math.Trunc(x) {
				kind = "integer"
			}
		case []any:
			kind = "list"
			if slices.Contains(kinds, "list") && slices.ContainsFunc(x, func(v any) bool { _, ok := v.(string); return !ok }) {
				c.add(at, Error, section, "is no list of texts")
			}
		}
		if len(kinds) > 0 && !slices.Contains(kinds, kind) {
			c.add(at, Error, section, "is no %s", strings.Join(kinds, " or "))
		}
		c.plain("", at, v)
	})
}

var dictionaryKey = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,250}$`)

// keys checks that a value is a dictionary whose keys are of a form, and looks at each value.
func (c *checker) keys(at string, v any, section string, key *regexp.Regexp, value func(at, key string, v any)) {
	m, ok := v.(map[string]any)
	if !ok {
		c.add(at, Error, section, "is no dictionary")
		return
	}
	for name, v := range m {
		if !key.MatchString(name) {
			c.add(at, Error, section, "the key %.80q is not one that may stand there", name)
		}
		value(at+"."+name, name, v)
	}
}

// hashLengths are the forms of hashes (section 10.7).
var hashLengths = map[string]*regexp.Regexp{
	"MD5": regexp.MustCompile(`^[a-fA-F0-9]{32}$`), "SHA-1": regexp.MustCompile(`^[a-fA-F0-9]{40}$`), "SHA-256": regexp.MustCompile(`^[a-fA-F0-9]{64}$`),
	"SHA-512": regexp.MustCompile(`^[a-fA-F0-9]{128}$`), "SHA3-256": regexp.MustCompile(`^[a-fA-F0-9]{64}$`), "SHA3-512": regexp.MustCompile(`^[a-fA-F0-9]{128}$`),
	"SSDEEP": regexp.MustCompile(`^[a-zA-Z0-9/+:.]{1,128}$`), "TLSH": regexp.MustCompile(`^[a-zA-Z0-9]{70,72}$`),
}

var hashKey = regexp.MustCompile(`^[a-zA-Z0-9_-]{3,250}$`)

func (c *checker) hashes(at string, v any, _ string) {
	c.keys(at, v, "2.7", hashKey, func(at, name string, v any) {
		s, ok := v.(string)
		form, known := hashLengths[name]
		switch {
		case !ok:
			c.add(at, Error, "2.7", "is no text")
		case known && !form.MatchString(s):
			c.add(at, Error, "2.7", "%.80q is no hash of %s", s, name)
		case !known:
			c.add(at, Warning, "10.7", "%s is none of the standard's algorithms", name)
		}
	})
}

// headers are those of an HTTP request.
func (c *checker) headers(at string, v any, section string) {
	c.keys(at, v, section, dictionaryKey, func(at, _ string, v any) {
		list, ok := v.([]any)
		if !ok || slices.ContainsFunc(list, func(v any) bool { _, ok := v.(string); return !ok }) {
			c.add(at, Error, section, "is no list of texts")
		}
		c.plain("", at, v)
	})
}

var (
	optionKey  = regexp.MustCompile(`^(SO|ICMP|ICMP6|IP|IPV6|MCAST|TCP|IRLMP)(_[A-Z]+)+$`)
	exifKey    = regexp.MustCompile(`^[A-Z][a-zA-Z0-9_-]+$`)
	startupKey = regexp.MustCompile(`^(lpReserved2?|lpDesktop|lpTitle|dwFillAttribute|dwFlags|wShowWindow|hStdInput|hStdOutput|hStdError|cb|dwX|dwY|dwXSize|dwYSize|dwXCountChars|dwYCountChars|cbReserved2)$`)
	startupInt = regexp.MustCompile(`^(cb|dwX|dwY|dwXSize|dwYSize|dwXCountChars|dwYCountChars|cbReserved2)$`)
	langKey    = regexp.MustCompile(`^[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*$`)
)

func (c *checker) options(at string, v any, section string) {
	c.keys(at, v, section, optionKey, func(at, _ string, v any) {
		if f, ok := v.(float64); !ok || f != math.Trunc(f) {
			c.add(at, Error, section, "is no whole number")
		}
	})
}

func (c *checker) exif(at string, v any, section string) {
	c.keys(at, v, section, exifKey, func(at, _ string, v any) {
		f, number := v.(float64)
		if _, text := v.(string); !text && (!number || f != math.Trunc(f)) {
			c.add(at, Error, section, "is neither a text nor a whole number")
		}
	})
}

func (c *checker) startup(at string, v any, section string) {
	c.keys(at, v, section, startupKey, func(at, name string, v any) {
		f, number := v.(float64)
		_, text := v.(string)
		switch {
		case startupInt.MatchString(name) && (!number || f != math.Trunc(f)):
			c.add(at, Error, section, "is no whole number")
		case name == "cbReserved2" && f != 0:
			c.add(at, Error, section, "is not 0")
		case strings.HasPrefix(name, "lpReserved"):
			c.add(at, Error, section, "is reserved: leave it out")
		case !startupInt.MatchString(name) && !text:
			c.add(at, Error, section, "is no text")
		}
	})
}

// translations are by language, then by property.
func (c *checker) translations(at string, v any, section string) {
	c.keys(at, v, section, langKey, func(at, _ string, v any) {
		m, ok := v.(map[string]any)
		if !ok || len(m) == 0 {
			c.add(at, Error, section, "has no translation of a property")
		}
	})
}

// extensions checks a dictionary of extensions (sections 3.2 and 7.3).
func (c *checker) extensions(at string, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		c.add(at, Error, "3.2", "is no dictionary")
		return
	}
	for key, v := range m {
		here := at + "." + key
		x, ok := v.(map[string]any)
		if !ok || len(x) == 0 {
			c.add(here, Error, "3.2", "is no object with properties")
			continue
		}
		defined, of := theStandard().extensions[key], c.typ
		switch {
		case strings.HasPrefix(key, "extension-definition--"):
			if _, err := stix.ParseID(key); err != nil || !isUUID(key) {
				c.add(here, Error, "2.9", "%.80q is no identifier", key)
			}
			if typ, ok := x["extension_type"]; ok {
				c.word(here+".extension_type", theStandard().words["extension-type"], typ)
			} else {
				c.add(here, Error, "7.3", "has no extension_type")
			}
			c.names(here, x)
			for name, v := range x {
				c.custom(here, name, v)
			}
		case defined != nil && defined.of == of:
			c.properties(here, defined, x)
		case extensionKey.MatchString(key):
			c.add(here, Warning, "7.3", "%.80q is no extension of %s that the standard defines", key, of)
			c.names(here, x)
		default:
			c.add(here, Error, "3.2", "%.80q is neither the id of an extension definition nor an extension that the standard defines", key)
		}
	}
}

var extensionKey = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*-ext$`)

// isTimestamp tells whether a text is a timestamp of RFC 3339 in UTC, of any precision (section 2.16). A 60th second is one.
func isTimestamp(s string) bool {
	_, ok := timestamp(s)
	return ok
}

func timestamp(s string) (time.Time, bool) {
	if len(s) < 20 || s[10] != 'T' || s[len(s)-1] != 'Z' || s[19] != '.' && len(s) != 20 || len(s) == 21 {
		return time.Time{}, false
	}
	leap := time.Duration(0)
	if s[17:19] == "60" {
		s, leap = s[:17]+"59"+s[19:], time.Second
	}
	if dot := strings.IndexByte(s, '.'); dot >= 0 && len(s)-dot > 11 { // more than nine digits
		s = s[:dot+10] + "Z"
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	return at.Add(leap), err == nil
}

func isAddress(s string, four bool) bool {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr().Is4() == four
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && a.Is4() == four
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && !strings.ContainsAny(s, " \t\r\n<>\"{}|\\^`")
}

// isDomain takes names as the DNS has them and as people write them, underscores too.
func isDomain(s string) bool {
	name, err := names.ToASCII(strings.TrimSuffix(s, "."))
	if err != nil || name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

var names = idna.New(idna.MapForLookup(), idna.StrictDomainName(false), idna.CheckHyphens(false))

func isEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s
}
