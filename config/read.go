package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/config/strict"
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

// Interval is a length of time.
type Interval time.Duration

// UnmarshalText reads one of a second or more.
func (i *Interval) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil || d < time.Second {
		return fmt.Errorf("%.40q is not a length of time of a second or more, such as 30m or 6h", b)
	}
	*i = Interval(d)
	return nil
}

// String writes it as UnmarshalText reads it.
func (i Interval) String() string { return time.Duration(i).String() }

// Clock is a time of the day, since midnight.
type Clock time.Duration

// UnmarshalText reads hours and minutes.
func (c *Clock) UnmarshalText(b []byte) error {
	t, err := time.Parse("15:04", string(b))
	if err != nil {
		return fmt.Errorf("%.40q is not a time of the day such as 03:00", b)
	}
	*c = Clock(t.Sub(t.Truncate(24 * time.Hour)))
	return nil
}

// String writes it as UnmarshalText reads it.
func (c Clock) String() string {
	return time.Time{}.Add(time.Duration(c)).Format("15:04")
}

// Proxies are the addresses of trusted proxies.
type Proxies []netip.Prefix

// UnmarshalScalar refuses what is no list.
func (*Proxies) UnmarshalScalar(text string) error {
	return fmt.Errorf("%.60q is not a list: name the trusted proxies by their prefixes, such as [127.0.0.1/32]", text)
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
	lines, problems := strict.Parse(text, &c)
	r := reader{lines: lines, problems: problems}
	r.check(&c)
	var errs []error
	for _, p := range r.problems {
		errs = append(errs, fmt.Errorf("%s:%d: %s", name, max(p.Line, 1), p.Reason))
	}
	return c, errors.Join(errs...)
}

// reader knows where the keys of a file are.
type reader struct {
	lines    map[string]int
	problems []strict.Problem
}

// check looks at what single values cannot show.
func (r *reader) check(c *Config) {
	bad := func(key, format string, args ...any) {
		r.problems = append(r.problems, strict.Problem{Line: r.lines[key], Reason: key + ": " + fmt.Sprintf(format, args...)})
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
	for _, p := range c.HTTP.BehindProxy {
		if p.Addr().Is4In6() {
			bad("http.behind_proxy", "%s is an IPv4 prefix written as IPv6: write it as IPv4", p)
		}
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", "%q is not text or json", c.Log.Format)
	}
	if c.TLS.ClientCA != "" && c.TLS.Cert == "" {
		bad("tls.client_ca", "client certificates need TLS: set tls.cert and tls.key")
	}
	r.archive(&c.Archive, bad)
	for _, err := range c.Exposed() {
		key, why, _ := strings.Cut(err.Error(), ": ")
		bad(key, "%s", why)
	}
}

// archive looks at what the archive needs.
func (r *reader) archive(a *Archive, bad func(key, format string, args ...any)) {
	bucket := strings.HasPrefix(a.To, bucketScheme)
	switch {
	case a.To == "":
		return
	case bucket && strings.Trim(a.To[len(bucketScheme):], "/") == "":
		bad("archive.to", "%q names no bucket: write s3://bucket or s3://bucket/prefix", a.To)
	case !bucket && strings.Contains(a.To, "://"):
		bad("archive.to", "%q is no directory and no bucket such as s3://bucket", a.To)
	}
	if bucket {
		if u, err := url.Parse(a.Endpoint); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			bad("archive.endpoint", "%q is not the URL of a store, such as https://s3.example.org", a.Endpoint)
		} else if u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "1")) {
			bad("archive.endpoint", "%s is beyond this machine and not https: the keys would cross the network in the clear", a.Endpoint)
		}
		if a.Credentials == "" {
			bad("archive.credentials", "a bucket wants a file with an access key and its secret")
		}
	}
	switch {
	case a.Unencrypted && len(a.Recipients) > 0:
		bad("archive.unencrypted", "there are recipients as well: leave out one of the two")
	case !a.Unencrypted && len(a.Recipients) == 0:
		bad("archive.recipients", "anybody who gets at the archive could read it: name the age recipients that alone can, or say unencrypted: true where that is meant")
	}
}

// bucketScheme begins what names a bucket.
const bucketScheme = "s3://"

// Bucket is the bucket and the prefix that the archive is in; ok is false where it is a directory.
func (a *Archive) Bucket() (bucket, prefix string, ok bool) {
	rest, ok := strings.CutPrefix(a.To, bucketScheme)
	bucket, prefix, _ = strings.Cut(rest, "/")
	return bucket, prefix, ok
}

// NoListen, as nats.listen, opens no port.
const NoListen = "none"

// Exposed lists the addresses beyond loopback that would be listened on without
// TLS: credentials and victims' addresses would cross the network in the clear.
func (c *Config) Exposed() (errs []error) {
	if c.TLS.Cert != "" {
		return nil
	}
	if len(c.HTTP.BehindProxy) == 0 && !loopback(c.HTTP.Listen) {
		errs = append(errs, fmt.Errorf("http.listen: %s is beyond loopback and there is no TLS: set tls.cert and tls.key, or name the proxies that speak TLS in http.behind_proxy", c.HTTP.Listen))
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
