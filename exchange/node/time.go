package node

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
)

// clockFile has what time it was when the exchange ran last, to a minute.
const clockFile = "clock.json"

type ran struct {
	At time.Time `json:"at"`
}

// lastRun reads it, zero where that is not known.
func lastRun(dir string) time.Time {
	var r ran
	if text, err := os.ReadFile(filepath.Join(dir, clockFile)); err == nil {
		_ = json.Unmarshal(text, &r) // a file that says nothing is as good as none
	}
	return r.At
}

func (n *Node) noteTime() error {
	text, err := json.Marshal(ran{n.clock.Now().UTC()})
	if err != nil {
		return err
	}
	return filestore.Replace(filepath.Join(n.opt.Dir, clockFile), text)
}

// now is the time, behind every restart: stamps of after a restore are behind all that were taken back.
func (n *Node) now() time.Time {
	now := n.clock.Now()
	for _, r := range n.Journal.Restarts() {
		if !now.After(r.At) {
			now = r.At.Add(time.Microsecond)
		}
	}
	return now
}

// keepTime looks at the clock, so that its jumps are seen, and notes what time it is.
func (n *Node) keepTime(ctx context.Context) error {
	for i := 0; ; i++ {
		n.clock.Now()
		if i%6 == 0 && n.room(false) == nil {
			if err := n.noteTime(); err != nil {
				n.log.Warn("what time it is cannot be noted", "error", err)
			}
		}
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}
