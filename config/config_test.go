package config_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/config"
)

func TestAllErrorsComeAtOnceWithTheirLines(t *testing.T) {
	_, err := config.Parse("tocsin.yaml", []byte(strings.Join([]string{
		"data: /srv/tocsin",
		"colour: blue",
		"http:",
		"  listen: 0.0.0.0:80",
		"  behind_proxy: true",
		"  port: 80",
		"memory:",
		"  cache: lots",
		"  budget: 10MiB",
		"log: {level: loud, format: xml}",
		"nats: 6122",
		"data: again",
	}, "\n")))
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		"tocsin.yaml:2: unknown key colour", "tocsin.yaml:4: http.listen: 0.0.0.0:80 is beyond loopback", `tocsin.yaml:5: http.behind_proxy: "true" is not a list: name the trusted proxies`,
		"tocsin.yaml:6: unknown key http.port: there are http.listen", "tocsin.yaml:8: memory.cache:", "tocsin.yaml:9: memory.budget: 10MiB is less than 192MiB", "tocsin.yaml:10: log.level:",
		`tocsin.yaml:10: log.format: "xml"`, "tocsin.yaml:11: nats wants keys", "tocsin.yaml:12: data stands twice, first on line 1",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestDescribeIsAFileThatSaysTheDefaults(t *testing.T) {
	var b bytes.Buffer
	if err := config.Describe(&b); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("described", b.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if d := cmp.Diff(config.Default(), c); d != "" {
		t.Error(d)
	}
	if n := strings.Count(b.String(), "# "); n < reflect.TypeOf(c).NumField()*2 {
		t.Errorf("%d comments:\n%s", n, b.String())
	}
}

func TestNothingListensBeyondLoopbackWithoutTLS(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "http: {listen: '[::1]:0'}": true, "http: {listen: 'localhost:80'}": true, "http: {listen: ':80'}": false,
		"http: {listen: '192.0.2.1:80'}": false, "http: {listen: ':80', behind_proxy: [192.0.2.10/32, '2001:db8::/64']}": true, "http: {listen: ':80', behind_proxy: [192.0.2.10]}": false, "http: {listen: ':80', behind_proxy: []}": false, "http: {behind_proxy: ['::ffff:10.0.0.0/104']}": false, "nats: {listen: ':4222'}": false,
		"{nats: {listen: ':4222'}, http: {listen: ':80'}, tls: {cert: a, key: b}}": true, "nats: {listen: none}": true,
		"tls: {cert: a}": false, "tls: {client_ca: a}": false, "tls: {cert: a, key: b, client_ca: c}": true,
	} {
		if _, err := config.Parse("x", []byte(text)); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("data: x\nhttp: {listen: '127.0.0.1:0'}\n"))
	f.Add([]byte("memory: {cache: 64MiB}\nlog: &a {level: debug}\ntls: *a"))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = config.Parse("f", text) })
}

// An archive is never unencrypted, or sent in the clear, by an oversight.
func TestAnArchiveSaysWhoReadsIt(t *testing.T) {
	for text, want := range map[string]string{
		`archive: {to: /backup}`:                                                                            "archive.recipients: anybody who gets at the archive could read it",
		`archive: {to: /backup, unencrypted: true}`:                                                         "",
		`archive: {to: /backup, recipients: [age1x]}`:                                                       "",
		`archive: {to: /backup, recipients: [age1x], unencrypted: true}`:                                    "archive.unencrypted: there are recipients as well",
		`archive: {to: /backup, recipient: age1x}`:                                                          "recipient",
		`archive: {to: "s3://", recipients: [age1x], endpoint: "https://s3.example.org", credentials: k}`:   "archive.to: \"s3://\" names no bucket",
		`archive: {to: "s3://b/p", recipients: [age1x], credentials: k}`:                                    "archive.endpoint: \"\" is not the URL of a store",
		`archive: {to: "s3://b/p", recipients: [age1x], credentials: k, endpoint: "http://s3.example.org"}`: "is beyond this machine and not https",
		`archive: {to: "s3://b/p", recipients: [age1x], credentials: k, endpoint: "http://127.0.0.1:9000"}`: "",
		`archive: {to: "s3://b/p", recipients: [age1x], endpoint: "https://s3.example.org"}`:                "archive.credentials: a bucket wants a file",
		`archive: {to: "ftp://x", unencrypted: true}`:                                                       "is no directory and no bucket",
		`journal: {maintenance: "3 o'clock"}`:                                                               "is not a time of the day such as 03:00",
		`journal: {maintenance: "23:59"}`:                                                                   "",
	} {
		_, err := config.Parse("f", []byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
