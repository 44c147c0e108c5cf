package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/exchange/view"
)

// What is known of damage to the journal stays in the data directory until the operator has repaired it: a later start
// might see nothing of it any more.

const (
	// damageFile lists it, and damagedDir has the files as they were found.
	damageFile = "damage.json"
	damagedDir = "damaged"
	// runningFile is there while an exchange has the directory open, and after a crash; stoppedFile has the ends of the
	// streams as they were when the exchange was last stopped in order.
	runningFile = "running"
	stoppedFile = "stopped.json"
	// streamsDir is where the embedded broker keeps streams.
	streamsDir = "journal/jetstream/TOCSIN/streams"
)

// finding is damage, and when it was first seen. Accepted says that the operator goes on without what is lost.
type finding struct {
	journal.Damage
	At       time.Time `json:"at"`
	Accepted bool      `json:"accepted,omitempty"`
}

// note adds damage to what is known of it, and returns all that is known and was not accepted.
func note(dir string, list []journal.Damage) (open []finding, err error) {
	all, err := noted(dir)
	if err != nil {
		return nil, err
	}
	before := len(all)
	for _, d := range list {
		if !slices.ContainsFunc(all, func(f finding) bool {
			return f.Damage == d || f.Accepted && f.Stream == d.Stream && d.End && f.End && d.To <= f.To
		}) {
			all = append(all, finding{Damage: d, At: time.Now().UTC().Truncate(time.Second)})
		}
	}
	if len(all) > before {
		if err := writeNoted(dir, all); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(f finding) bool { return f.Accepted }), nil
}

func noted(dir string) (all []finding, err error) {
	text, err := os.ReadFile(filepath.Join(dir, damageFile))
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what is known of damage: %w", err)
	}
	return all, nil
}

func writeNoted(dir string, all []finding) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = filestore.Replace(filepath.Join(dir, damageFile), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("note damage: %w", err)
	}
	return nil
}

// noteStop notes the ends of the streams.
func (n *Node) noteStop(ctx context.Context) error {
	ends, err := n.Journal.StreamEnds(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(ends)
	if err != nil {
		return err
	}
	return filestore.Replace(filepath.Join(n.opt.Dir, stoppedFile), text)
}

// known is what is known of the journal of a data directory, whose view has applied intake and blocks.
func known(dir string, r *register.Store, intake, blocks uint64) journal.Known {
	return journal.Known{Intake: intake, Blocks: blocks, Register: version(r), Stopped: stoppedAt(dir)}
}

// stoppedAt are the ends of the streams when the exchange was last stopped in order.
func stoppedAt(dir string) (ends map[string]record.Head) {
	if text, err := os.ReadFile(filepath.Join(dir, stoppedFile)); err == nil {
		_ = json.Unmarshal(text, &ends) // a file that says nothing is as good as none
	}
	return ends
}

// version is the version of the register in force, and its hash.
func version(s *register.Store) record.Head {
	r := s.Current()
	return record.Head{Sequence: r.Version, Hash: r.Hash}
}

// spared are the streams that an exchange does without, of the register's older versions: it says that they are damaged, and
// goes on.
var spared = []string{journal.AuditStream, journal.StatusStream, journal.ReceiptsStream, journal.RegisterStream}

// damaged takes note of all damage, and returns what keeps the exchange from starting: what is lost of the register's end, as a
// credential could be valid again that was revoked, and what the view does not have either. What is lost of what others build
// on keeps it from taking anything in; the rest is told.
func (n *Node) damaged(files, seen []journal.Damage) error {
	all, err := note(n.opt.Dir, slices.Concat(files, seen))
	if err != nil {
		return err
	}
	n.damage.Store(&all)
	for _, f := range all {
		n.log.Error("the journal is damaged", "stream", f.Stream, "what", f.What, "since", f.At)
	}
	if err := n.takesNothing(); err != nil {
		n.log.Error("nothing is taken in, what there is can be read", "reason", err)
	}
	applied := map[string]uint64{journal.IntakeStream: n.View.Applied(), journal.BlocksStream: n.View.AppliedBlocks()}
	for _, f := range all {
		have, ok := applied[f.Stream]
		if f.Stream == journal.RegisterStream && f.End || ok && have < f.To && slices.Contains(seen, f.Damage) {
			return journal.AsError([]journal.Damage{f.Damage})
		}
	}
	return nil
}

// takesNothing is an exchange.ErrDamaged where so much is lost that nothing may be taken in. It says no more: what is lost
// names collections and feeds, and strangers are told of this too. The log has the rest.
func (n *Node) takesNothing() error {
	if all := n.damage.Load(); all != nil {
		for _, f := range *all {
			if !slices.Contains(spared, f.Stream) || f.Stream == journal.RegisterStream && f.End {
				return exchange.ErrDamaged
			}
		}
	}
	return nil
}

// lost tells whether anything is known to be damaged, as far as a journal tells that was just opened.
func (n *Node) lost(ctx context.Context, files []journal.Damage) (bool, error) {
	intake, blocks, _ := view.Ends(filepath.Join(n.opt.Dir, "view")) // a view that cannot be read says nothing
	seen, err := n.Journal.Damage(ctx, known(n.opt.Dir, n.Register, intake, blocks))
	if err != nil {
		return false, err
	}
	open, err := note(n.opt.Dir, slices.Concat(files, seen))
	return len(open) > 0, err
}

// damageOf is what is known of damage to a stream.
func (n *Node) damageOf(stream string) error {
	var list []journal.Damage
	if all := n.damage.Load(); all != nil {
		for _, f := range *all {
			if f.Stream == stream {
				list = append(list, f.Damage)
			}
		}
	}
	return journal.AsError(list)
}

// beside adds what is known of damage to an error that may come of it.
func beside(err error, files []journal.Damage) error {
	if why := journal.AsError(files); why != nil {
		return fmt.Errorf("%w: %w", err, why)
	}
	return err
}
