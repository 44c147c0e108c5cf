package filestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
)

const streamName = "MESSAGES"

// streamsIn is where a broker keeps streams.
func streamsIn(dir string) string { return filepath.Join(dir, "jetstream", "TOCSIN", "streams") }

// with runs f on the stream of the broker in a directory.
func with(t *testing.T, dir string, f func(js jetstream.JetStream, s jetstream.Stream)) {
	t.Helper()
	b, err := broker.Start(broker.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"m.*"}, Storage: jetstream.FileStorage, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	f(js, s)
}

// messages reads all that the stream has, by sequence.
func messages(t *testing.T, s jetstream.Stream) (all map[uint64][]byte, last uint64) {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all = make(map[uint64][]byte)
	for n := uint64(1); n <= info.State.LastSeq; n++ {
		msg, err := s.GetMsg(t.Context(), n)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all[n] = msg.Data
	}
	return all, info.State.LastSeq
}

// written is the directory of a stopped broker whose stream has messages in several files, some with headers, some deleted
// and some erased.
func written(t *testing.T) string {
	t.Helper()
	dir, r := t.TempDir(), rand.New(rand.NewPCG(1, 1))
	with(t, dir, func(js jetstream.JetStream, s jetstream.Stream) {
		for i := range 120 {
			msg := nats.NewMsg(fmt.Sprintf("m.%d", i%3))
			if i%2 == 0 {
				msg.Header.Set("Number", fmt.Sprint(i))
			}
			msg.Data = make([]byte, r.IntN(300_000))
			for k := range msg.Data {
				msg.Data[k] = byte(r.Uint32())
			}
			if _, err := js.PublishMsg(t.Context(), msg); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []uint64{7, 8, 60} {
			if err := errors.Join(s.DeleteMsg(t.Context(), n), s.SecureDeleteMsg(t.Context(), n+2)); err != nil {
				t.Fatal(err)
			}
		}
	})
	return dir
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(streamsIn(dir), streamName, "msgs", "*.blk"))
	if err != nil || len(list) < 2 {
		t.Fatal(list, err)
	}
	return list
}

// What the server has written is read without a gap.
func TestWholeFilesHaveNoGap(t *testing.T) {
	dir := written(t)
	list, err := filestore.Scan(streamsIn(dir), nil)
	if err != nil || len(list) != 1 || list[0].Name != streamName || list[0].Last != 120 || len(list[0].Gaps) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := filestore.Scan(filepath.Join(dir, "elsewhere"), nil); len(list) > 0 || err != nil {
		t.Errorf("where nothing is: %v, %v", list, err)
	}
}

// A byte that is another costs the message that it is in, and none behind it.
func TestAMendedStreamHasTheRest(t *testing.T) {
	dir := written(t)
	var before map[uint64][]byte
	with(t, dir, func(_ jetstream.JetStream, s jetstream.Stream) { before, _ = messages(t, s) })
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		at := t.TempDir()
		if err := os.CopyFS(at, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		file := files(t, at)[r.IntN(len(files(t, at)))]
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + r.IntN(3) {
			text[r.IntN(len(text))] ^= 1 << r.IntN(8)
		}
		if seed%4 == 0 {
			text = slices.Delete(text, len(text)/2, len(text)/2+1+r.IntN(40))
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := filestore.Scan(streamsIn(at), nil)
		if err != nil || len(list[0].Gaps) == 0 {
			t.Fatal(list, err)
		}
		torn, lost := false, make(map[uint64]bool)
		for _, g := range slices.Backward(list[0].Gaps) {
			end := g.Before
			if end == 0 {
				end = 121
			}
			for n := g.After + 1; n < end; n++ {
				lost[n] = true
			}
			if torn = torn || g.Torn; g.Torn {
				continue
			}
			if err := filestore.Mend(g); err != nil {
				t.Fatal(err)
			}
		}
		if again, err := filestore.Scan(streamsIn(at), nil); err != nil || !torn && len(again[0].Gaps) > 0 {
			t.Errorf("seed %d: mended, and there are gaps: %v, %v", seed, again, err)
		}
		with(t, at, func(js jetstream.JetStream, s jetstream.Stream) {
			all, last := messages(t, s)
			if last != 120 && !torn {
				t.Errorf("seed %d: it ends at %d", seed, last)
			}
			for n, data := range before {
				if !bytes.Equal(all[n], data) && !lost[n] {
					t.Errorf("seed %d, %v: message %d is another, or gone", seed, list[0].Gaps, n)
				}
			}
			for n := range all {
				if before[n] == nil {
					t.Errorf("seed %d: message %d is there again", seed, n)
				}
			}
			if len(lost) > 12 && !torn {
				t.Errorf("seed %d: %v", seed, list[0].Gaps)
			}
			if ack, err := js.Publish(t.Context(), "m.0", []byte("x")); err != nil || ack.Sequence != last+1 {
				t.Errorf("seed %d: %+v, %v", seed, ack, err)
			}
		})
	}
}

// What was lost can be put back at its place: after a mend, and where all files are gone.
func TestMessagesArePutBack(t *testing.T) {
	dir := written(t)
	before := make(map[uint64]*jetstream.RawStreamMsg)
	with(t, dir, func(_ jetstream.JetStream, s jetstream.Stream) {
		for n := uint64(1); n <= 120; n++ {
			msg, err := s.GetMsg(t.Context(), n)
			if err == nil {
				before[n] = msg
			} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
				t.Fatal(err)
			}
		}
	})
	for name, damage := range map[string]func(file string, text []byte) error{
		"bits": func(file string, text []byte) error {
			text[len(text)/3] ^= 4
			text[2*len(text)/3] ^= 4
			return os.WriteFile(file, text, 0o600)
		},
		"half": func(file string, text []byte) error { return os.WriteFile(file, text[:len(text)/2], 0o600) },
		"gone": func(file string, _ []byte) error { return os.Remove(file) },
	} {
		at := t.TempDir()
		if err := os.CopyFS(at, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		for _, file := range files(t, at) {
			text, err := os.ReadFile(file)
			if err == nil {
				err = damage(file, text)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		list, err := filestore.Scan(streamsIn(at), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range slices.Backward(list[0].Gaps) {
			if !g.Torn {
				err = errors.Join(err, filestore.Mend(g))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		var lost []filestore.Message
		with(t, at, func(_ jetstream.JetStream, s jetstream.Stream) {
			for n := uint64(1); n <= 120; n++ {
				if _, err := s.GetMsg(t.Context(), n); err != nil && before[n] != nil {
					m := before[n]
					header := []byte(nil)
					if len(m.Header) > 0 {
						header = fmt.Appendf(nil, "NATS/1.0\r\nNumber: %s\r\n\r\n", m.Header.Get("Number"))
					}
					lost = append(lost, filestore.Message{Sequence: n, Subject: m.Subject, Header: header, Data: m.Data, Time: m.Time.UnixNano()})
				}
			}
		})
		if len(lost) == 0 {
			t.Errorf("%s: nothing is lost", name)
		}
		if err := filestore.Put(streamsIn(at), streamName, lost); err != nil {
			t.Fatal(err)
		}
		with(t, at, func(_ jetstream.JetStream, s jetstream.Stream) {
			for n := uint64(1); n <= 120; n++ {
				got, err := s.GetMsg(t.Context(), n)
				want := before[n]
				if want == nil && name == "half" {
					continue // what told that it was deleted is lost
				}
				if (err == nil) != (want != nil) || want != nil && (got.Subject != want.Subject || got.Header.Get("Number") != want.Header.Get("Number") || !bytes.Equal(got.Data, want.Data) || !got.Time.Equal(want.Time)) {
					t.Errorf("%s: message %d is another: %v", name, n, err)
				}
			}
		})
	}
}

// A stream that is written beside the server is the one that it was read from: messages, sequences, and where it ends.
func TestAStreamIsWritten(t *testing.T) {
	dir, at := written(t), t.TempDir()
	var all []filestore.Message
	last := uint64(0)
	with(t, dir, func(_ jetstream.JetStream, s jetstream.Stream) {
		info, err := s.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last = info.State.LastSeq
		for n := uint64(1); n < last-3; n++ { // so that the last are deleted
			msg, err := s.GetMsg(t.Context(), n)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			m := filestore.Message{Sequence: n, Subject: msg.Subject, Data: msg.Data, Time: msg.Time.UnixNano()}
			if len(msg.Header) > 0 {
				m.Header = fmt.Appendf(nil, "NATS/1.0\r\nNumber: %s\r\n\r\n", msg.Header.Get("Number"))
			}
			all = append(all, m)
		}
	})
	with(t, at, func(jetstream.JetStream, jetstream.Stream) {})
	w, err := filestore.NewWriter(streamsIn(at), streamName)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if err := w.Add(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Add(&all[0]); err == nil {
		t.Error("a message was written twice")
	}
	if err := w.End(last); err != nil {
		t.Fatal(err)
	}
	with(t, at, func(js jetstream.JetStream, s jetstream.Stream) {
		got, end := messages(t, s)
		if end != last || len(got) != len(all) {
			t.Errorf("it has %d messages up to %d, and not %d up to %d", len(got), end, len(all), last)
		}
		for _, m := range all {
			if !bytes.Equal(got[m.Sequence], m.Data) {
				t.Errorf("message %d is another", m.Sequence)
			}
		}
		if ack, err := js.Publish(t.Context(), "m.1", []byte("next")); err != nil || ack.Sequence != last+1 {
			t.Errorf("%+v, %v", ack, err)
		}
	})
	list, err := filestore.Scan(streamsIn(at), nil)
	if err != nil || list[0].Last != last+1 || len(list[0].Gaps) > 0 {
		t.Errorf("%+v %v", list, err)
	}
}

// What is written anew is what the server reads: other messages at their places, some gone, and nothing in the files of those that
// were.
func TestAStreamIsRewritten(t *testing.T) {
	dir := written(t)
	before := make(map[uint64][]byte)
	with(t, dir, func(_ jetstream.JetStream, s jetstream.Stream) { before, _ = messages(t, s) })
	var last uint64
	changed, gone := make(map[uint64]string), make(map[uint64]bool)
	err := filestore.Rewrite(streamsIn(dir), streamName, false, func(m *filestore.Message, live bool) (*filestore.Message, error) {
		last = m.Sequence
		switch {
		case !live:
			t.Errorf("message %d is not live", m.Sequence)
		case before[m.Sequence] == nil: // deleted, and there in the files
			return nil, nil
		case !bytes.Equal(m.Data, before[m.Sequence]):
			t.Errorf("message %d is read as another", m.Sequence)
		case m.Sequence%7 == 0:
			changed[m.Sequence] = string(m.Data)
			again := *m
			again.Data = fmt.Appendf(nil, "another %d", m.Sequence)
			return &again, nil
		case m.Sequence%11 == 0:
			changed[m.Sequence], gone[m.Sequence] = string(m.Data), true
			return nil, nil
		}
		return m, nil
	})
	if err != nil || len(changed) == 0 || len(gone) == 0 {
		t.Fatal(err, len(changed), len(gone))
	}
	with(t, dir, func(js jetstream.JetStream, s jetstream.Stream) {
		after, end := messages(t, s)
		if end != last || len(after) != len(before)-len(gone) {
			t.Errorf("it has %d messages up to %d, and not %d up to %d", len(after), end, len(before)-len(gone), last)
		}
		for n, text := range after {
			want := string(before[n])
			if _, is := changed[n]; is {
				want = fmt.Sprintf("another %d", n)
			}
			if string(text) != want {
				t.Errorf("message %d is another", n)
			}
		}
		if ack, err := js.Publish(t.Context(), "m.1", []byte("next")); err != nil || ack.Sequence != last+1 {
			t.Errorf("%+v, %v", ack, err)
		}
	})
	for _, file := range files(t, dir) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, was := range changed {
			if len(was) > 16 && bytes.Contains(text, []byte(was)) {
				t.Errorf("message %d is in %s still", n, file)
			}
		}
	}
}

// Of a stream that keeps the last of each subject, nothing is left in the files of those before.
func TestWhatASubjectHadIsGone(t *testing.T) {
	dir := t.TempDir()
	put := func(js jetstream.JetStream, text string) {
		if _, err := js.Publish(t.Context(), "m.1", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	with(t, dir, func(js jetstream.JetStream, _ jetstream.Stream) {
		_, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"m.*"}, Storage: jetstream.FileStorage, AllowDirect: true, MaxMsgsPerSubject: 1})
		if err != nil {
			t.Fatal(err)
		}
		put(js, "what it had once")
		put(js, "what it has")
	})
	err := filestore.Rewrite(streamsIn(dir), streamName, true, func(m *filestore.Message, live bool) (*filestore.Message, error) {
		if live != (string(m.Data) == "what it has") {
			t.Errorf("%s: %v", m.Data, live)
		}
		if !live {
			return nil, nil
		}
		return m, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(streamsIn(dir), streamName, "msgs", "1.blk")); err != nil || bytes.Contains(text, []byte("once")) {
		t.Errorf("it is there still, %v", err)
	}
	with(t, dir, func(_ jetstream.JetStream, s jetstream.Stream) {
		if all, last := messages(t, s); last != 2 || string(all[2]) != "what it has" {
			t.Errorf("%s %d", all[2], last)
		}
	})
}
