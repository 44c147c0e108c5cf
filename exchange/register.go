package exchange

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sort"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Kind is what a member is.
type Kind string

// The kinds of members.
const (
	CSIRT        Kind = "csirt"
	NetworkOwner Kind = "network-owner"
	Publisher    Kind = "publisher"
	Peer         Kind = "peer"
)

// Admin is the name under which the operator of the exchange logs in. It is no
// member and reads every collection that is not kept for named persons.
const Admin = "admin"

// Unclaimed is the collection of what nobody is responsible for.
const Unclaimed = "unclaimed"

// UnclaimedCeiling is its ceiling.
const UnclaimedCeiling = tlp.AmberStrict

// FeedbackCollection names the collection that a member writes to and the operator reads.
func FeedbackCollection(member string) string { return "feedback-" + member }

// FeedCollection names the collection in which a publisher reads its own feed.
func FeedCollection(feed string) string { return "feed-" + feed }

// Constituency is what a member is responsible for.
type Constituency struct {
	Countries []string       `json:"countries,omitempty" yaml:"countries,omitempty"`
	ASNs      []uint32       `json:"asns,omitempty" yaml:"asns,omitempty"`
	Prefixes  []netip.Prefix `json:"prefixes,omitempty" yaml:"prefixes,omitempty"`
	Domains   []string       `json:"domains,omitempty" yaml:"domains,omitempty"`
}

// Keys lists what the constituency is made of, each as a decision names it.
func (c *Constituency) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for _, p := range c.Prefixes {
			if !yield(Key{KeyPrefix, p.Masked().String()}) {
				return
			}
		}
		for _, n := range c.ASNs {
			if !yield(Key{KeyASN, FormatASN(n)}) {
				return
			}
		}
		for _, d := range c.Domains {
			if !yield(Key{KeyDomain, Suffix(d)}) {
				return
			}
		}
		for _, x := range c.Countries {
			if !yield(Key{KeyCountry, x}) {
				return
			}
		}
	}
}

// Receives is what a CSIRT gets of what network owners in its constituency take.
type Receives string

// Copy is also what is left out: the CSIRT gets what its owners get. With Fallback it
// gets only what no owner takes.
const (
	Copy     Receives = "copy"
	Fallback Receives = "fallback"
)

// Member takes part in the exchange. Created and Changed become the times of
// its identity object; the register keeps them.
type Member struct {
	ID           string       `json:"id" yaml:"id"`
	Name         string       `json:"name" yaml:"name"`
	Kind         Kind         `json:"kind" yaml:"kind"`
	Clearance    tlp.Level    `json:"clearance" yaml:"clearance"`
	Constituency Constituency `json:"constituency,omitzero" yaml:"constituency,omitempty"`
	// Receives says what a CSIRT gets of what a network owner takes too.
	Receives Receives `json:"receives,omitempty" yaml:"receives,omitempty"`
	// Certificates are the client certificates that log the member in: each
	// sha256: and the hash of the certificate in hexadecimal; dns:, email: or uri: and
	// one of its alternative names; or its subject, as RFC 2253 writes it.
	Certificates []string `json:"certificates,omitempty" yaml:"certificates,omitempty"`
	// Hidden keeps the member's name from all others.
	Hidden bool `json:"hidden,omitempty" yaml:"hidden,omitempty"`
	// Identities are STIX identities that the member speaks for, besides its own.
	Identities []string  `json:"identities,omitempty" yaml:"identities,omitempty"`
	Created    time.Time `json:"created" yaml:"created,omitempty"`
	Changed    time.Time `json:"changed" yaml:"changed,omitempty"`
}

// Collection is a TAXII collection of the exchange. ID is its name, which is
// the TAXII alias and the last token of its subject; UUID is its TAXII id.
type Collection struct {
	ID          string    `json:"id"`
	UUID        string    `json:"uuid"`
	Title       string    `json:"title"`
	Description string    `json:"description,omitempty"`
	Ceiling     tlp.Level `json:"ceiling"`
	// Owner is the member it is derived from; "" for unclaimed and declared ones.
	Owner string `json:"owner,omitempty"`
	// Feed is set on a feed's own collection, which holds references to the
	// feed's intake and no blocks.
	Feed string `json:"feed,omitempty"`
	// Everybody lets all members read it, Readers those named.
	Everybody bool     `json:"everybody,omitempty"`
	Readers   []string `json:"readers,omitempty"`
	// Writers may add objects and, where they read it, delete them; "all" is
	// every member.
	Writers []string `json:"writers,omitempty"`
	// Floor is the label of what comes in unmarked.
	Floor tlp.Level `json:"floor,omitempty"`
	// Public lets anybody read it, without credentials.
	Public bool `json:"public,omitempty"`
	// Persons are the only ones who read what is RED, as member/name.
	Persons []string `json:"persons,omitempty"`
	// STIX are the versions of STIX that it holds.
	STIX []string `json:"stix"`
}

// OfMembers tells whether members add to the collection; the others are of what feeds bring.
func (c *Collection) OfMembers() bool { return c.Owner == "" && c.Feed == "" && c.ID != Unclaimed }

// Anybody is the caller without credentials: no member, cleared for CLEAR.
const Anybody = ""

// Declared is a collection that the register's file adds to the derived ones.
type Declared struct {
	ID      string    `json:"id" yaml:"id"`
	Title   string    `json:"title,omitempty" yaml:"title,omitempty"`
	Ceiling tlp.Level `json:"ceiling" yaml:"ceiling"`
	Readers Names     `json:"readers,omitempty" yaml:"readers,omitempty"`
	Writers Names     `json:"writers,omitempty" yaml:"writers,omitempty"`
	// Persons are who reads a collection that is RED, each as member/name; the name is that
	// of a credential.
	Persons Names `json:"persons,omitempty" yaml:"persons,omitempty"`
	// Floor is the least label that unmarked input gets; the ceiling by default.
	Floor tlp.Level `json:"floor,omitempty" yaml:"floor,omitempty"`
	// Public lets anybody read it, without credentials: CLEAR only.
	Public bool `json:"public,omitempty" yaml:"public,omitempty"`
	// Retention is how long what is added is kept; zero for ever.
	Retention Window `json:"retention,omitzero" yaml:"retention,omitempty"`
	// STIX are the versions that writers may send: "2.1", which is the default,
	// and "2.0".
	STIX []string `json:"stix,omitempty" yaml:"stix,omitempty"`
}

// Names is a list of member ids; in YAML a single name may stand for a list of
// one. The name "all" means every member.
type Names []string

// UnmarshalScalar reads the name of one, or "all": config/strict.Scalar.
func (n *Names) UnmarshalScalar(text string) error {
	*n = Names{text}
	return nil
}

// Register is one immutable version of who takes part and how. Slices are
// sorted by ID.
type Register struct {
	Version  uint64             `json:"version"`
	Members  []Member           `json:"members"`
	Feeds    []Feed             `json:"feeds"`
	Declared []Declared         `json:"collections"`
	UUIDs    map[string]string  `json:"uuids"`
	Webhooks []Webhook          `json:"webhooks,omitempty"`
	Tokens   map[string][]Token `json:"tokens"`
	// KeysMade counts how often the key of a member's webhooks was made anew.
	KeysMade    map[string]uint64 `json:"keys_made,omitempty"`
	NetworksKey string            `json:"networks,omitempty"`
	// Own are the exchange's own addresses, which are nobody's infections.
	Own []netip.Prefix `json:"own,omitempty"`
	// Markings say what markings mean that are no TLP labels.
	Markings []Marking `json:"markings,omitempty"`
	// Quarantine names the persons who read what is in quarantine.
	Quarantine []string `json:"quarantine,omitempty"`
	// Pseudonyms stand for publishers who are or were hidden.
	Pseudonyms map[string]string `json:"pseudonyms,omitempty"`
	// Operations are those that feeds ever had, as "publisher operation", and the
	// feed. The ids of objects are made of both: no other feed may have them.
	Operations map[string]string `json:"operations,omitempty"`

	// IDs makes the identifiers of the exchange's objects. It is the exchange's for ever, and in no snapshot.
	IDs *IDs `json:"-"`
	// Hash is the SHA-256 of the version's snapshot, in hexadecimal.
	Hash string `json:"-"`
}

func find[T any](list []T, id string, of func(*T) string) *T {
	i := sort.Search(len(list), func(i int) bool { return of(&list[i]) >= id }) // without copying what is large
	if i == len(list) || of(&list[i]) != id {
		return nil
	}
	return &list[i]
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Responsible tells whether the member is of a kind that is responsible for hosts, and has a collection of them.
func (m *Member) Responsible() bool { return m.Kind == CSIRT || m.Kind == NetworkOwner }

// Member returns the member of the id, or nil.
func (r *Register) Member(id string) *Member {
	return find(r.Members, id, func(m *Member) string { return m.ID })
}

// Feed returns the feed of the id, or nil.
func (r *Register) Feed(id string) *Feed {
	return find(r.Feeds, id, func(f *Feed) string { return f.ID })
}

// Collections lists every collection, derived and declared, sorted by UUID.
func (r *Register) Collections() []Collection {
	list := []Collection{{
		ID: Unclaimed, Title: "Unclaimed", Ceiling: UnclaimedCeiling,
		Description: "Infections that no member is responsible for.",
	}, {
		ID: Quarantine, Title: "Quarantine", Ceiling: tlp.Red, Persons: r.Quarantine, STIX: []string{"2.0", "2.1"},
		Description: "What is marked in a way that is not known here.",
	}}
	for _, m := range r.Members {
		if !m.Responsible() {
			continue
		}
		list = append(list, Collection{
			ID: m.ID, Title: m.Name, Ceiling: derived(m.Clearance), Owner: m.ID,
			Description: "Infections in the constituency of " + m.Name + ".",
		}, Collection{
			ID: FeedbackCollection(m.ID), Title: "Feedback of " + m.Name, Ceiling: derived(m.Clearance), Floor: derived(m.Clearance),
			Writers: []string{m.ID}, Description: "What " + m.Name + " tells of its infections.",
		})
	}
	for _, f := range r.Feeds {
		ceiling := tlp.Clear
		if m := r.Member(f.Publisher); m != nil {
			ceiling = derived(m.Clearance)
		}
		id := FeedCollection(f.ID)
		list = append(list, Collection{
			ID: id, Title: "Feed " + f.ID, Ceiling: ceiling, Owner: f.Publisher, Feed: f.ID,
			Description: "Everything published on the feed " + f.ID + ".",
		})
	}
	for _, d := range r.Declared {
		title := d.Title
		if title == "" {
			title = d.ID
		}
		list = append(list, Collection{
			ID: d.ID, Title: title, Ceiling: d.Ceiling,
			Everybody: d.Public || slices.Contains(d.Readers, "all"), Readers: d.Readers, Writers: d.Writers,
			Floor: cmp.Or(d.Floor, d.Ceiling), Public: d.Public, Persons: d.Persons, STIX: d.STIX,
		})
	}
	titles := make(map[string]int, len(list))
	for i := range list {
		titles[list[i].Title]++
	}
	for i := range list {
		c := &list[i]
		c.UUID = r.UUIDs[c.ID]
		if c.STIX == nil {
			c.STIX = []string{"2.1"}
		}
		if titles[c.Title] > 1 { // some clients choose by title
			c.Title += " (" + c.ID + ")"
		}
	}
	slices.SortFunc(list, func(a, b Collection) int { return compare(a.UUID, b.UUID) })
	return list
}

// CollectionsByID returns every collection by its ID.
func (r *Register) CollectionsByID() map[string]*Collection {
	list := r.Collections()
	all := make(map[string]*Collection, len(list))
	for i := range list {
		all[list[i].ID] = &list[i]
	}
	return all
}

// derived is the ceiling of a collection that is derived from a member of a clearance: it names
// no persons, so nothing RED enters it.
func derived(clearance tlp.Level) tlp.Level { return min(clearance, tlp.AmberStrict) }

// BlocksStream is the JetStream stream of the collections' blocks, IntakeStream
// that of the intake records.
const (
	BlocksStream = "TOCSIN_BLOCKS"
	IntakeStream = "TOCSIN_INTAKE"
	// AuditStream is the audit's, and QuarantineStream of what waits in quarantine.
	AuditStream      = "TOCSIN_AUDIT"
	QuarantineStream = "KV_TOCSIN_QUARANTINE"
)

// Consumer names the JetStream consumer from which a member pulls a
// collection's blocks: its stream and its durable name. Ids hold no underscore,
// so the name tells both.
func Consumer(member, collection string) (stream, durable string) {
	return BlocksStream, member + "_" + collection
}

// ErrTooManySubscribers means that a member has as many consumers of its own as it may have.
var ErrTooManySubscribers = errors.New("too many subscribers at a time")

// HashToken returns what is kept of a token.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// NewCollectionID returns a fresh TAXII collection id (UUIDv4).
func NewCollectionID() string { return uuid.NewString() }

// Network is one row of the networks table: where a prefix is. What it does not say
// of itself, a wider prefix can.
type Network struct {
	Prefix  netip.Prefix
	ASN     uint32
	Country string
	// NoASN says that no one AS number can be told, whatever a wider prefix has.
	NoASN bool
}

// ValidID reports an error unless s may name a member, feed or collection: 1
// to 48 of a-z, 0-9 and hyphens, starting with a letter or digit. Such a name
// is safe in a subject, a path, a file name and a consumer's name.
func ValidID(s string) error {
	ok := len(s) > 0 && len(s) <= 48 && s[0] != '-'
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
	}
	if !ok {
		return fmt.Errorf("id %.60q: use 1 to 48 of a-z, 0-9 and hyphens, not a hyphen first", s)
	}
	return nil
}

// Quarantine is the collection of what is marked in a way that is not known here. The
// operator releases or rejects it; its content is for the persons named for it.
const Quarantine = "quarantine"

// IdentityID is the id of the identity object that stands for a member.
func (r *Register) IdentityID(member string) string { return r.IDs.identity(member) }

// HiddenName is what hidden members are called where others see that there is somebody.
const HiddenName = "hidden"
