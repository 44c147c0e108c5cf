package node

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

// ArchiveOptions say where an exchange is archived.
type ArchiveOptions struct {
	// Store is the archive, nil for none; Place names it.
	Store archive.Store
	Place string
	// Recipients are who can read it; none for everybody who gets at its files.
	Recipients []age.Recipient
	// Every is how often what is new goes there; 0 means each minute.
	Every time.Duration
}

// exchangeID tells an exchange from others, and nothing about it.
func exchangeID(r *register.Store) string {
	m := hmac.New(sha256.New, r.Secret())
	m.Write([]byte("tocsin archive of"))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// openArchive makes what archives the exchange.
func (n *Node) openArchive() {
	o := &n.opt.Archive
	if o.Store == nil {
		return
	}
	n.archiver = &archive.Archiver{
		Source: n.Journal, Store: o.Store, Place: o.Place, Exchange: exchangeID(n.Register), Recipients: o.Recipients,
		Dir: n.opt.Dir, Room: func() error { return n.room(false) }, Whole: n.takesNothing, Replace: filestore.Replace, Log: n.log,
	}
}

// ArchiveNow returns once all that the streams have is in the archive, where there is one.
func (n *Node) ArchiveNow(ctx context.Context) error {
	if n.archiver == nil {
		return nil
	}
	return n.archiver.Flush(ctx)
}

// Backup writes all that the exchange has, as a segment of an archive.
func (n *Node) Backup(ctx context.Context, to io.Writer) error {
	return archive.Backup(ctx, to, n.Journal, exchangeID(n.Register))
}

// Backup writes all that a stopped exchange has, as a segment of an archive.
func Backup(ctx context.Context, dir string, to io.Writer) error {
	return locked(dir, func() error {
		return withRegister(ctx, dir, func(r *register.Store, b *broker.Broker, files []journal.Damage) error {
			j, err := journal.Open(ctx, b.Conn(), journal.KeepAsItIs, sealOf(r))
			if err != nil {
				return beside(err, files)
			}
			defer j.Close()
			if err := errors.Join(journal.AsError(files), j.Whole(ctx, known(dir, r, 0, 0))); err != nil {
				return fmt.Errorf("back up: %w", err)
			}
			return archive.Backup(ctx, to, j, exchangeID(r))
		})
	})
}
