package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress shows how far something is: a bar on a terminal, and elsewhere a line
// every few seconds. It is for one goroutine.
type progress struct {
	w     io.Writer
	name  string
	unit  string
	total int64 // 0 where unknown
	done  int64
	next  time.Time
	pool  *mpb.Progress
	bar   *mpb.Bar
}

// between is the time between plain lines.
const between = 5 * time.Second

func newProgress(w io.Writer, name string, total int64, unit string) *progress {
	p := &progress{w: w, name: name, unit: unit, total: total, next: time.Now().Add(between)}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && total > 0 {
		p.pool = mpb.New(mpb.WithOutput(w), mpb.WithWidth(48))
		counters := decor.CountersNoUnit("%d / %d")
		if unit == "bytes" {
			counters = decor.CountersKibiByte("% .1f / % .1f")
		}
		p.bar = p.pool.AddBar(total, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(name+"  ")), mpb.AppendDecorators(counters, decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)))
	}
	return p
}

func (p *progress) add(n int64) {
	p.done += n
	if p.bar != nil {
		p.bar.IncrInt64(n)
		return
	}
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(between)
		if p.total > 0 {
			_, _ = fmt.Fprintf(p.w, "tocsin: %s: %d of %d %s\n", p.name, p.done, p.total, p.unit)
		} else {
			_, _ = fmt.Fprintf(p.w, "tocsin: %s: %d %s\n", p.name, p.done, p.unit)
		}
	}
}

// stop takes the bar away.
func (p *progress) stop() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.pool.Wait()
	}
}
