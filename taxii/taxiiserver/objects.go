package taxiiserver

import (
	"bufio"
	"encoding/json"
	"net/http"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// page reads the request's filter and cursor and fetches what they ask for.
// object narrows it to one object, "" for the collection.
func (c *call) page(path []string, object string) (*Page, *position, error) {
	f, err := taxii.ParseFilter(c.r.URL.Query())
	if err != nil {
		return nil, nil, err
	}
	col, err := c.session.Collection(c.r.Context(), c.root, path[2])
	if err != nil {
		return nil, nil, err
	}
	if !col.CanRead {
		return nil, nil, ErrForbidden
	}
	at := &position{Caller: c.session.Caller(), Root: c.root, Collection: col.ID, Object: object, Endpoint: endpoint(path)}
	if f.Next != "" {
		if err := c.s.cursors.open(f.Next, at); err != nil {
			return nil, nil, err
		}
	} else {
		at.begin(&f)
	}
	// The limit may change from page to page.
	limit := f.Limit
	if limit == 0 {
		limit = at.Limit
	}
	if limit == 0 {
		limit = DefaultLimit
	}
	q := at.query()
	q.Limit = min(limit, MaxLimit)
	if object != "" {
		if len(q.IDs) > 0 {
			return nil, nil, taxii.NewError(http.StatusBadRequest, "Bad parameter", "match[id] has no place where the path names the object")
		}
		q.IDs = []string{object}
	}
	p, err := c.session.Objects(c.r.Context(), c.root, col.ID, q)
	if err != nil {
		return nil, nil, err
	}
	if object != "" && len(p.Objects) == 0 {
		// Nothing is left behind added_after, or there is no such object at all.
		any, err := c.session.Objects(c.r.Context(), c.root, col.ID, Query{Limit: 1, IDs: q.IDs})
		if err == nil && len(any.Objects) == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return nil, nil, err
		}
	}
	h := c.w.Header()
	h.Set("Content-Type", taxii.MediaType)
	if n := len(p.Objects); n > 0 {
		at.After = p.Objects[n-1].Added.UnixMicro()
		h.Set(taxii.HeaderAddedFirst, taxii.FormatTime(p.Objects[0].Added))
		h.Set(taxii.HeaderAddedLast, taxii.FormatTime(p.Objects[n-1].Added))
	}
	return p, at, nil
}

// endpoint names what a cursor is for.
func endpoint(path []string) string {
	if len(path) == 6 {
		return path[5]
	}
	return path[3]
}

// next is the cursor of the page that follows, "" where none does.
func (c *call) next(p *Page, at *position) string {
	if !p.More {
		return ""
	}
	return c.s.cursors.seal(at)
}

// objects answers Get Objects (section 5.4) and Get an Object (section 5.6).
func (c *call) objects(path []string) error {
	object := ""
	if len(path) == 5 {
		object = path[4]
	}
	p, at, err := c.page(path, object)
	if err != nil {
		return err
	}
	// The envelope is written piece by piece: its objects are bytes already.
	out := bufio.NewWriterSize(c.w, 64<<10)
	_ = out.WriteByte('{')
	if next := c.next(p, at); next != "" {
		text, err := json.Marshal(next)
		if err != nil {
			return err
		}
		_, _ = out.WriteString(`"more":true,"next":`)
		_, _ = out.Write(text)
		_ = out.WriteByte(',')
	}
	for i := range p.Objects {
		if i == 0 {
			_, _ = out.WriteString(`"objects":[`)
		} else {
			_ = out.WriteByte(',')
		}
		if _, err := out.Write(p.Objects[i].Raw); err != nil {
			return nil //nolint:nilerr // the caller is gone
		}
	}
	if len(p.Objects) > 0 {
		_ = out.WriteByte(']')
	}
	_ = out.WriteByte('}')
	_ = out.Flush()
	return nil
}

// manifest answers Get Object Manifests (section 5.3).
func (c *call) manifest(path []string) error {
	p, at, err := c.page(path, "")
	if err != nil {
		return err
	}
	m := taxii.Manifest{More: p.More, Next: c.next(p, at)}
	for i := range p.Objects {
		o := &p.Objects[i]
		m.Objects = append(m.Objects, taxii.ManifestRecord{
			ID: o.ID, DateAdded: taxii.FormatTime(o.Added), Version: formatVersion(o), MediaType: "application/stix+json;version=" + o.SpecVersion,
		})
	}
	return c.json(m)
}

// versions answers Get Object Versions (section 5.8).
func (c *call) versions(path []string) error {
	query := c.r.URL.Query()
	if !query.Has("next") {
		query.Set("match[version]", "all")
		c.r.URL.RawQuery = query.Encode()
	}
	p, at, err := c.page(path, path[4])
	if err != nil {
		return err
	}
	v := taxii.Versions{More: p.More, Next: c.next(p, at)}
	for i := range p.Objects {
		v.Versions = append(v.Versions, formatVersion(&p.Objects[i]))
	}
	return c.json(v)
}

func formatVersion(o *Object) string { return taxii.FormatTime(o.Version) }
