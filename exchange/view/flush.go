package view

import (
	"context"
	"fmt"
	"time"
)

// quietAfter is how long nothing has to come before what is only in memory is written, and flushBytes about how
// much of it there has to be: files that are small and many are slow to look in.
const (
	quietAfter = 2 * time.Second
	flushBytes = 8 << 20
	// replayedBytes is how much of what a start has brought back is written out at once: kills in a row do not make each
	// start longer than the one before.
	replayedBytes = 1 << 20
)

// FlushWhenQuiet writes out, until ctx ends, what is only in memory, whenever nothing has come for a while. Readers
// look in fewer places then, and a start after a crash makes less of the view anew.
func (v *View) FlushWhenQuiet(ctx context.Context) error {
	for {
		moved := v.moved.Next()
		quiet := time.NewTimer(quietAfter)
		select {
		case <-quiet.C:
			if err := v.flush(ctx, flushBytes); err != nil {
				return err
			}
			select {
			case <-moved:
			case <-ctx.Done():
				return nil
			}
		case <-moved:
		case <-ctx.Done():
			return nil
		}
		quiet.Stop()
	}
}

// FlushReplayed writes out what following the journal has brought back at a start.
func (v *View) FlushReplayed(ctx context.Context) error { return v.flush(ctx, replayedBytes) }

// flush writes out what is only in memory, if it is so much.
func (v *View) flush(ctx context.Context, least int64) error {
	if v.unwritten.Load() < least {
		return nil
	}
	if err := v.write(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("write view: %w", err)
	}
	return nil
}

// write writes out what is only in memory, while ctx lasts: on a full disk Pebble tries for ever.
func (v *View) write(ctx context.Context) error {
	size := v.unwritten.Load()
	written, err := v.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-written:
		v.unwritten.Add(-size)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
