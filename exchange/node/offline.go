package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"

	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/exchange/view"
)

// What is done with the data directory of an exchange that does not run.

// Rebuild deletes the view, so that the next Open makes it from the journal. It refuses where the
// journal has less than the view: then the view is what shows it.
func Rebuild(ctx context.Context, dir string) error {
	return locked(dir, func() error {
		if err := withJournal(ctx, dir, func(Journal) error { return nil }); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(dir, "view")); err != nil {
			return fmt.Errorf("delete the view: %w", err)
		}
		return nil
	})
}

// Journal is what WithJournal gives.
type Journal = *journal.Journal

// WithJournal opens the journal alone for f, and returns what is wrong with it as a whole as well.
func WithJournal(ctx context.Context, dir string, f func(Journal) error) error {
	return locked(dir, func() error { return withJournal(ctx, dir, f) })
}

// Rotate makes a new secret for cursors, and for what blocks hide from their readers.
func Rotate(ctx context.Context, dir string) error {
	return locked(dir, func() error {
		return withRegister(ctx, dir, func(r *register.Store, _ *broker.Broker, files []journal.Damage) error {
			if _, err := note(dir, files); err != nil {
				return err
			}
			return r.Rotate(ctx)
		})
	})
}

func withJournal(ctx context.Context, dir string, f func(Journal) error) error {
	return withRegister(ctx, dir, func(r *register.Store, b *broker.Broker, files []journal.Damage) error {
		j, err := journal.Open(ctx, b.Conn(), journal.KeepAsItIs, sealOf(r))
		if err != nil {
			return beside(err, files)
		}
		defer j.Close()
		// A view that cannot be read says nothing: it can be made anew.
		intake, blocks, _ := view.Ends(filepath.Join(dir, "view"))
		seen, err := j.Damage(ctx, known(dir, r, intake, blocks))
		if err != nil {
			return errors.Join(f(j), err)
		}
		open, err := note(dir, slices.Concat(files, seen))
		if err != nil {
			return errors.Join(f(j), err, journal.AsError(seen))
		}
		return errors.Join(f(j), journal.AsError(damagesOf(open)))
	})
}

// withRegister opens the register alone for f.
func withRegister(ctx context.Context, dir string, f func(r *register.Store, b *broker.Broker, files []journal.Damage) error) (err error) {
	b, files, err := startBroker(dir, true, broker.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopBroker(dir, b)) }()
	r, err := register.Open(ctx, b.Conn(), nil)
	if err != nil {
		return beside(err, files)
	}
	return f(r, b, files)
}

// locked runs f with the lock on a data directory that is there.
func locked(dir string, f func() error) error {
	if err := IsData(dir); err != nil {
		return err
	}
	if err := whole(dir); err != nil {
		return err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Unlock() }()
	return f()
}

// IsData returns why a directory is no data directory of an exchange.
func IsData(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "journal")); err != nil {
		return fmt.Errorf("%s is no data directory of an exchange: %w", dir, errors.Unwrap(err))
	}
	return nil
}

// takeLock makes sure that no other process has the directory open.
func takeLock(dir string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, "lock"))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock data directory: %w", err)
	case !ok:
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	return lock, nil
}
