package packaging

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/TcM1911/stix2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// The objects that stand for a whole operation are built with the stix2
// library, once for each version of the register; only our own values go in,
// and the identifiers are ours.

// project is the identity that defines the extension.
var project = stix.DerivedID("identity", "project", "tocsin")

// projectObjects define the extension, in form 1.
var projectObjects = []record.Object{
	{ID: project, Raw: []byte(`{"type":"identity","spec_version":"2.1","id":"` + project + `","created_by_ref":"` + project + `","created":"2026-11-22T00:00:00.000Z","modified":"2026-11-22T00:00:00.000Z","name":"Tocsin","identity_class":"system","object_marking_refs":["` + tlp.Clear.MarkingID() + `"]}`)},
	{ID: exchange.HostEvidenceID, Raw: []byte(`{"type":"extension-definition","spec_version":"2.1","id":"` + exchange.HostEvidenceID + `","created_by_ref":"` + project + `","created":"2026-11-22T00:00:00.000Z","modified":"2026-11-23T00:00:00.000Z","name":"Host evidence","description":"Adds to observed-data how an infected host was placed (country, asn, evidence), what the publisher's row called it (malware, provider), what else it said (extra) and its newest contacts with the sinkhole (time, src_port, dst_ip, dst_port).","schema":"https://github.com/tocsin-exchange/tocsin/blob/main/exchange/packaging/host-evidence.schema.json","version":"1.1.0","extension_types":["property-extension"],"object_marking_refs":["` + tlp.Clear.MarkingID() + `"]}`)},
}

func (p *Packager) locationID(country string) string {
	return p.ids.Of("location", "publisher", p.feed.By(), "country", country)
}

// common are the options that every object of ours is built with.
func common(by string, created, changed time.Time, label tlp.Level) []stix2.STIXOption {
	return []stix2.STIXOption{
		stix2.OptionCreatedBy(stix2.Identifier(by)),
		stix2.OptionCreated(&stix2.Timestamp{Time: created.UTC()}),
		stix2.OptionModified(&stix2.Timestamp{Time: changed.UTC()}),
		stix2.OptionObjectMarking([]stix2.Identifier{stix2.Identifier(label.MarkingID())}),
	}
}

// set serialises an object of the library under our identifier.
func set(obj interface{ MarshalJSON() ([]byte, error) }, to *stix2.Identifier, id string) (record.Object, error) {
	*to = stix2.Identifier(id)
	raw, err := obj.MarshalJSON()
	if err != nil {
		return record.Object{}, fmt.Errorf("package %s: %w", id, err)
	}
	return record.Object{ID: id, Raw: bytes.TrimSpace(raw)}, nil
}

// Identity makes the object that stands for a member (STIX 2.1 section 4.5), under a label.
func Identity(r *exchange.Register, m *exchange.Member, label tlp.Level) (record.Object, error) {
	id := r.IdentityID(m.ID)
	o, err := stix2.NewIdentity(m.Name, append(common(id, m.Created, m.Changed, label),
		stix2.OptionClass(stix2.IdentityClassOrganization))...)
	if err != nil {
		return record.Object{}, fmt.Errorf("identity of member %s: %w", m.ID, err)
	}
	return set(o, &o.ID, id)
}

// buildReference makes the objects of the topic "": who publishes, what it is,
// and where to send people.
func (p *Packager) buildReference(publisher *exchange.Member) error {
	f := p.feed
	if f.As != "" {
		hidden := *publisher
		hidden.ID, hidden.Name = f.As, "A publisher who is not named"
		publisher = &hidden
	}
	p.publisher = p.register.IdentityID(publisher.ID)
	p.advice = strings.TrimSpace("Infected host: clean it up, do not block it. " + f.Guidance)
	p.reference = append(p.reference, projectObjects...)
	who, err := Identity(p.register, publisher, tlp.Clear)
	if err != nil {
		return err
	}
	p.reference = append(p.reference, who)

	p.malware = p.ids.Of("malware", "publisher", f.By(), "operation", f.Operation, "malware", strings.ToLower(f.Malware.Name))
	opts := append(common(p.publisher, f.Created, f.Changed, tlp.Clear), stix2.OptionName(f.Malware.Name))
	if len(f.Malware.Aliases) > 0 {
		opts = append(opts, stix2.OptionAliases(f.Malware.Aliases))
	}
	if len(f.Malware.Types) > 0 {
		opts = append(opts, stix2.OptionTypes(f.Malware.Types))
	}
	mal, err := stix2.NewMalware(true, opts...)
	if err != nil {
		return fmt.Errorf("malware of feed %s: %w", f.ID, err)
	}
	what, err := set(mal, &mal.ID, p.malware)
	if err != nil {
		return err
	}
	p.reference = append(p.reference, what)
	if f.Guidance == "" {
		return nil
	}
	return p.buildGuidance()
}

func (p *Packager) buildGuidance() error {
	f := p.feed
	id := p.ids.Of("course-of-action", "publisher", f.By(), "operation", f.Operation)
	coa, err := stix2.NewCourseOfAction("Clean up "+f.Malware.Name, append(common(p.publisher, f.Created, f.Changed, tlp.Clear),
		stix2.OptionDescription("How to clean an infected machine: "+f.Guidance),
		stix2.OptionExternalReferences([]*stix2.ExternalReference{{Name: "clean-up guidance", URL: f.Guidance}}))...)
	if err != nil {
		return fmt.Errorf("guidance of feed %s: %w", f.ID, err)
	}
	how, err := set(coa, &coa.ID, id)
	if err != nil {
		return err
	}
	rel, err := stix2.NewRelationship("remediates", stix2.Identifier(id), stix2.Identifier(p.malware),
		common(p.publisher, f.Created, f.Changed, tlp.Clear)...)
	if err != nil {
		return fmt.Errorf("guidance of feed %s: %w", f.ID, err)
	}
	helps, err := set(rel, &rel.ID, p.ids.Of("relationship", "publisher", f.By(), "operation", f.Operation, "relationship", "remediates"))
	if err != nil {
		return err
	}
	p.reference = append(p.reference, how, helps)
	return nil
}

// topic1 returns what an introduction brings: the reference objects, the member's
// own identity, and the marking that the standard does not predefine; or the
// location of a country.
func (p *Packager) topic1(x record.Introduction) ([]record.Object, error) {
	if x.Topic != "" {
		o, err := p.location(x.Topic)
		return []record.Object{o}, err
	}
	list := p.reference
	owner := p.owners[x.Collection]
	if m := p.register.Member(owner); m != nil && owner != p.feed.Publisher {
		o, err := Identity(p.register, m, min(tlp.Amber, p.ceilings[x.Collection]))
		if err != nil {
			return nil, err
		}
		list = append(list[:len(list):len(list)], o)
	}
	if p.ceilings[x.Collection] >= tlp.AmberStrict {
		list = append(list[:len(list):len(list)], record.Object{ID: tlp.AmberStrict.MarkingID(), Raw: tlp.AmberStrict.Definition()})
	}
	return list, nil
}

// topic2 is topic1 with the extension's newer definition. The marking comes with what refers to it.
func (p *Packager) topic2(x record.Introduction) ([]record.Object, error) {
	list, err := p.topic1(x)
	list = slices.DeleteFunc(slices.Clone(list), func(o record.Object) bool { return o.ID == tlp.AmberStrict.MarkingID() })
	for i := range list {
		if list[i].ID == exchange.HostEvidenceID {
			list[i].Raw = evidence2
		}
	}
	return list, err
}

// evidence2 defines the extension in form 2, which adds exposed.
var evidence2 = []byte(strings.NewReplacer(
	"2026-11-23T", "2026-11-30T", `"1.1.0"`, `"1.2.0"`, "how an infected host was placed", "how a host was placed", "(malware, provider)", "(malware, provider, hostname, protocol), what is exposed there where it is not infected (exposed), the operation it is part of (operation)",
).Replace(string(projectObjects[1].Raw)))

func (p *Packager) location(country string) (record.Object, error) {
	l, err := stix2.NewLocation("", country, 0, 0, append(common(p.publisher, p.feed.Created, p.feed.Created, tlp.Clear),
		stix2.OptionName(country))...)
	if err != nil {
		return record.Object{}, fmt.Errorf("location %s: %w", country, err)
	}
	return set(l, &l.ID, p.locationID(country))
}
