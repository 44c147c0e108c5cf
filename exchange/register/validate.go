package register

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/net/publicsuffix"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Invalid lists everything that is wrong with a register or its file.
type Invalid struct{ Problems []string }

func (e *Invalid) Error() string { return strings.Join(e.Problems, "\n") }

// normalise sorts what is looked up by id, gives every collection its UUID, and
// every operation to the feed that has it first.
func normalise(r *exchange.Register) {
	slices.SortStableFunc(r.Members, func(a, b exchange.Member) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(r.Feeds, func(a, b exchange.Feed) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(r.Declared, func(a, b exchange.Declared) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(r.Webhooks, func(a, b exchange.Webhook) int { return cmp.Compare(a.ID, b.ID) })
	for _, c := range r.Collections() {
		if r.UUIDs[c.ID] == "" {
			r.UUIDs[c.ID] = exchange.NewCollectionID()
		}
	}
	if r.Operations == nil && len(r.Feeds) > 0 {
		r.Operations = make(map[string]string)
	}
	for i := range r.Feeds {
		if key := operation(&r.Feeds[i]); r.Operations[key] == "" {
			r.Operations[key] = r.Feeds[i].ID
		}
	}
	for i := range r.Feeds {
		f := &r.Feeds[i]
		f.As = ""
		if m := r.Member(f.Publisher); m != nil && m.Hidden {
			if r.Pseudonyms == nil {
				r.Pseudonyms = make(map[string]string)
			}
			if r.Pseudonyms[m.ID] == "" {
				r.Pseudonyms[m.ID] = "hidden " + rand.Text()
			}
			f.As = r.Pseudonyms[m.ID]
		}
	}
	maps.DeleteFunc(r.KeysMade, func(m string, _ uint64) bool { return r.Member(m) == nil })
	for m := range r.Tokens {
		if m != exchange.Admin && r.Member(m) == nil {
			delete(r.Tokens, m)
		}
	}
}

// operation names a feed's operation among those of all publishers.
func operation(f *exchange.Feed) string { return f.Publisher + " " + f.Operation }

// checker collects problems.
type checker struct{ problems []string }

func (c *checker) add(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// validate reports everything that is wrong as one Invalid.
func validate(r *exchange.Register) error {
	var c checker
	c.names(r)
	for i := range r.Members {
		c.member(&r.Members[i])
	}
	certificates := make(map[string]string)
	for _, m := range r.Members {
		for _, x := range m.Certificates {
			c.text("member "+m.ID+": certificate", x)
			if sum, ok := strings.CutPrefix(x, "sha256:"); ok && !validSum(sum) {
				c.add("member %s: certificate %.80q: sha256: is followed by 64 hexadecimal digits in lower case", m.ID, x)
			} else if kind, name, _ := strings.Cut(x, ":"); !ok && !strings.Contains(x, "=") && (name == "" || !slices.Contains([]string{"dns", "email", "uri"}, kind)) {
				c.add("member %s: certificate %.80q is none of sha256:…, dns:…, email:…, uri:… or a subject such as CN=taxii.example.org,O=Example", m.ID, x)
			}
			if by := certificates[x]; by != "" {
				c.add("members %s and %s have the same certificate %.80q", by, m.ID, x)
			}
			certificates[x] = m.ID
		}
	}
	for i := range r.Feeds {
		f := &r.Feeds[i]
		c.feed(r, f)
		if other := r.Operations[operation(f)]; other != f.ID {
			c.add("feeds %s and %s have or had the same publisher and operation, so their objects would share ids: give one of them an operation of its own", other, f.ID)
		}
	}
	for i := range r.Declared {
		c.declared(r, &r.Declared[i])
	}
	c.webhooks(r)
	c.markings(r)
	c.identities(r)
	for _, p := range r.CheckPersons(r.Quarantine) {
		c.add("quarantine: %s", p)
	}
	c.tokens(r)
	for _, p := range r.Own {
		if !p.IsValid() || p.Addr().Is4In6() {
			c.add("own: a prefix is not valid, or is an IPv4 prefix that is not written as one")
		}
	}
	seen := make(map[string]string)
	for name, id := range r.UUIDs {
		if u, err := uuid.Parse(id); err != nil || u.Version() != 4 || u.String() != id {
			c.add("TAXII id %.60q of collection %s is not a UUIDv4 in lower case", id, name)
		}
		if other := seen[id]; other != "" {
			c.add("collections %s and %s have the same TAXII id", other, name)
		}
		seen[id] = name
	}
	if len(c.problems) == 0 {
		return nil
	}
	slices.Sort(c.problems)
	return &Invalid{Problems: slices.Compact(c.problems)}
}

// tokens checks credentials: names once each, scopes that there are.
func (c *checker) tokens(r *exchange.Register) {
	for member, list := range r.Tokens {
		seen := make(map[string]bool)
		for _, t := range list {
			if seen[t.Name] {
				c.add("member %s: two credentials are named %.60q", member, t.Name)
			}
			seen[t.Name] = true
			if err := exchange.ValidID(t.Name); err != nil {
				c.add("member %s: credential: %v", member, err)
			}
			if t.Person != "" && exchange.ValidID(t.Person) != nil {
				c.add("member %s: credential %s: person: %v", member, t.Name, exchange.ValidID(t.Person))
			}
			for _, s := range t.Scopes {
				if !slices.Contains(exchange.Scopes(), s) {
					c.add("member %s: credential %s: scope %.40q is not one of read, publish, feedback, admin", member, t.Name, s)
				} else if s == exchange.ScopeAdmin && member != exchange.Admin {
					c.add("member %s: credential %s: the scope admin is the operator's", member, t.Name)
				}
			}
		}
	}
}

// names checks that ids are well-formed, and one collection's each.
func (c *checker) names(r *exchange.Register) {
	taken := map[string]string{exchange.Admin: "the operator", exchange.Unclaimed: "a collection", exchange.HiddenName: "members who are hidden", exchange.Quarantine: "a collection", "all": "every member"}
	take := func(what, id string) {
		if err := exchange.ValidID(id); err != nil {
			c.add("%s: %v", what, err)
			return
		}
		if by := taken[id]; by != "" {
			c.add("%s %s: that name is taken by %s", what, id, by)
		} else if strings.HasPrefix(id, "feed-") || strings.HasPrefix(id, "feedback-") {
			c.add("%s %s: names that start with feed- or feedback- are for derived collections", what, id)
		}
		taken[id] = what + " " + id
	}
	for _, m := range r.Members {
		take("member", m.ID)
	}
	for _, d := range r.Declared {
		take("collection", d.ID)
	}
	clear(taken)
	for _, f := range r.Feeds {
		if err := exchange.ValidID(f.ID); err != nil {
			c.add("feed: %v", err)
		} else if taken[f.ID] != "" {
			c.add("feed %s is there twice", f.ID)
		}
		taken[f.ID] = "feed"
	}
}

func (c *checker) member(m *exchange.Member) {
	switch m.Receives {
	case "", exchange.Copy:
	case exchange.Fallback:
		if m.Kind != exchange.CSIRT {
			c.add("member %s: receives: fallback is for CSIRTs: what no network owner takes", m.ID)
		}
	default:
		c.add("member %s: receives %.40q is not one of copy, fallback", m.ID, m.Receives)
	}
	switch m.Kind {
	case exchange.CSIRT, exchange.NetworkOwner:
	case exchange.Publisher, exchange.Peer:
		if k := m.Constituency; len(k.ASNs)+len(k.Countries)+len(k.Domains)+len(k.Prefixes) > 0 {
			c.add("member %s: a %s has no constituency", m.ID, m.Kind)
		}
	default:
		c.add("member %s: kind %.40q is not one of csirt, network-owner, publisher, peer", m.ID, m.Kind)
	}
	if !m.Clearance.Valid() {
		c.add("member %s: no clearance", m.ID)
	}
	c.text("member "+m.ID+": name", m.Name)
	for _, id := range m.Identities {
		if typ, err := stix.ParseID(id); err != nil || typ != "identity" {
			c.add("member %s: identities: %.80q is not the id of a STIX identity", m.ID, id)
		}
	}
	for _, x := range m.Constituency.Countries {
		if !exchange.ValidCountry(x) {
			hint := ""
			if is := exchange.Country(x); is != "" {
				hint = ": write " + is
			}
			c.add("member %s: country %.20q is not the code of one (two letters, ISO 3166-1)%s", m.ID, x, hint)
		}
	}
	for _, p := range m.Constituency.Prefixes {
		if !p.IsValid() {
			c.add("member %s: a prefix is not valid", m.ID)
		} else if p.Addr().Is4In6() {
			c.add("member %s: prefix %s: write IPv4 prefixes as IPv4", m.ID, p)
		} else if p != p.Masked() {
			c.add("member %s: prefix %s is of one address in a network: write %s for the network, or %s for the address", m.ID, p, p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		}
	}
	if slices.Contains(m.Constituency.ASNs, 0) {
		c.add("member %s: 0 is not an AS number", m.ID)
	}
	for _, d := range m.Constituency.Domains {
		if s := strings.Trim(d, "."); s == "" || len(s) > 253 || strings.ContainsAny(s, " /@:*") || strings.Contains(s, "..") {
			c.add("member %s: domain %.60q is not a domain suffix such as .at or example.org", m.ID, d)
		}
	}
}

func (c *checker) feed(r *exchange.Register, f *exchange.Feed) {
	if r.Member(f.Publisher) == nil {
		c.add("feed %s: there is no member %.60q to be its publisher", f.ID, f.Publisher)
	}
	if err := exchange.ValidID(f.Operation); err != nil {
		c.add("feed %s: operation: %v", f.ID, err)
	}
	if f.Malware.Name == "" {
		c.add("feed %s: malware needs a name", f.ID)
	}
	for _, s := range slices.Concat([]string{f.Malware.Name}, f.Malware.Aliases, f.Malware.Types) {
		c.text("feed "+f.ID+": malware", s)
	}
	if !f.DefaultTLP.Valid() {
		c.add("feed %s: no default_tlp", f.ID)
	}
	switch f.Profile {
	case exchange.ProfileInfection, exchange.ProfileObservation, exchange.ProfileIndicator:
	default:
		c.add("feed %s: profile %.40q is not one of infection, observation, indicator", f.ID, f.Profile)
	}
	c.retention("feed "+f.ID, f.Retention)
	if f.Repeat > exchange.MaxRepeat {
		c.add("feed %s: repeat: repeats are suppressed for %v at most", f.ID, exchange.MaxRepeat)
	}
	for _, k := range f.Keys {
		if !slices.Contains(exchange.KeyKinds(), k) {
			c.add("feed %s: keys: %.40q is not one of prefix, asn, domain, country", f.ID, k)
		}
	}
	for _, id := range f.Exclude {
		if r.Member(id) == nil {
			c.add("feed %s: exclude: there is no member %.60q", f.ID, id)
		}
	}
	if f.Evidence != "" && f.Evidence != exchange.EvidenceKnown && f.Evidence != exchange.EvidenceAll {
		c.add("feed %s: evidence %.40q is not one of known, all", f.ID, f.Evidence)
	}
	if f.Places != "" && f.Places != exchange.PlacesPublisher && f.Places != exchange.PlacesNetworks {
		c.add("feed %s: places %.40q is not one of publisher, networks", f.ID, f.Places)
	}
	if f.Confidence > 100 {
		c.add("feed %s: confidence is 1 to 100", f.ID)
	}
	if f.Guidance != "" {
		if u, err := url.Parse(f.Guidance); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			c.add("feed %s: guidance %.100q is not an http or https URL", f.ID, f.Guidance)
		}
	}
}

func (c *checker) declared(r *exchange.Register, d *exchange.Declared) {
	c.retention("collection "+d.ID, d.Retention)
	switch {
	case !d.Ceiling.Valid():
		c.add("collection %s: ceiling must be one of clear, green, amber, amber+strict, red", d.ID)
	case d.Ceiling == tlp.Red && len(d.Persons) == 0:
		c.add("collection %s: red is for individuals: name its readers as persons, each as member/name", d.ID)
	case d.Ceiling == tlp.Red && len(d.Readers) > 0:
		c.add("collection %s: what is red has no readers but its persons", d.ID)
	case d.Ceiling < tlp.Red && len(d.Persons) > 0:
		c.add("collection %s: persons are named for the ceiling red only; readers are members", d.ID)
	}
	for _, p := range r.CheckPersons(d.Persons) {
		c.add("collection %s: %s", d.ID, p)
	}
	if d.Floor > d.Ceiling {
		c.add("collection %s: its floor %s is above its ceiling %s", d.ID, d.Floor, d.Ceiling)
	}
	for _, v := range d.STIX {
		if v != "2.0" && v != "2.1" {
			c.add("collection %s: stix %.20q is not one of 2.0, 2.1", d.ID, v)
		}
	}
	if d.Public && d.Ceiling != tlp.Clear {
		c.add("collection %s: what is public has the ceiling clear, not %s", d.ID, d.Ceiling)
	}
	c.text("collection "+d.ID+": title", d.Title)
	for _, id := range slices.Concat(d.Readers, d.Writers) {
		if id == "all" {
			continue
		}
		if m := r.Member(id); m == nil {
			c.add("collection %s: there is no member %.60q", d.ID, id)
		} else if slices.Contains(d.Readers, id) && m.Clearance < d.Ceiling {
			c.add("collection %s: its ceiling is %s and reader %s is cleared for %s only", d.ID, d.Ceiling, id, m.Clearance)
		}
	}
}

func validSum(s string) bool {
	sum, err := hex.DecodeString(s)
	return err == nil && len(sum) == 32 && strings.ToLower(s) == s
}

func (c *checker) text(what, s string) {
	if len(s) > 256 || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0xfffd }) {
		c.add("%s: at most 256 bytes of text without control characters", what)
	}
}

// Warnings lists what is allowed and probably not meant.
func Warnings(r *exchange.Register) (list []string) {
	for _, f := range r.Feeds {
		if f.DefaultTLP == tlp.AmberStrict {
			list = append(list, fmt.Sprintf("feed %s: default_tlp amber+strict forbids a CSIRT to tell the victims; amber lets it tell its constituents", f.ID))
		}
		if f.DefaultTLP == tlp.Red {
			list = append(list, fmt.Sprintf("feed %s: default_tlp red reaches nobody: no collection names its readers as persons", f.ID))
		}
	}
	for i := range r.Members {
		m := &r.Members[i]
		if k := m.Constituency; m.Kind == exchange.CSIRT && len(k.ASNs)+len(k.Countries)+len(k.Domains)+len(k.Prefixes) == 0 {
			list = append(list, fmt.Sprintf("member %s: it is a CSIRT without a constituency, and gets nothing", m.ID))
		}
		for _, p := range m.Constituency.Prefixes {
			if a := p.Addr(); p.Bits() > 0 && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast()) {
				list = append(list, fmt.Sprintf("member %s: prefix %s is no network of the Internet: only a feed with allow_reserved has hosts there", m.ID, p))
			}
		}
	}
	return append(append(list, Sweeping(new(exchange.Register), r)...), overlaps(r)...)
}

// Sweeping lists the claims of members in a register that are for the whole world or a part of the DNS that is nobody's own,
// and that were not in the one before; with how many others have claims within. A country's part of the DNS is somebody's.
func Sweeping(before, r *exchange.Register) (list []string) {
	for i := range r.Members {
		m := &r.Members[i]
		had := before.Member(m.ID)
		for _, p := range m.Constituency.Prefixes {
			if p.Bits() == 0 && (had == nil || !slices.Contains(had.Constituency.Prefixes, p)) {
				n := others(r, m, func(o *exchange.Member) bool {
					return slices.ContainsFunc(o.Constituency.Prefixes, func(q netip.Prefix) bool { return q.Addr().Is4() == p.Addr().Is4() })
				})
				list = append(list, fmt.Sprintf("member %s: prefix %s is the whole world: it gets each host that no longer prefix names; %d other members have prefixes within", m.ID, p, n))
			}
		}
		for _, d := range m.Constituency.Domains {
			name := exchange.Suffix(d)
			top := name[strings.LastIndexByte(name, '.')+1:]
			suffix, _ := publicsuffix.PublicSuffix(name)
			if suffix == name && len(top) != 2 && (had == nil || !slices.Contains(had.Constituency.Domains, d)) {
				n := others(r, m, func(o *exchange.Member) bool {
					return slices.ContainsFunc(o.Constituency.Domains, func(x string) bool { return strings.HasSuffix(exchange.Suffix(x), "."+name) })
				})
				list = append(list, fmt.Sprintf("member %s: domain %s is a part of the DNS that anybody can have names in; %d other members have names within", m.ID, d, n))
			}
		}
	}
	return list
}

// others counts the members besides one of which something is so.
func others(r *exchange.Register, m *exchange.Member, is func(*exchange.Member) bool) (n int) {
	for i := range r.Members {
		if o := &r.Members[i]; o.ID != m.ID && is(o) {
			n++
		}
	}
	return n
}

// maxOverlaps is how many overlaps are listed one by one.
const maxOverlaps = 20

// overlaps lists the keys to which several members of a kind have an equal claim:
// each of them gets what the key decides.
func overlaps(r *exchange.Register) (list []string) {
	type claim struct {
		kind exchange.Kind
		key  exchange.Key
	}
	by := make(map[claim][]string)
	for i := range r.Members {
		m := &r.Members[i]
		for k := range m.Constituency.Keys() {
			by[claim{m.Kind, k}] = append(by[claim{m.Kind, k}], m.ID)
		}
	}
	for c, who := range by {
		if len(who) > 1 {
			list = append(list, fmt.Sprintf("%s %s: members %s are responsible for it alike, and each gets what is there", c.key.Kind, c.key.Value, strings.Join(who, ", ")))
		}
	}
	slices.Sort(list)
	if n := len(list) - maxOverlaps; n > 0 {
		list = append(list[:maxOverlaps], fmt.Sprintf("%d more keys are claimed by several members", n))
	}
	return list
}
