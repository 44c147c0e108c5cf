package view

import (
	"context"
	"fmt"
	"time"
)

// settleAfter is how long nothing has to come before what is only in memory is written, and settleBytes about how
// much of it there has to be: files that are small and many are slow to look in.
const (
	settleAfter = 2 * time.Second
	settleBytes = 8 << 20
)

// Settle writes out, until ctx ends, what is only in memory, whenever nothing has come for a while. Readers
// look in fewer places then, and a start after a crash makes less of the view anew.
func (v *View) Settle(ctx context.Context) error {
	for {
		v.mu.Lock()
		moved := v.moved
		v.mu.Unlock()
		quiet := time.NewTimer(settleAfter)
		select {
		case <-quiet.C:
			if err := v.settle(ctx); err != nil {
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

func (v *View) settle(ctx context.Context) error {
	if v.unwritten.Load() < settleBytes {
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
