package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Who may post which version of an object, and under which label.
func TestWhatBecomesOfWhatIsPosted(t *testing.T) {
	at := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	mine := func(n int, l tlp.Level, creator string) policy.Standing {
		return policy.Standing{Version: at(n), Label: l, Creator: creator, Mine: true}
	}
	theirs := func(n int, l tlp.Level, creator string) policy.Standing {
		return policy.Standing{Version: at(n), Label: l, Creator: creator}
	}
	same := func(s policy.Standing) policy.Standing {
		s.Same = true
		return s
	}
	remembered := func(s policy.Standing) policy.Standing {
		s.Remembered = true
		return s
	}
	// Each is a GREEN object of version 2, which the poster posts to a collection that it reads, unless it says otherwise.
	base := policy.Entry{Versioned: true, Version: at(2), Label: tlp.Green, Reads: true, Ceiling: tlp.Amber}
	type change func(e *policy.Entry)
	owner := func(o policy.Owner, creator string) change {
		return func(e *policy.Entry) { e.Owner, e.Creator, e.Speaks = o, creator, creator == "me" }
	}
	stand := func(list ...policy.Standing) change { return func(e *policy.Entry) { e.Standing = list } }
	blind := func(e *policy.Entry) { e.Reads = false }
	operator := func(e *policy.Entry) { e.Operator = true }
	elsewhere := func(l tlp.Level) change { return func(e *policy.Entry) { e.Elsewhere = l } }
	observable := func(e *policy.Entry) { e.Versioned, e.Version = false, time.Unix(0, 0) }
	for _, c := range []struct {
		name    string
		changes []change
		want    policy.Admission
		label   tlp.Level
		why     string
	}{
		{"the first", nil, policy.Store, tlp.Green, ""},
		{"its owner's", []change{owner(policy.Poster, "me")}, policy.Store, tlp.Green, ""},
		{"a third party's", []change{owner(policy.ThirdParty, "mitre")}, policy.Store, tlp.Green, ""},
		{"another member's", []change{owner(policy.Another, "them")}, policy.Refuse, tlp.Green, "another member's identity"},
		{"another member's, as it is read", []change{owner(policy.Another, "them"), elsewhere(tlp.Amber)}, policy.Store, tlp.Amber, ""},
		{"the operator's copy", []change{owner(policy.Another, "them"), operator}, policy.Store, tlp.Green, ""},
		{"under an id of the exchange", []change{func(e *policy.Entry) { e.Derived = true }}, policy.Refuse, tlp.Green, "this exchange makes"},
		{"under one, as it is read", []change{func(e *policy.Entry) { e.Derived = true }, elsewhere(tlp.Clear)}, policy.Store, tlp.Green, ""},
		{"there, in the same words", []change{stand(same(theirs(2, tlp.Amber, "")))}, policy.Present, tlp.Green, ""},
		{"there, in other words", []change{stand(mine(2, tlp.Green, ""))}, policy.Refuse, tlp.Green, "in other words"},
		{"there, in other words, unread", []change{stand(mine(2, tlp.Green, "")), blind}, policy.Present, tlp.Green, ""},
		{"others', unread", []change{blind, func(e *policy.Entry) { e.Others = true }}, policy.Drop, tlp.Green, ""},
		{"above the ceiling, of what was so before", []change{stand(remembered(mine(3, tlp.Red, ""))), func(e *policy.Entry) { e.Label = tlp.AmberStrict }}, policy.Store, tlp.Red, ""},
		{"above the ceiling, of what was so before, unread", []change{stand(remembered(mine(3, tlp.Red, ""))), blind, func(e *policy.Entry) { e.Label = tlp.AmberStrict }}, policy.Store, tlp.AmberStrict, ""},
		{"an address", []change{observable, stand(policy.Standing{Version: time.Unix(0, 0), Label: tlp.Red})}, policy.Present, tlp.Green, ""},
		{"a newer version", []change{stand(mine(1, tlp.Amber, ""))}, policy.Store, tlp.Green, ""},
		{"an older one", []change{stand(mine(3, tlp.Amber, ""))}, policy.Store, tlp.Amber, ""},
		{"of what another was first to post", []change{stand(theirs(1, tlp.Green, ""))}, policy.Refuse, tlp.Green, "another member has posted its first version"},
		{"the operator's of that", []change{stand(theirs(1, tlp.Amber, "")), operator}, policy.Store, tlp.Amber, ""},
		{"the operator's second of that", []change{stand(theirs(1, tlp.Amber, ""), mine(1, tlp.Amber, "")), operator}, policy.Store, tlp.Amber, ""},
		{"the operator lowers its own", []change{stand(mine(1, tlp.Amber, "")), operator}, policy.Store, tlp.Green, ""},
		{"the owner lowers", []change{owner(policy.Poster, "me"), stand(theirs(1, tlp.Red, "me"))}, policy.Store, tlp.Green, ""},
		{"a third party's, another's version", []change{owner(policy.ThirdParty, "mitre"), stand(theirs(1, tlp.Amber, "mitre"))}, policy.Store, tlp.Amber, ""},
		{"a third party's, one's own version", []change{owner(policy.ThirdParty, "mitre"), stand(mine(1, tlp.Amber, "mitre"))}, policy.Store, tlp.Green, ""},
		{"of another creator", []change{owner(policy.ThirdParty, "mitre"), stand(mine(1, tlp.Green, "oasis"))}, policy.Refuse, tlp.Green, "is not that of"},
		{"of another creator, unread", []change{owner(policy.ThirdParty, "mitre"), stand(mine(1, tlp.Green, "oasis")), blind}, policy.Drop, tlp.Green, ""},
		{"claimed by who was first", []change{owner(policy.Poster, "me"), stand(mine(1, tlp.Green, ""))}, policy.Store, tlp.Green, ""},
		{"its own identity, said to be another's", []change{owner(policy.Poster, "them"), stand(mine(1, tlp.Green, ""))}, policy.Refuse, tlp.Green, "is not that of"},
		{"claimed by another", []change{owner(policy.Poster, "me"), stand(theirs(1, tlp.Green, ""))}, policy.Refuse, tlp.Green, "is not that of"},
		{"without the creator that it had", []change{stand(mine(1, tlp.Green, "me"))}, policy.Refuse, tlp.Green, "is not that of"},
		{"what was raised is remembered", []change{stand(remembered(mine(3, tlp.Red, "")))}, policy.Store, tlp.Red, ""},
		{"of what left above the ceiling, unread", []change{stand(remembered(mine(3, tlp.Red, ""))), blind}, policy.Drop, tlp.Green, ""},
		{"as high as that by itself, unread", []change{stand(remembered(mine(3, tlp.Red, ""))), blind, func(e *policy.Entry) { e.Label = tlp.Red }}, policy.Store, tlp.Red, ""},
		{"of what left within the ceiling, unread", []change{stand(remembered(mine(3, tlp.Amber, ""))), blind}, policy.Store, tlp.Amber, ""},
		{"the operator's of what left, unread", []change{stand(remembered(mine(3, tlp.Red, ""))), blind, operator}, policy.Store, tlp.Red, ""},
		{"newer than what left, unread", []change{stand(remembered(mine(1, tlp.Red, ""))), blind}, policy.Store, tlp.Green, ""},
		{"another member's beside what left, unread", []change{owner(policy.Another, "them"), stand(remembered(mine(3, tlp.Red, ""))), blind}, policy.Refuse, tlp.Green, "another member's identity"},
		{"but not for newer ones", []change{stand(remembered(mine(1, tlp.Red, "")))}, policy.Store, tlp.Green, ""},
	} {
		e := base
		for _, x := range c.changes {
			x(&e)
		}
		got, label, why := policy.Admit(&e)
		if got != c.want || label != c.label || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d under %s: %q", c.name, got, label, why)
		}
	}
}
