// Package taxiitest checks that a TAXII 2.1 server does what the specification
// asks of it, by transcripts of requests and answers: a file each, in the
// directory transcripts, and taxii/CONFORMANCE.md says which requirement each
// one shows. It needs nothing but a server that serves Fixture.
//
// A transcript is a list of steps, separated by lines of ===. A step is a
// request and, behind a line of ---, what its answer has to be:
//
//	POST /main/collections/box/objects/ as admin
//	Content-Type: application/taxii+json;version=2.1
//
//	{"objects": []}
//	---
//	422
//	Content-Type: application/taxii+json;version=2.1
//	.title = "Not an envelope"
//	.description = present
//	.error_code = absent
//	.objects.length = 2
//	.next -> cursor
//
// Accept is TAXII 2.1's and the caller is admin, where a step does not say
// otherwise; a header without a value is not sent; "as nobody" sends no
// credential. In an answer "Name: present", "Name: absent" and "Name: ~regular
// expression" are understood, and the same for properties. $cursor stands for
// what an earlier step has kept.
package taxiitest

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Fixture is what the server has to serve, in the form of package
// exchange/fixture: API roots with collections, their rights and objects.
//
//go:embed fixture.json
var Fixture []byte

//go:embed transcripts
var files embed.FS

// Names lists the transcripts.
func Names() (list []string) {
	entries, err := fs.ReadDir(files, "transcripts")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, e := range entries {
		list = append(list, strings.TrimSuffix(e.Name(), ".txt"))
	}
	return list
}

// Run runs every transcript against the server at a base URL without a slash at
// its end.
func Run(t *testing.T, base string) {
	t.Helper()
	for _, name := range Names() {
		text, err := files.ReadFile(path.Join("transcripts", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			x := &exchange{t: t, base: base, kept: make(map[string]string)}
			line := 1
			for step := range strings.SplitSeq(string(text), "===\n") {
				x.step(step, line)
				line += strings.Count(step, "\n") + 1
			}
		})
	}
}

// odd are requests that nobody should send, a line each, with the status that
// answers them.
//
//go:embed odd.txt
var odd string

// RunOdd sends every odd request to the server at a base URL: each has the status
// that the table says, and an error message; none has a 500 or HTML.
func RunOdd(t *testing.T, base string) {
	t.Helper()
	n := 0
	for line := range strings.Lines(odd) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		n++
		line, body, _ := strings.Cut(line, " || ")
		parts := strings.Split(line, " | ")
		status, rest, _ := strings.Cut(parts[0], " ")
		x := &exchange{t: t, base: base, line: n}
		x.step(rest+" as admin\n"+strings.Join(parts[1:], "\n")+"\n\n"+body+"\n---\n"+status+"\n", n)
	}
}

// exchange is one run of a transcript.
type exchange struct {
	t    *testing.T
	base string
	kept map[string]string
	line int
}

func (x *exchange) errorf(format string, args ...any) {
	x.t.Helper()
	x.t.Errorf("line %d: %s", x.line, fmt.Sprintf(format, args...))
}

var variable = regexp.MustCompile(`\$[a-z]+`)

func (x *exchange) step(text string, line int) {
	text = variable.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := x.kept[name[1:]]; ok {
			return value
		}
		return name
	})
	ask, want, ok := strings.Cut(text, "\n---\n")
	x.line = line
	for strings.HasPrefix(ask, "#") {
		var rest string
		_, rest, _ = strings.Cut(ask, "\n")
		ask, x.line = rest, x.line+1
	}
	if !ok {
		x.t.Fatalf("line %d: the step has no answer", x.line)
	}
	res, body := x.send(ask)
	x.line += strings.Count(ask, "\n") + 2
	for expectation := range strings.Lines(want) {
		if expectation = strings.TrimRight(expectation, "\n"); expectation != "" {
			x.check(expectation, res, body)
		}
		x.line++
	}
	// What holds of every answer: section 3.1. Go's server takes it off a 304.
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusNotModified && got != "application/taxii+json;version=2.1" {
		x.errorf("Content-Type: %s", got)
	}
	if res.StatusCode >= 400 && res.Request.Method != http.MethodHead {
		var e struct {
			Title  string `json:"title"`
			Status string `json:"http_status"`
		}
		if json.Unmarshal(body, &e) != nil || e.Title == "" || e.Status != strconv.Itoa(res.StatusCode) {
			x.errorf("no error message: %s", body)
		}
	}
}

// send sends a request.
func (x *exchange) send(ask string) (*http.Response, []byte) {
	head, body, _ := strings.Cut(ask, "\n\n")
	lines := strings.Split(head, "\n")
	first := strings.Fields(lines[0])
	if len(first) != 2 && len(first) != 4 { // method, path, as, user
		x.t.Fatalf("line %d: %q is no request", x.line, lines[0])
	}
	req, err := http.NewRequestWithContext(x.t.Context(), first[0], x.base+first[1], strings.NewReader(body))
	if err != nil {
		x.t.Fatalf("line %d: %v", x.line, err)
	}
	req.Header.Set("Accept", "application/taxii+json;version=2.1")
	req.Header.Set("Accept-Encoding", "identity")
	user := "admin"
	if len(first) == 4 {
		user = first[3]
	}
	if user != "nobody" {
		req.SetBasicAuth(user, "Password0")
	}
	for _, h := range lines[1:] {
		name, value, _ := strings.Cut(h, ":")
		if value = strings.TrimSpace(value); value == "" {
			req.Header[http.CanonicalHeaderKey(name)] = nil
		} else {
			req.Header.Set(name, value)
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req) // follows nothing, adds nothing
	if err != nil {
		x.t.Fatalf("line %d: %v", x.line, err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Fatalf("line %d: %v", x.line, err)
	}
	return res, got
}

var (
	statusLine = regexp.MustCompile(`^\d{3}$`)
	property   = regexp.MustCompile(`^(\.\S*) (=|->) (.+)$`)
	header     = regexp.MustCompile(`^([A-Za-z-]+): (.+)$`)
)

// check holds an answer against one line of what it should be.
func (x *exchange) check(want string, res *http.Response, body []byte) {
	x.t.Helper()
	if statusLine.MatchString(want) {
		if strconv.Itoa(res.StatusCode) != want {
			x.errorf("%s %.100s: status %d, want %s: %.300s", res.Request.Method, res.Request.URL.RequestURI(), res.StatusCode, want, body)
		}
		return
	}
	if want == "no body" {
		if len(body) > 0 {
			x.errorf("a body: %.300s", body)
		}
		return
	}
	if m := header.FindStringSubmatch(want); m != nil {
		values := res.Header.Values(m[1])
		x.compare(m[1], strings.Join(values, ", "), len(values) > 0, m[2], func() bool { return strings.Join(values, ", ") == m[2] })
		return
	}
	m := property.FindStringSubmatch(want)
	if m == nil {
		x.t.Fatalf("line %d: %q is no expectation", x.line, want)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		x.errorf("not JSON: %v: %.300s", err, body)
		return
	}
	value, ok := look(root, m[1])
	text, _ := value.(string)
	if m[2] == "->" {
		if text == "" {
			x.errorf("%s is no text: %.300s", m[1], body)
		}
		x.kept[m[3]] = text
		return
	}
	x.compare(m[1], fmt.Sprint(value), ok, m[3], func() bool {
		d := json.NewDecoder(strings.NewReader(m[3]))
		d.UseNumber()
		var wanted any
		if err := d.Decode(&wanted); err != nil {
			x.t.Fatalf("line %d: %v", x.line, err)
		}
		return reflect.DeepEqual(value, wanted)
	})
}

func (x *exchange) compare(name, got string, there bool, want string, equal func() bool) {
	x.t.Helper()
	pattern, isPattern := strings.CutPrefix(want, "~")
	var good bool
	switch {
	case want == "present":
		good = there
	case want == "absent":
		good = !there
	case isPattern:
		good = there && regexp.MustCompile(`^(?:`+pattern+`)$`).MatchString(got)
	default:
		good = there && equal()
	}
	if !good {
		x.errorf("%s is %.300s, want %s", name, got, want)
	}
}

var element = regexp.MustCompile(`\.[^.\[\]]+|\[\d+\]`)

// look finds a property by its path, such as .objects[0].id or .objects.length.
func look(v any, path string) (any, bool) {
	for _, part := range element.FindAllString(path, -1) {
		if list, ok := v.([]any); ok && part == ".length" {
			v = json.Number(strconv.Itoa(len(list)))
			continue
		}
		switch of := v.(type) {
		case map[string]any:
			next, ok := of[strings.TrimPrefix(part, ".")]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(strings.Trim(part, "[]"))
			if err != nil || i >= len(of) {
				return nil, false
			}
			v = of[i]
		default:
			return nil, false
		}
	}
	return v, true
}
