package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

func pullCommand() *cobra.Command {
	var a access
	var cursorFile, output string
	var matches []string
	var limit int
	c := &cobra.Command{
		Use: "pull COLLECTION", Short: "Read a collection over TAXII 2.1, from any server", Args: arguments(1, 1),
		Long: `Read a collection over TAXII 2.1 and print its objects. COLLECTION is an id, an
alias or a title; --server may be any TAXII 2.1 server, its discovery URL or an
API root. With --cursor the next pull goes on where this one ended. An object
that a collection has at several places is printed once.

With --output csv each row is one sighting of one host: ip or email, timestamp,
first_seen, port, asn, cc, hostname, malware, protocol, application, provider,
dst_ip, dst_port, exposed (what is open there, where it is no infection), count,
tlp, id (of the object), operation, relapse, extra (what else the publisher's
row said, as JSON). tocsin publish --format csv reads it.`,
		RunE: func(c *cobra.Command, args []string) error {
			filter := taxii.Filter{Limit: limit}
			for _, m := range matches {
				if err := match(&filter, m); err != nil {
					return err
				}
			}
			out, err := newObjectWriter(c.OutOrStdout(), output)
			if err != nil {
				return err
			}
			client, col, err := a.collection(c.Context(), args[0])
			if err != nil {
				return err
			}
			cursor, err := readCursor(cursorFile, col.URL)
			if err != nil {
				return err
			}
			for page, err := range client.Pages(c.Context(), col, cursor, filter) {
				if err != nil {
					return errors.Join(err, out.close())
				}
				for _, o := range page.Objects {
					if err := out.object(o); err != nil {
						return err
					}
				}
				// First the objects, then the cursor: what was printed may come
				// again after a crash in between, and nothing is left out.
				if err := out.flush(cursorFile != ""); err != nil {
					return err
				}
				if err := writeCursor(cursorFile, col.URL, page.After); err != nil {
					return err
				}
			}
			err = out.close()
			if out.csv != nil {
				out.csv.left(c)
			}
			return err
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringVar(&cursorFile, "cursor", "", "file that keeps how far this collection was read")
	f.StringArrayVar(&matches, "match", nil, "type=…, id=…, version=…, spec_version=…, or another field that the server knows: only those (repeat; commas list values)")
	f.StringVar(&output, "output", "jsonl", "jsonl, bundle, or csv (a row for each sighting of a host)")
	f.IntVar(&limit, "limit", 0, "objects a page (default: the server's)")
	return c
}

func match(f *taxii.Filter, m string) error {
	name, value, ok := strings.Cut(m, "=")
	list := strings.Split(value, ",")
	switch {
	case !ok || value == "":
		return usagef("--match %q is not name=value", m)
	case name == "type":
		f.Types = list
	case name == "id":
		f.IDs = list
	case name == "spec_version":
		f.SpecVersions = list
	case name == "version":
		for _, s := range list {
			v := taxii.VersionFilter{Keyword: s}
			if t, err := taxii.ParseTime(s); err == nil {
				v = taxii.VersionFilter{At: t}
			} else if s != "first" && s != "last" && s != "all" {
				return usagef("--match version=%s: want first, last, all or a timestamp", s)
			}
			f.Versions = append(f.Versions, v)
		}
	case slices.Contains(stix.MatchFields, name):
		if f.Match == nil {
			f.Match = make(map[string][]string)
		}
		f.Match[name] = list
	default:
		return usagef("--match %s: want type, id, version, spec_version, or, where the server knows it, one of %s", name, strings.Join(stix.MatchFields, ", "))
	}
	return nil
}

// cursorState is what a cursor file holds.
type cursorState struct {
	Collection string `json:"collection"`
	taxiiclient.Cursor
}

func readCursor(file, collection string) (taxiiclient.Cursor, error) {
	if file == "" {
		return taxiiclient.Cursor{}, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return taxiiclient.Cursor{}, nil
	}
	if err != nil {
		return taxiiclient.Cursor{}, fmt.Errorf("read cursor: %w", err)
	}
	var s cursorState
	if err := json.Unmarshal(text, &s); err != nil {
		return taxiiclient.Cursor{}, fmt.Errorf("cursor %s: %w", file, err)
	}
	if s.Collection != collection {
		return taxiiclient.Cursor{}, &hinted{
			fmt.Errorf("cursor %s is for %s, not for %s", file, s.Collection, collection),
			"use one cursor file for each collection and server",
		}
	}
	return s.Cursor, nil
}

func writeCursor(file, collection string, at taxiiclient.Cursor) error {
	if file == "" {
		return nil
	}
	text, err := json.Marshal(cursorState{collection, at})
	if err != nil {
		return err
	}
	return replaceFile(file, append(text, '\n'))
}

// replaceFile writes a cursor file as a whole.
func replaceFile(file string, text []byte) error {
	tmp := file + ".new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	return nil
}

// objectWriter prints objects in one of the output forms.
type objectWriter struct {
	w      *bufio.Writer
	form   string
	n      int
	csv    *sightingWriter // nil for other forms
	closed bool
	// printed are the objects so far, by hash, of the types of which a collection has some at several places.
	printed map[[16]byte]struct{}
}

func newObjectWriter(w io.Writer, form string) (*objectWriter, error) {
	o := &objectWriter{w: bufio.NewWriterSize(w, 64<<10), form: form, printed: make(map[[16]byte]struct{})}
	switch form {
	case "jsonl", "bundle":
	case "csv":
		o.csv = newSightingWriter(o.w)
	default:
		return nil, usagef("--output %s: want jsonl, bundle or csv", form)
	}
	return o, nil
}

func (o *objectWriter) object(raw []byte) error {
	brief, _ := stix.ScanBrief(raw)
	switch string(brief.Type) {
	case "observed-data", "indicator", "sighting": // which make up most of a collection
	default:
		sum := sha256.Sum256(raw)
		hash := [16]byte(sum[:])
		if _, again := o.printed[hash]; again {
			return nil
		}
		o.printed[hash] = struct{}{}
	}
	switch o.form {
	case "csv":
		o.csv.sightings.Add(raw)
		return nil
	case "bundle":
		if o.n == 0 {
			_, _ = o.w.Write(stix.AppendBundleOpen(nil, "bundle--"+uuid.NewString()))
		} else {
			_ = o.w.WriteByte(',')
		}
		o.n++
		_, err := o.w.Write(raw)
		return err
	}
	// A line each, whatever white space the server left inside.
	if bytes.IndexByte(raw, '\n') >= 0 {
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			return err
		}
		raw = b.Bytes()
	}
	_, _ = o.w.Write(raw)
	return o.w.WriteByte('\n')
}

// flush prints all that was added. Where whole is not set some of it may wait for what is added next.
func (o *objectWriter) flush(whole bool) error {
	if o.csv != nil {
		if err := o.csv.page(whole); err != nil {
			return err
		}
	}
	return o.w.Flush()
}

func (o *objectWriter) close() error {
	if o.closed {
		return nil
	}
	o.closed = true
	if o.form == "bundle" {
		if o.n == 0 {
			_, _ = o.w.Write([]byte(`{"type":"bundle","id":"bundle--` + uuid.NewString() + `"}`))
		} else {
			_, _ = o.w.Write(stix.AppendBundleClose(nil))
		}
		_ = o.w.WriteByte('\n')
	}
	return o.flush(true)
}
