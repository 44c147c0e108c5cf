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
)

// What is older than the register says that it is kept goes as what is erased does, when the streams' files are written anew: of a
// record or a block nothing but its place in its chain is left.

// oldestFile says how old the oldest is that was left the last time.
const oldestFile = "oldest.json"

// left is what was left when the files were looked at: how old the oldest is of each collection, by the feed that has made it, and,
// for no collection, of each feed's rows.
type left struct {
	At     time.Time `json:"at"`
	Oldest []oldest  `json:"oldest"`
}

type oldest struct {
	Collection string    `json:"collection,omitempty"`
	Feed       string    `json:"feed,omitempty"`
	At         time.Time `json:"at"`
}

// slack is the part of the time that something is kept by which it goes earlier than it has to: else there would be something to do
// each night.
const slack = 10

// trimmer tells what is older than it is kept, or, with early, nearly so.
func trimmer(r *exchange.Register, now time.Time, early bool) func(collection, feed string, at time.Time) bool {
	return func(collection, feed string, at time.Time) bool {
		keep := r.Retention(collection, feed)
		if early {
			keep -= keep / slack
		}
		return keep > 0 && now.Sub(at) > keep
	}
}

// noting is a trimmer that notes what it leaves.
func (l *left) noting(trim func(collection, feed string, at time.Time) bool) func(collection, feed string, at time.Time) bool {
	places := make(map[[2]string]int)
	return func(collection, feed string, at time.Time) bool {
		if trim(collection, feed, at) {
			return true
		}
		of := [2]string{collection, feed}
		i, known := places[of]
		if !known {
			i = len(l.Oldest)
			places[of] = i
			l.Oldest = append(l.Oldest, oldest{collection, feed, at})
		}
		if at.Before(l.Oldest[i].At) {
			l.Oldest[i].At = at
		}
		return false
	}
}

func (l *left) write(dir string) error {
	text, err := json.Marshal(l)
	if err == nil {
		err = filestore.Replace(filepath.Join(dir, oldestFile), text)
	}
	if err != nil {
		return fmt.Errorf("note what is kept: %w", err)
	}
	return nil
}

// auditSlack is by how much the audit's records may be older than they are kept: for these alone the files are written anew once a
// week.
const auditSlack = 7 * 24 * time.Hour

// overdue tells whether anything is older than it is kept, as far as is known.
func (n *Node) overdue(ctx context.Context, now time.Time) (bool, error) {
	if n.opt.KeepAudit > 0 {
		since, err := n.Journal.AuditSince(ctx)
		if err != nil || !since.IsZero() && now.Sub(since) > n.opt.KeepAudit+auditSlack {
			return err == nil, err
		}
	}
	r := n.Register.Current()
	shortest := r.ShortestRetention()
	if shortest == 0 {
		return false, nil
	}
	intake, blocks, err := n.Journal.Ends(ctx)
	if err != nil || intake+blocks == 0 {
		return false, err
	}
	var known left
	text, err := os.ReadFile(filepath.Join(n.opt.Dir, oldestFile))
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it is made anew
		n.log.Warn("what is kept is not known", "error", err)
		known = left{}
	}
	trim := trimmer(r, now, false)
	// Of what came since, nothing is older than that.
	return now.Sub(known.At) > shortest || slices.ContainsFunc(known.Oldest, func(o oldest) bool { return trim(o.Collection, o.Feed, o.At) }), nil
}

// expireEvery is how often statuses and receipts are looked at whose time is over.
const expireEvery = time.Hour

// expire deletes them.
func (n *Node) expire(ctx context.Context) error {
	for {
		if !n.clock.Doubt() && n.room(true) == nil {
			if err := n.Journal.Expire(ctx, n.clock.Now()); err != nil && ctx.Err() == nil {
				n.log.Warn("what is too old cannot be deleted", "error", err)
			}
		}
		select {
		case <-time.After(expireEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// maintain waits for the hour at which what there is to be done to the files is done, and ends then, where there is anything.
func (n *Node) maintain(ctx context.Context) error {
	for {
		now := n.clock.Now().UTC()
		next := now.Truncate(24 * time.Hour).Add(n.opt.Maintenance)
		if !next.After(now) {
			next = next.Add(24 * time.Hour)
		}
		select {
		case <-time.After(next.Sub(now)):
		case <-ctx.Done():
			return nil
		}
		w, err := n.due(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Error("whether there is anything to erase cannot be seen: the next night tries again", "error", err)
		}
		if w != nil && n.takesNothing() == nil {
			n.log.Info("the exchange starts anew, to write its files without what is erased or older than it is kept")
			n.again()
			return nil
		}
	}
}

// again has the node closed and opened.
func (n *Node) again() { n.once.Do(func() { close(n.maintenance) }) }

// Maintenance is closed when the node wants to be closed and opened again.
func (n *Node) Maintenance() <-chan struct{} { return n.maintenance }
