package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// The files of the journal are looked at before the broker opens them.

// startBroker starts the broker on a data directory whose files were looked at, all of them or those that it looks at.
func startBroker(dir string, all bool, o broker.Options) (*broker.Broker, []journal.Damage, error) {
	files, err := mend(dir, all)
	if err == nil {
		log := o.Log
		if log == nil {
			log = slog.New(slog.DiscardHandler)
		}
		err = dropConsumers(dir, log)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := filestore.Replace(filepath.Join(dir, runningFile), nil); err != nil {
		return nil, nil, fmt.Errorf("open the journal: %w", err)
	}
	o.Dir = filepath.Join(dir, "journal")
	b, err := broker.Start(o)
	return b, files, err
}

// stopBroker stops it.
func stopBroker(dir string, b *broker.Broker) error {
	err := b.Close()
	if err == nil {
		err = os.Remove(filepath.Join(dir, runningFile))
	}
	if errors.Is(err, fs.ErrNotExist) { // the broker is elsewhere
		return nil
	}
	return err
}

// mend looks for what cannot be read in the files of streams, before the broker does, and mends it: the broker would cut off
// what stands behind. What is lost of streams whose messages are counted, the journal finds (journal.Damage); the rest is
// noted. Where the last stop was in order, the files end as they did then, and nothing is known of damage, the broker reads no
// others, and scrub finds what is to be found, unless all are to be read.
func mend(dir string, all bool) (list []journal.Damage, err error) {
	streams := filepath.Join(dir, streamsDir)
	_, err = os.Stat(filepath.Join(dir, runningFile))
	stopped := errors.Is(err, fs.ErrNotExist)
	open, err := note(dir, nil)
	if err != nil {
		return nil, err
	}
	if stopped {
		ends, indexed, err := filestore.Ends(streams)
		if err != nil {
			return nil, err
		}
		known := stoppedAt(dir)
		maps.DeleteFunc(known, func(stream string, _ record.Head) bool { return slices.Contains(journal.Aging, stream) }) // it may be long ago
		list = shortened(known, ends, "it had %d when the exchange was stopped")
		if !all && indexed && len(list)+len(open) == 0 && !slices.ContainsFunc(ends, func(s filestore.Stream) bool { return len(s.Gaps) > 0 }) {
			return nil, nil
		}
	}
	files, err := filestore.Scan(streams, nil)
	if err != nil {
		return nil, err
	}
	for i := range files {
		list = append(list, unreadable(&files[i], stopped)...)
	}
	if _, err := note(dir, list); err != nil { // once it is mended, nobody sees it any more
		return nil, err
	}
	for _, s := range files {
		for _, g := range slices.Backward(s.Gaps) { // where one is mended, those before it stay where they are
			if g.Torn && !stopped { // as a crash leaves it: what was acknowledged others know of
				continue
			}
			if err := keep(dir, &g); err != nil {
				return nil, err
			}
			if g.Torn {
				continue
			}
			if err := filestore.Mend(g); err != nil {
				return nil, err
			}
		}
	}
	return list, filestore.DropIndexes(streams)
}

// shortened lists the streams whose files end before what is known of them.
func shortened(known map[string]record.Head, files []filestore.Stream, by string) (list []journal.Damage) {
	for stream, h := range known {
		for _, s := range files {
			if s.Name == stream && s.Last < h.Sequence {
				list = append(list, journal.Damage{Stream: stream, What: fmt.Sprintf("ends at message %d, and "+by, s.Last, h.Sequence), To: h.Sequence, End: true})
			}
		}
	}
	return list
}

// unreadable lists what cannot be read of a stream whose messages are not counted; torn says that its very end is meant too.
func unreadable(s *filestore.Stream, torn bool) (list []journal.Damage) {
	for i := range s.Gaps {
		g := &s.Gaps[i]
		if slices.Contains(journal.Counted, s.Name) || g.Torn && !torn || g.Before > 0 && g.Before <= g.After+1 { // of deleted messages
			continue
		}
		list = append(list, journal.Damage{Stream: s.Name, What: "cannot be read in " + g.Place(), End: g.Before == 0})
	}
	return list
}

// dropConsumers takes durable consumers away whose description is damaged. They are made anew, and give all from their start
// once more.
func dropConsumers(dir string, log *slog.Logger) error {
	broken, err := filestore.BrokenConsumers(filepath.Join(dir, streamsDir))
	if err != nil || len(broken) == 0 {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, damagedDir), 0o700); err != nil {
		return err
	}
	for _, path := range broken {
		log.Warn("a subscriber's place is damaged: it gets all once more", "consumer", filepath.Base(path))
		if err := os.Rename(path, filepath.Join(dir, damagedDir, filepath.Base(path)+"-"+strconv.FormatInt(time.Now().UnixNano(), 10))); err != nil {
			return fmt.Errorf("take a damaged consumer away: %w", err)
		}
	}
	return nil
}

// keep keeps a damaged file as it was found.
func keep(dir string, g *filestore.Gap) error {
	text, err := os.ReadFile(g.File)
	if err != nil {
		return fmt.Errorf("keep a damaged file: %w", err)
	}
	to := filepath.Join(dir, damagedDir, g.Stream)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("keep a damaged file: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(to, filepath.Base(g.File)+"-"+strconv.FormatInt(time.Now().Unix(), 10)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) { // another gap of the same file
		return nil
	}
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("keep a damaged file: %w", err)
	}
	return nil
}
