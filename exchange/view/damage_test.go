package view

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// smallJournal is what a view is made of: blocks of two collections, with versions, and intake of a feed.
type smallJournal struct {
	blocks []*record.Block
	intake []*record.Intake
	shares map[time.Time][]record.Share
	told   int // how often it was told of damage
}

func newSmallJournal() *smallJournal {
	j := &smallJournal{shares: make(map[time.Time][]record.Share)}
	r := rand.New(rand.NewPCG(1, 2))
	object := func(id, version int) string {
		noise := make([]byte, 300)
		for i := range noise {
			noise[i] = byte('a' + r.IntN(26))
		}
		return fmt.Sprintf(`{"type":"indicator","spec_version":"2.1","id":"indicator--00000000-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:%02d.000Z","x":"%s"}`, id, version, noise)
	}
	for n := range 60 {
		var objects []string
		for i := range 20 {
			objects = append(objects, object(n/20*20+i, n%20))
		}
		j.blocks = append(j.blocks, &record.Block{
			Collection: []string{"a", "b"}[n%2], Number: uint64(n/2 + 1), Sequence: uint64(n + 1), Count: 20, By: "m", Labels: slices.Repeat([]byte{0x11}, 20),
			AddedFirst: time.UnixMicro(int64(100 * (n + 1))), Payload: []byte(`{"objects":[` + strings.Join(objects, ",") + `]}`),
		})
		in := &record.Intake{Feed: "f", At: time.UnixMicro(int64(100 * (n + 1))).UTC()}
		g := &record.Group{Objects: []record.Object{{Raw: []byte(object(1000+n, 0)), New: true}}}
		j.intake, j.shares[in.At] = append(j.intake, in), []record.Share{{Collection: exchange.FeedCollection("f"), Groups: []*record.Group{g}}}
	}
	return j
}

// open opens a view in a directory; where it has less than the journal, it catches up.
func (j *smallJournal) open(dir string) (*View, error) {
	shares := func(_ context.Context, in *record.Intake, _ func(string) bool) ([]record.Share, error) {
		return j.shares[in.At], nil
	}
	v, err := Open(Options{
		Dir: dir, CacheBytes: 1, IndexBytes: 1 << 20, Shares: shares, Again: shares,
		Decompress: func(dst, b []byte) ([]byte, error) { return append(dst, b...), nil },
		Continues: func(b *record.Block, number uint64, _ string, _ time.Time) error {
			if b.Number != number+1 {
				return fmt.Errorf("block %d follows %d", b.Number, number)
			}
			return nil
		},
		Damaged: func(error, bool) { j.told++ },
	})
	if err != nil {
		return nil, err
	}
	for i, b := range j.blocks {
		err = errors.Join(err, v.ApplyBlock(b), v.ApplyIntake(context.Background(), uint64(i+1), j.intake[i].Append(nil)))
		if i == len(j.blocks)/2 {
			err = errors.Join(err, v.write(context.Background())) // there are several files
		}
		if err != nil {
			return v, err
		}
	}
	return v, nil
}

// newSmallView is a view of a small journal.
func newSmallView(t *testing.T) (j *smallJournal, dir string, v *View) {
	t.Helper()
	j, dir = newSmallJournal(), t.TempDir()
	v, err := j.open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j, dir, v
}

// answers are what a view says, and whether it says of something that it is damaged.
func (j *smallJournal) answers(t *testing.T, v *View) (list []string, damaged bool) {
	t.Helper()
	say := func(what string, got any, err error) {
		switch {
		case errors.Is(v.Note(err), ErrDamaged):
			list, damaged = append(list, what+" damaged"), true
		case err != nil:
			t.Errorf("%s: %v", what, err)
		default:
			list = append(list, fmt.Sprintf("%s %v", what, got))
		}
	}
	for _, c := range []string{"a", "b", exchange.FeedCollection("f")} {
		for _, q := range []Query{{}, {Versions: []VersionMatch{{Kind: All}}}, {Types: []string{"indicator"}}, {Facts: true}, {IDs: []string{"indicator--00000000-0000-4000-8000-000000000007"}}} {
			q.Limit = 7
			for n, more := 0, true; more; n++ {
				p, err := v.Page(t.Context(), rightTo(c), q)
				var text strings.Builder
				if err == nil && q.Facts {
					for f, e := range p.Facts() {
						if err = e; err != nil {
							break
						}
						fmt.Fprintf(&text, "%s %s %v;", f.ID.UUID, f.Version, f.Added.UnixMicro())
					}
				} else if err == nil {
					_, err = p.WriteTo(&text)
				}
				say(fmt.Sprintf("%s %d %d %d %t", c, len(q.Versions), len(q.Types), n, q.Facts), text.String(), err)
				if more = err == nil && p.More; more {
					q.After = p.Reached
				}
			}
		}
	}
	for i := range 40 {
		id := fmt.Sprintf("indicator--00000000-0000-4000-8000-%012d", i)
		var posted []string
		err := v.Posted([]string{id}, func(_ int, p *record.Posted) error {
			posted = append(posted, fmt.Sprint(*p))
			return nil
		})
		say("posted "+id, posted, err)
		in, err := v.Intake(uint64(i + 1))
		say(fmt.Sprint("intake ", i), in, err)
	}
	return list, damaged
}

// rightOrDamaged fails the test where an answer is neither right nor says that the view is damaged.
func rightOrDamaged(t *testing.T, want, got []string) {
	t.Helper()
	right := make(map[string]bool)
	for _, s := range want {
		right[s] = true
	}
	for _, s := range got {
		if !right[s] && !strings.HasSuffix(s, " damaged") {
			t.Errorf("a wrong answer: %.300s", s)
		}
	}
}

// harms are what may become of a file.
var harms = []string{"a bit turned around", "a bit of its end turned around", "half of it gone", "emptied", "removed"}

// harm returns false where the file has gone by itself.
func harm(t *testing.T, r *rand.Rand, path, how string) bool {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	switch how {
	case harms[0]:
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	case harms[1]:
		b[len(b)-1-r.IntN(min(40, len(b)))] ^= 1 << r.IntN(8)
	case harms[2]:
		err = os.Truncate(path, int64(len(b)/2))
	case harms[3]:
		err = os.Truncate(path, 0)
	case harms[4]:
		err = os.Remove(path)
	}
	if how == harms[0] || how == harms[1] {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_WRONLY, 0); err == nil {
			_, err = f.WriteAt(b, 0)
			err = errors.Join(err, f.Close())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// one picks a file of a view, of a kind that follows from n.
func one(t *testing.T, r *rand.Rand, dir string, n int, kinds map[string]int) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	byKind := make(map[string][]string)
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() == 0 {
			continue
		}
		kind := strings.TrimLeft(filepath.Base(f), "0123456789")
		kind, _, _ = strings.Cut(kind, "-")
		byKind[kind] = append(byKind[kind], f)
	}
	names := slices.Sorted(maps.Keys(byKind))
	kind := names[n%len(names)]
	kinds[kind]++
	return byKind[kind][r.IntN(len(byKind[kind]))]
}

// One file of a view is changed, cut or removed, while the view is open or closed: no answer is wrong, nothing panics, and the
// next start has a view that is whole.
func TestAFileIsHarmed(t *testing.T) {
	t.Parallel()
	j, dir, v := newSmallView(t)
	want, damaged := j.answers(t, v)
	err := v.Close(context.Background())
	if err != nil || damaged || j.told > 0 {
		t.Fatal(damaged, err)
	}
	kinds := make(map[string]int)
	for n := range 50 {
		r := rand.New(rand.NewPCG(uint64(n), 3))
		running := n%2 == 1
		at := t.TempDir()
		if err := os.CopyFS(at, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		var v *View
		if running {
			if v, err = j.open(at); err != nil {
				t.Fatal(n, err)
			}
		}
		how := harms[n/10%len(harms)]
		path := one(t, r, at, n/2, kinds)
		for !harm(t, r, path, how) {
			path = one(t, r, at, n/2, kinds)
		}
		what := fmt.Sprintf("case %d, running %t, %s, %s", n, running, filepath.Base(path), how)
		if !running {
			if i, b, _ := Ends(at); max(i, b) > uint64(len(j.blocks)) { // as verify and rebuild ask
				t.Errorf("%s: it is said to have %d and %d", what, i, b)
			}
			if v, err = j.open(at); err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatal(what, err)
			}
		}
		got, damaged := j.answers(t, v)
		rightOrDamaged(t, want, got)
		if err := v.Close(context.Background()); err != nil && !errors.Is(err, ErrDamaged) {
			t.Log(what, err)
		}
		told := j.told
		if v, err = j.open(at); err != nil {
			t.Fatal(what, err)
		}
		if damaged && told == 0 {
			t.Errorf("%s: nobody was told", what)
		}
		if got, _ := j.answers(t, v); cmp.Diff(want, got) != "" {
			t.Errorf("%s: not whole after a start", what)
		}
		if err := v.Close(context.Background()); err != nil {
			t.Fatal(what, err)
		}
		t.Logf("%s: damaged %t, told %d", what, damaged, j.told)
		j.told = 0
	}
	t.Log(kinds)
}

// A damaged view that knows of more than the journal has is not deleted.
func TestADamagedViewIsAWitness(t *testing.T) {
	t.Parallel()
	j, _, v := newSmallView(t)
	_ = v.Note(fmt.Errorf("somewhere: %w", ErrDamaged))
	err := v.Close(context.Background())
	if err != nil || j.told != 1 {
		t.Fatal(j.told, err)
	}
	lost, asked := errors.New("the journal has lost its end"), 0
	opt := v.opt
	opt.MayDelete = func(intake, blocks uint64) error {
		asked++
		if n := uint64(len(j.blocks)); intake != n || blocks != n {
			t.Errorf("it is said to have %d and %d, not %d", intake, blocks, n)
		}
		return lost
	}
	for range 2 {
		if _, err := Open(opt); !errors.Is(err, lost) || !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	}
	opt.MayDelete = func(uint64, uint64) error { return nil }
	if v, err = Open(opt); err != nil || asked != 2 || j.told != 2 || v.Applied() != 0 {
		t.Fatal(asked, j.told, err)
	}
	if err := v.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Nor is a view of another format, which makes room for one of this.
func TestAViewOfAnotherFormatIsAWitness(t *testing.T) {
	t.Parallel()
	j, dir, v := newSmallView(t)
	want, _ := j.answers(t, v)
	err := v.Close(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, format+".0"), filepath.Join(dir, "1.0")); err != nil {
		t.Fatal(err)
	}
	lost, n := errors.New("the journal has lost its end"), uint64(len(j.blocks))
	opt := v.opt
	opt.MayDelete = func(intake, blocks uint64) error {
		if intake == n && blocks == n {
			return lost
		}
		return nil
	}
	if _, err := Open(opt); !errors.Is(err, lost) {
		t.Error(err)
	}
	if v, err = j.open(dir); err != nil || j.told > 0 {
		t.Fatal(j.told, err)
	}
	if got, _ := j.answers(t, v); cmp.Diff(want, got) != "" {
		t.Error("it is another")
	}
	if err := v.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What is not the view's neither has it made anew nor is deleted with it.
func TestWhatIsNotTheViews(t *testing.T) {
	t.Parallel()
	j, dir, v := newSmallView(t)
	if err := v.Note(fmt.Errorf("a request: %w", fs.ErrNotExist)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	err := v.Close(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "lost+found")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []bool{false, true} {
		if v, err = Open(v.opt); err != nil {
			t.Fatal(err)
		}
		if n := v.Applied(); n != uint64(len(j.intake)) && !damaged || damaged && n != 0 {
			t.Errorf("damaged %t: it has intake up to %d", damaged, n)
		}
		if !damaged {
			_ = v.Note(ErrDamaged)
		}
		if err := v.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(foreign); err != nil {
			t.Error(err)
		}
	}
}
