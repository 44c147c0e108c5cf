package taxii

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Filter is what a request's query asks for (TAXII 2.1 sections 3.4 and 3.5).
type Filter struct {
	// AddedAfter is exclusive; zero means from the first.
	AddedAfter time.Time
	// Limit is 0 where the client named none.
	Limit int
	// Next is the client's copy of what a page said; "" for a first page.
	Next         string
	IDs          []string
	Types        []string
	SpecVersions []string
	Versions     []VersionFilter
	// Match holds every other match field by its name, such as the optional ones
	// of the interoperability test document. Who does not know one ignores it.
	Match map[string][]string
}

// VersionFilter is one value of match[version]: a keyword, or a version.
type VersionFilter struct {
	Keyword string // "first", "last", "all", or "" where At counts
	At      time.Time
}

// maxValues is how many values one match parameter may list, maxLength how long
// all parameters may be together: they come back in a cursor, which has to fit a
// request line.
const (
	maxValues = 1000
	maxLength = 16 << 10
)

// ParseFilter reads the query of a request. Unknown parameters are ignored, as
// section 3.4.1 wants it of match fields; one that is doubled or malformed is an
// *Error of status 400.
func ParseFilter(query url.Values) (Filter, error) {
	var f Filter
	var err error
	one := func(name string) string {
		values := query[name]
		if len(values) > 1 && err == nil {
			err = badParameter(name, "is given twice")
		}
		if len(values) == 0 {
			return ""
		}
		if values[0] == "" && err == nil && name != "next" { // which some clients send where they have none
			err = badParameter(name, "is empty")
		}
		return values[0]
	}
	list := func(name string) []string {
		s := one(name)
		if s == "" {
			return nil
		}
		values := strings.Split(s, ",")
		if len(values) > maxValues && err == nil {
			err = badParameter(name, "lists more than 1000 values")
		}
		return values
	}
	if s := one("added_after"); s != "" {
		t, e := ParseTime(s)
		if e != nil && err == nil {
			err = badParameter("added_after", e.Error())
		}
		f.AddedAfter = t
	}
	if s := one("limit"); s != "" {
		n, e := strconv.ParseUint(s, 10, 63)
		if (e != nil || n == 0) && err == nil {
			err = badParameter("limit", "is not a whole number from 1 up")
		}
		f.Limit = int(min(n, math.MaxInt32))
	}
	f.Next = one("next")
	f.IDs, f.Types, f.SpecVersions = list("match[id]"), list("match[type]"), list("match[spec_version]")
	length := 0
	for name, values := range query {
		if name != "next" {
			length += len(name) + len(strings.Join(values, ""))
		}
		field, ok := strings.CutPrefix(name, "match[")
		if field, ok2 := strings.CutSuffix(field, "]"); ok && ok2 && !slices.Contains(standardFields, field) {
			if f.Match == nil {
				f.Match = make(map[string][]string)
			}
			f.Match[field] = list(name)
		}
	}
	if length > maxLength && err == nil {
		err = badParameter("the query", "is longer than 16 KiB")
	}
	versions := list("match[version]")
	for _, s := range versions {
		v, e := parseVersion(s, len(versions))
		if e != nil && err == nil {
			err = e
		}
		if slices.ContainsFunc(f.Versions, func(w VersionFilter) bool { return w.Keyword == v.Keyword && w.At.Equal(v.At) }) && err == nil {
			err = badParameter("match[version]", "lists one value twice")
		}
		f.Versions = append(f.Versions, v)
	}
	return f, err
}

// standardFields are the match fields of section 3.4.1.
var standardFields = []string{"id", "type", "version", "spec_version"}

func parseVersion(s string, among int) (VersionFilter, error) {
	switch s {
	case "first", "last":
		return VersionFilter{Keyword: s}, nil
	case "all":
		if among > 1 {
			return VersionFilter{}, badParameter("match[version]", "lists all and something else")
		}
		return VersionFilter{Keyword: s}, nil
	}
	t, err := ParseTime(s)
	if err != nil {
		return VersionFilter{}, badParameter("match[version]", "wants first, last, all or timestamps: "+err.Error())
	}
	return VersionFilter{At: t}, nil
}

func badParameter(name, why string) *Error {
	return NewError(http.StatusBadRequest, "Bad parameter", "%s %s", name, why)
}

// Query writes the filter as a request's query.
func (f *Filter) Query() url.Values {
	q := make(url.Values)
	if !f.AddedAfter.IsZero() {
		q.Set("added_after", FormatTime(f.AddedAfter))
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Next != "" {
		q.Set("next", f.Next)
	}
	set := func(field string, values []string) {
		if len(values) > 0 {
			q.Set("match["+field+"]", strings.Join(values, ","))
		}
	}
	set("id", f.IDs)
	set("type", f.Types)
	set("spec_version", f.SpecVersions)
	for field, values := range f.Match {
		set(field, values)
	}
	var versions []string
	for _, v := range f.Versions {
		if v.Keyword == "" {
			v.Keyword = v.At.UTC().Format(time.RFC3339Nano)
		}
		versions = append(versions, v.Keyword)
	}
	if len(versions) > 0 {
		q.Set("match[version]", strings.Join(versions, ","))
	}
	return q
}
