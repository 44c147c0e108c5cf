package exchange

import (
	"cmp"
	"context"
	"time"
)

// AuditAction is what somebody did, as the audit has it.
type AuditAction string

// The actions.
const (
	AuditRead        AuditAction = "read"        // objects of a collection went to somebody
	AuditPublished   AuditAction = "published"   // rows on a feed
	AuditRecalled    AuditAction = "recalled"    // rows of a feed, by its publisher
	AuditPosted      AuditAction = "posted"      // objects to a collection
	AuditDeleted     AuditAction = "deleted"     // objects from one
	AuditCleaned     AuditAction = "cleaned"     // hosts reported clean
	AuditWithheld    AuditAction = "withheld"    // events that a label kept from somebody responsible
	AuditWithdrawn   AuditAction = "withdrawn"   // an object left a collection, as its label was raised
	AuditQuarantined AuditAction = "quarantined" // an object waits for the operator
	AuditReleased    AuditAction = "released"    // out of quarantine
	AuditRejected    AuditAction = "rejected"
	AuditResent      AuditAction = "resent"   // somebody had a webhook sent again
	AuditRegister    AuditAction = "register" // it was changed
	AuditErased      AuditAction = "erased"   // addresses or accounts, from all that there is
	AuditRestored    AuditAction = "restored" // the exchange, from its archive
	AuditCredential  AuditAction = "credential"
	AuditConnected   AuditAction = "connected" // over NATS
	AuditCut         AuditAction = "cut"       // a connection, as the right to it had ended
	AuditAsked       AuditAction = "asked"     // for what tells of others: explain, export, given, quarantine
	AuditRefused     AuditAction = "refused"   // what somebody may not do
	AuditFailedLogin AuditAction = "failed-login"
	AuditLimited     AuditAction = "limited" // somebody asked for more than is given
)

// AuditEntry is one line of the audit. It names no victim: what was given is told by the journal, which
// the times of a reading refer to.
type AuditEntry struct {
	At     time.Time   `json:"at"`
	Action AuditAction `json:"action"`
	// Member, Person and Credential say who; a failed log-in has the member that was claimed, if
	// there is one. From is the address that it came from.
	Member     string  `json:"member,omitempty"`
	Person     string  `json:"person,omitempty"`
	Credential string  `json:"credential,omitempty"`
	From       string  `json:"from,omitempty"`
	Channel    Channel `json:"way,omitempty"`
	Collection string  `json:"collection,omitempty"`
	Feed       string  `json:"feed,omitempty"`
	// First and Last are the date_added of the first and the last object that was read.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Count is of objects, rows or hosts; Times is how often it was done, 0 for once.
	Count  int64  `json:"count,omitempty"`
	Times  int64  `json:"times,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// By sets who did it.
func (e AuditEntry) By(who *Caller) AuditEntry {
	e.Member, e.Person, e.Credential = who.Member, who.Person, who.Credential
	return e
}

// Key is what entries of a moment have in common that are one: all but times and counts.
func (e *AuditEntry) Key() AuditEntry {
	k := *e
	k.At, k.First, k.Last, k.Count, k.Times = time.Time{}, time.Time{}, time.Time{}, 0, 0
	return k
}

// Merge adds another entry with the same Key.
func (e *AuditEntry) Merge(o *AuditEntry) {
	e.Count += o.Count
	e.Times = cmp.Or(e.Times, 1) + cmp.Or(o.Times, 1)
	if !o.First.IsZero() && (e.First.IsZero() || o.First.Before(e.First)) {
		e.First = o.First
	}
	if o.Last.After(e.Last) {
		e.Last = o.Last
	}
}

// AuditFilter selects entries; a zero field selects all.
type AuditFilter struct {
	Member, Collection string
	Action             AuditAction
	Since, Until       time.Time
}

// Selects tells whether an entry is selected.
func (f *AuditFilter) Selects(e *AuditEntry) bool {
	return (f.Member == "" || f.Member == e.Member) && (f.Collection == "" || f.Collection == e.Collection) &&
		(f.Action == "" || f.Action == e.Action) && !e.At.Before(f.Since) && (f.Until.IsZero() || e.At.Before(f.Until))
}

// Auditor takes entries; it sets their time. journal.Journal is the one there is.
type Auditor interface {
	Audit(e AuditEntry)
	// EachAudit calls each with the entries from an instant on, in order, until it returns false.
	EachAudit(ctx context.Context, since time.Time, each func(e *AuditEntry) bool) error
}
