package exchange

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

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/lint"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// candidate is an object on its way in.
type candidate struct {
	raw     []byte
	head    stix.Head
	version Version
	label   tlp.Level
	reason  string // why the label is tlp.Unknown, where it is
	known   byte   // what of its label is kept: Block.Labels
}

// examineAll decides about each object by itself, on all processors. What is
// refused has no candidate, and its outcome says why.
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
					if err != nil {
						outcomes[i].Problem = err.Error()
						continue
					}
					list[i] = c
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

// examine decides about an object by itself.
func examine(raw []byte, specs []string, out *Outcome) (*candidate, error) {
	if len(raw) > maxPostObject {
		return nil, fmt.Errorf("it has %d bytes, %d is the limit for one object", len(raw), maxPostObject)
	}
	h, err := stix.ParseHead(raw)
	b, ok := stix.ScanBrief(raw)
	out.ID, out.Version = cmp.Or(h.ID, string(b.ID)), cmp.Or(h.Modified, h.Created, string(b.Version))
	if err != nil {
		return nil, err
	}
	// Our blocks are read by a scanner that knows no escapes in these.
	if !ok || string(b.ID) != h.ID || string(b.Type) != h.Type || string(b.SpecVersion) != h.SpecVersion || string(b.Version) != out.Version {
		return nil, errors.New("type, id, spec_version, created and modified must be written without escapes")
	}
	// Identifiers are compared as texts, and hexadecimal digits can be written in two ways.
	h.CreatedByRef = strings.ToLower(h.CreatedByRef)
	for i := range h.Refs {
		h.Refs[i] = strings.ToLower(h.Refs[i])
	}
	switch {
	case h.Type == "bundle":
		return nil, errors.New("a bundle is no object: send the objects that are in it")
	case strings.ToLower(h.ID) != h.ID:
		return nil, errors.New("its id has upper-case letters")
	case !slices.Contains(specs, h.Spec()):
		if h.SpecVersion == "" {
			return nil, fmt.Errorf("it has no spec_version, which makes it STIX 2.0; this collection takes STIX %s", strings.Join(specs, ", "))
		}
		return nil, fmt.Errorf("it is STIX %.10s; this collection takes STIX %s", h.SpecVersion, strings.Join(specs, ", "))
	}
	at, err := h.Version()
	if err != nil {
		return nil, err
	}
	if h.Spec() == "2.1" {
		err = lint.Refusal(raw)
	} else {
		err = examine20(raw, &h, at)
	}
	if err != nil {
		return nil, err
	}
	return &candidate{raw: raw, head: h, version: Version{ID: h.ID, SpecVersion: h.Spec(), Version: at}}, nil
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
