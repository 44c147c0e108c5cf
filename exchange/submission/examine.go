package submission

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/lint"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// candidate is an object on its way in.
type candidate struct {
	raw     []byte
	head    stix.Head
	version record.Version
	label   tlp.Level
	reason  string // why the label is tlp.Unknown, where it is
	known   byte   // what of its label is kept: Block.Labels
	// standing is what was known of it before, nil for nothing.
	standing *sight
	// apart says that it stands apart in its collection; dropped that it is not stored, and answered as if
	// it were: see Poster.sight.
	apart   bool
	dropped bool
	// lifted says that what disclosed it then was raised to its label.
	lifted bool
}

// examineAll decides about each object by itself, on all processors. The outcome of what is
// refused says why; what cannot be read has no candidate.
func examineAll(objects [][]byte, specs []string, outcomes []Outcome) []*candidate {
	const share = 50
	list := make([]*candidate, len(objects))
	var next atomic.Int64
	var panicked atomic.Pointer[any]
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (len(objects)+share-1)/share) {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panicked.Store(&p)
				}
			}()
			for {
				end := int(next.Add(share))
				for i := end - share; i < min(end, len(objects)); i++ {
					c, err := examine(objects[i], specs, &outcomes[i])
					if list[i] = c; err != nil {
						outcomes[i].Problem = err.Error()
					}
				}
				if end >= len(objects) {
					return
				}
			}
		})
	}
	wg.Wait()
	if p := panicked.Load(); p != nil {
		panic(*p) // it is the request's, not the process's
	}
	return list
}

// examine decides about an object by itself. The candidate is there, but for its version, where its head
// could be read.
func examine(raw []byte, specs []string, out *Outcome) (*candidate, error) {
	h, err := stix.ParseHead(raw)
	b, ok := stix.ScanBrief(raw)
	out.ID, out.Version = cmp.Or(h.ID, string(b.ID)), cmp.Or(h.Modified, h.Created, string(b.Version))
	if err != nil {
		return nil, err
	}
	// Identifiers are compared as texts, and hexadecimal digits can be written in two ways.
	h.CreatedByRef = strings.ToLower(h.CreatedByRef)
	for i := range h.Refs {
		h.Refs[i] = strings.ToLower(h.Refs[i])
	}
	c := &candidate{raw: raw, head: h}
	switch {
	case len(raw) > maxPostObject:
		return c, fmt.Errorf("it has %d bytes, %d is the limit for one object", len(raw), maxPostObject)
	case !ok || string(b.ID) != h.ID || string(b.Type) != h.Type || string(b.SpecVersion) != h.SpecVersion || string(b.Version) != out.Version:
		// Our blocks are read by a scanner that knows no escapes in these.
		return c, errors.New("type, id, spec_version, created and modified must be written without escapes")
	case h.Type == "bundle":
		return c, errors.New("a bundle is no object: send the objects that are in it")
	case strings.ToLower(h.ID) != h.ID:
		return c, errors.New("its id has upper-case letters")
	case !slices.Contains(specs, h.Spec()):
		if h.SpecVersion == "" {
			return c, fmt.Errorf("it has no spec_version, which makes it STIX 2.0; this collection takes STIX %s", strings.Join(specs, ", "))
		}
		return c, fmt.Errorf("it is STIX %.10s; this collection takes STIX %s", h.SpecVersion, strings.Join(specs, ", "))
	}
	at, err := h.Version()
	if err != nil {
		return c, err
	}
	if h.Spec() == "2.1" {
		err = lint.Refusal(raw)
	} else {
		err = examine20(raw, &h, at)
	}
	if err != nil {
		return c, err
	}
	c.version = record.Version{ID: h.ID, SpecVersion: h.Spec(), Version: at}
	return c, nil
}

// examine20 looks for what lint, which is for STIX 2.1, would find in an object of STIX 2.0
// that matters to its readers: another label under a TLP id, and versions out of order.
func examine20(raw []byte, h *stix.Head, at time.Time) error {
	if level, ok := tlp.FromMarking(h.ID); ok && tlp.Defined(raw) != level {
		return fmt.Errorf("its id is that of TLP:%s, which it does not define", strings.ToUpper(level.String()))
	}
	if h.Type == "marking-definition" {
		return nil
	}
	if h.Created == "" || h.Modified == "" {
		return errors.New("it has no created or no modified, which every object of STIX 2.0 has")
	}
	created, err := stix.ParseTime(h.Created)
	if err == nil && at.Before(created) {
		err = fmt.Errorf("modified (%s) is before created (%s)", h.Modified, h.Created)
	}
	return err
}
