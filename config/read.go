package config

import (
	"encoding"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Size is a number of bytes.
type Size int64

var units = []struct {
	suffix string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}

// UnmarshalText reads a number, with KiB, MiB or GiB behind it or nothing.
func (s *Size) UnmarshalText(b []byte) error {
	text, factor := string(b), int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			text, factor = strings.TrimSpace(rest), u.factor
		}
	}
	n, err := strconv.ParseInt(text, 10, 40)
	if err != nil || n < 1 || n > (1<<50)/factor {
		return fmt.Errorf("%q is not a size such as 64MiB", b)
	}
	*s = Size(n * factor)
	return nil
}

// String writes the size with the largest unit that fits.
func (s Size) String() string {
	for _, u := range slices.Backward(units) {
		if int64(s) >= u.factor && int64(s)%u.factor == 0 {
			return strconv.FormatInt(int64(s)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Load reads a file over the defaults. Its error lists all that is wrong, a line
// each, with file and line.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse reads a configuration; name is for its errors.
func Parse(name string, text []byte) (Config, error) {
	c := Default()
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	r := reader{name: name, seen: make(map[string]int)}
	for i, doc := range file.Docs {
		switch body := doc.Body.(type) {
		case nil, *ast.CommentGroupNode:
		default:
			if i > 0 {
				r.problem(body, "a second document")
				continue
			}
			r.section(body, "", reflect.ValueOf(&c).Elem())
		}
	}
	r.check(&c)
	return c, errors.Join(r.problems...)
}

// reader walks over the file and the struct side by side.
type reader struct {
	name     string
	seen     map[string]int // line by key
	problems []error
}

func (r *reader) problem(at ast.Node, format string, args ...any) {
	r.problemLine(at.GetToken().Position.Line, format, args...)
}

func (r *reader) problemLine(line int, format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("%s:%d: %s", r.name, line, fmt.Sprintf(format, args...)))
}

func (r *reader) section(n ast.Node, prefix string, to reflect.Value) {
	var entries []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		entries = m.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{m}
	case *ast.NullNode:
	default:
		r.problem(n, "%s wants keys and values below it", strings.TrimSuffix(prefix, "."))
	}
	for _, e := range entries {
		key := prefix + e.Key.String()
		field, ok := fieldOf(to, e.Key.String())
		switch {
		case !ok:
			r.problem(e.Key, "unknown key %s%s", key, suggest(to, prefix))
		case r.seen[key] != 0:
			r.problem(e.Key, "%s stands twice, first on line %d", key, r.seen[key])
		case field.Kind() == reflect.Struct:
			r.seen[key] = e.Key.GetToken().Position.Line
			r.section(e.Value, key+".", field)
		default:
			r.seen[key] = e.Key.GetToken().Position.Line
			r.value(e.Value, key, field)
		}
	}
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func suggest(v reflect.Value, prefix string) string {
	var keys []string
	for i := range v.NumField() {
		keys = append(keys, prefix+v.Type().Field(i).Tag.Get("yaml"))
	}
	return ": there are " + strings.Join(keys, ", ")
}

func (r *reader) value(n ast.Node, key string, to reflect.Value) {
	s, ok := n.(ast.ScalarNode)
	if _, null := n.(*ast.NullNode); !ok || null {
		r.problem(n, "%s wants a value", key)
		return
	}
	text := fmt.Sprint(s.GetValue())
	if u, ok := to.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			r.problem(n, "%s: %v", key, err)
		}
		return
	}
	switch to.Kind() {
	case reflect.Bool:
		b, ok := s.GetValue().(bool)
		if !ok {
			r.problem(n, "%s: %q is not true or false", key, text)
		}
		to.SetBool(b)
	default:
		to.SetString(text)
	}
}

// check looks at what single values cannot show.
func (r *reader) check(c *Config) {
	bad := func(key, format string, args ...any) {
		r.problemLine(max(r.seen[key], 1), key+": "+format, args...)
	}
	for key, listen := range map[string]string{"http.listen": c.HTTP.Listen, "nats.listen": c.NATS.Listen, "metrics.listen": c.Metrics.Listen} {
		if listen == "" && key == "metrics.listen" || listen == NoListen && key == "nats.listen" {
			continue
		}
		if _, port, err := net.SplitHostPort(listen); err != nil || port == "" {
			bad(key, "%q is not host:port", listen)
		}
	}
	if c.Data == "" {
		bad("data", "wants a directory")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		bad("tls", "wants both cert and key")
	}
	if u, err := url.Parse(c.HTTP.PublicURL); c.HTTP.PublicURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.HasSuffix(u.Path, "/")) {
		bad("http.public_url", "%q is not a URL such as https://exchange.example.org", c.HTTP.PublicURL)
	}
	if c.Memory.Budget < 192<<20 {
		bad("memory.budget", "%s is less than 192MiB, which the exchange needs", c.Memory.Budget)
	}
	if c.Memory.Cache > c.Memory.Budget/2 {
		bad("memory.cache", "%s is more than half of memory.budget, %s", c.Memory.Cache, c.Memory.Budget)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", "%q is not text or json", c.Log.Format)
	}
	if c.TLS.ClientCA != "" && c.TLS.Cert == "" {
		bad("tls.client_ca", "client certificates need TLS: set tls.cert and tls.key")
	}
	for _, err := range c.Exposed() {
		key, why, _ := strings.Cut(err.Error(), ": ")
		bad(key, "%s", why)
	}
}

// NoListen, as nats.listen, opens no port.
const NoListen = "none"

// Exposed lists the addresses beyond loopback that would be listened on without
// TLS: credentials and victims' addresses would cross the network in the clear.
func (c *Config) Exposed() (errs []error) {
	if c.TLS.Cert != "" {
		return nil
	}
	if !c.HTTP.BehindProxy && !loopback(c.HTTP.Listen) {
		errs = append(errs, fmt.Errorf("http.listen: %s is beyond loopback and there is no TLS: set tls.cert and tls.key, or http.behind_proxy where a proxy speaks TLS", c.HTTP.Listen))
	}
	if c.NATS.Listen != NoListen && !loopback(c.NATS.Listen) {
		errs = append(errs, fmt.Errorf("nats.listen: %s is beyond loopback and there is no TLS: set tls.cert and tls.key", c.NATS.Listen))
	}
	return errs
}

// loopback reports whether an address to listen on is this machine's alone.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
