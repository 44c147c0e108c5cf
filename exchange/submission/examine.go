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

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/lint"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// object is an object on its way in.
type object struct {
	raw     []byte
	head    stix.Head
	version record.Version
	own     tlp.Level // the highest label that it carries itself, tlp.Unknown where a marking can forbid anything
	reason  string    // why it is that
	// known is the label beside the markings that nobody here knows; waits says that the member may still say what
	// those are.
	known           tlp.Level
	unknownMarkings []string
	waits           bool
	label           tlp.Level // that it gets in the collection
	owner           policy.Owner
	derived         bool // its id is one that the exchange makes
	// Of what becomes of it: its version stands there already, and in the same words; it is not stored, and answered as
	// if it were; the collection has no version of it; it was stored.
	there, same, dropped, isNew, stored bool
	// held says that nobody knows its label yet, and that it does not stand there in the same words.
	held bool
	// raises says that older versions get a label of its own that is higher.
	raises bool
}

// examineAll decides about each object by itself, on all processors. The result of what is
// refused says why; what cannot be read is nil.
func examineAll(objects [][]byte, specs []string, results []Result) []*object {
	now := time.Now()
	const share = 50
	list := make([]*object, len(objects))
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
					c, err := examine(objects[i], specs, now, &results[i])
					if list[i] = c; err != nil {
						results[i].Problem = err.Error()
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

// examine decides about an object by itself. The object is there, but for its version, where its head
// could be read.
func examine(raw []byte, specs []string, now time.Time, out *Result) (*object, error) {
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
	h.Refs = slices.DeleteFunc(h.Refs, func(ref string) bool { return ref == h.ID }) // which says nothing
	c := &object{raw: raw, head: h}
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
	if at.After(now.Add(maxAhead)) {
		return c, fmt.Errorf("modified (%s) is more than a day ahead of this exchange's clock", out.Version)
	}
	if h.Type == "marking-definition" {
		if err := tlpDefinition(raw, h.ID); err != nil {
			return c, err
		}
		_, c.dropped = tlp.FromMarking(h.ID) // our own text of it is what is served
	}
	if h.Spec() == "2.1" {
		err = lint.Refusal(raw)
	} else {
		err = examine20(&h, at)
	}
	if err != nil {
		return c, err
	}
	c.version = record.Version{ID: h.ID, SpecVersion: h.Spec(), Version: at}
	return c, nil
}

// maxAhead is how far in the future a version may be.
const maxAhead = 24 * time.Hour

// tlpDefinition refuses the definition of a TLP label under another id than its own, and another one under that
// (STIX 2.1 section 7.2.1.4).
func tlpDefinition(raw []byte, id string) error {
	level, ours := tlp.FromMarking(id)
	switch said := tlp.Defined(raw); {
	case ours && said != level:
		return fmt.Errorf("its id is that of TLP:%s, which it does not define", strings.ToUpper(level.String()))
	case !ours && said != tlp.None:
		return fmt.Errorf("it defines TLP:%s, whose id is %s", strings.ToUpper(said.String()), said.MarkingID())
	}
	return nil
}

// versionOf reads which version an object is.
func versionOf(raw []byte) (v record.Version, err error) {
	h, err := stix.ParseHead(raw)
	if err != nil {
		return v, err
	}
	at, err := h.Version()
	return record.Version{ID: h.ID, SpecVersion: h.Spec(), Version: at}, err
}

// unversioned tells whether a version is that of an object without any: of an observable.
func unversioned(v record.Version) bool { return v.Version.Equal(time.Unix(0, 0)) }

// examine20 looks for what lint, which is for STIX 2.1, would find in an object of STIX 2.0
// that matters to its readers: versions out of order.
func examine20(h *stix.Head, at time.Time) error {
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
