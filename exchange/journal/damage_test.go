package journal_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Each log says how far the others were: whatever one of them loses, another tells of it.
func TestWhatAStreamHasLostOthersTellOf(t *testing.T) {
	recreate := func(names ...string) func(ctx context.Context, js jetstream.JetStream) error {
		return func(ctx context.Context, js jetstream.JetStream) error {
			for _, name := range names {
				if err := js.DeleteStream(ctx, name); err != nil {
					return err
				}
			}
			return nil
		}
	}
	remove := func(name string, sequence uint64) func(ctx context.Context, js jetstream.JetStream) error {
		return func(ctx context.Context, js jetstream.JetStream) error {
			s, err := js.Stream(ctx, name)
			if err != nil {
				return err
			}
			return s.DeleteMsg(ctx, sequence)
		}
	}
	register := record.Head{Sequence: 7, Hash: "seven"}
	for name, c := range map[string]struct {
		damage func(ctx context.Context, js jetstream.JetStream) error
		known  journal.Known
		want   []string // the streams, and what is said of them
	}{
		"nothing":                    {},
		"intake gone":                {damage: recreate(journal.IntakeStream), want: []string{"TOCSIN_INTAKE ends at message 0"}},
		"blocks gone":                {damage: recreate(journal.BlocksStream), want: []string{"TOCSIN_BLOCKS ends at message 0"}},
		"the audit gone":             {damage: recreate(journal.AuditStream), want: []string{"TOCSIN_AUDIT ends at message 0"}},
		"the quarantine gone":        {damage: recreate(exchange.QuarantineStream), want: []string{"KV_TOCSIN_QUARANTINE ends at message 0"}},
		"an intake record":           {damage: remove(journal.IntakeStream, 1), want: []string{"TOCSIN_INTAKE lacks 1 messages, of these numbers: 1"}},
		"a block":                    {damage: remove(journal.BlocksStream, 2), want: []string{"TOCSIN_BLOCKS lacks 1 messages, of these numbers: 2"}},
		"the view has more":          {known: journal.Known{Intake: 9}, want: []string{"TOCSIN_INTAKE ends at message 2, and the view has applied it up to 9"}},
		"it had more at the stop":    {known: journal.Known{Stopped: map[string]record.Head{journal.BlocksStream: {Sequence: 9}}}, want: []string{"TOCSIN_BLOCKS ends at message 3"}},
		"another record at the stop": {known: journal.Known{Stopped: map[string]record.Head{journal.IntakeStream: {Sequence: 2, Hash: "x"}}}, want: []string{"TOCSIN_INTAKE has another message 2"}},
		"an older register":          {known: journal.Known{Register: record.Head{Sequence: 6, Hash: "six"}}, want: []string{"KV_TOCSIN_REGISTER ends at version 6"}},
		"another register":           {known: journal.Known{Register: record.Head{Sequence: 7, Hash: "other"}}, want: []string{"KV_TOCSIN_REGISTER has another version 7"}},
	} {
		t.Run(name, func(t *testing.T) {
			nc := start(t)
			j := open(t, nc)
			j.SetRegister(func() record.Head { return register })
			var last record.Head
			audit := func() {
				ctx, cancel := context.WithCancel(t.Context())
				j.Audit(exchange.AuditEntry{Action: exchange.AuditPublished, Count: 1})
				cancel()
				if err := j.RunAudit(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.SetQuarantined(t.Context(), "x", []byte("y")); err != nil {
				t.Fatal(err)
			}
			for n := range uint64(2) {
				audit()
				in := &record.Intake{Feed: "f", Number: n + 1, Previous: last.Hash, Register: register.Sequence, RegisterHash: register.Hash}
				in.Blocks, in.Audit = j.Heads()
				var err error
				if last, err = j.AppendIntake(t.Context(), "f", in.Append(nil), last.Sequence); err != nil {
					t.Fatal(err)
				}
				if err := deliver(t, j, share("a", int(n), 1), "f", last.Sequence); err != nil {
					t.Fatal(err)
				}
			}
			if err := deliver(t, j, share("b", 9, 1), "f", last.Sequence); err != nil {
				t.Fatal(err)
			}
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			if c.damage != nil {
				if err := c.damage(t.Context(), js); err != nil {
					t.Fatal(err)
				}
			}
			if c.known.Register.Sequence == 0 {
				c.known.Register = register
			}
			j = open(t, nc) // which makes what is not there
			list, err := j.Damage(t.Context(), c.known)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !slices.ContainsFunc(list, func(d journal.Damage) bool { return strings.Contains(d.String(), want) }) {
					t.Errorf("%v does not say: %s", list, want)
				}
			}
			if len(list) > len(c.want) {
				t.Errorf("more than was done: %v", list)
			}
			if err := j.Whole(t.Context(), c.known); errors.Is(err, journal.ErrDamaged) != (len(c.want) > 0) {
				t.Error(err)
			}
		})
	}
}
