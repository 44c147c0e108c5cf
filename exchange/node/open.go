package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/clock"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/packaging"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/exchange/removal"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/exchange/view"
)

// openStores opens what keeps data.
func (n *Node) openStores(ctx context.Context) error {
	dir := n.opt.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("open data directory: %w", err)
	}
	var err error
	if n.lock, err = takeLock(dir); err != nil {
		return err
	}
	if err := whole(dir); err != nil {
		return err
	}
	n.clock = clock.New(clock.Options{Last: lastRun(dir), Trust: n.opt.TrustClock, Log: n.log, Wall: n.opt.Wall})
	files, err := n.openJournal(ctx)
	if err != nil {
		return err
	}
	work, err := n.due(ctx)
	if err != nil {
		return err
	}
	if work != nil {
		// The view may be all that there is of what the journal has lost.
		lost, err := n.lost(ctx, files)
		if err != nil {
			return err
		}
		if lost {
			n.log.Error("nothing is erased from the files, or deleted for its age, before the journal is repaired")
			work = nil
		}
	}
	if work != nil {
		n.Journal.Close()
		if err := errors.Join(stopBroker(dir, n.broker), n.rewrite(work)); err != nil {
			return err
		}
		again, err := n.openJournal(ctx)
		if err == nil {
			err = n.worked(ctx, work)
		}
		if err != nil {
			return err
		}
		files = append(files, again...)
	}
	seal := sealOf(n.Register)
	packagers := &admission.Packagers{
		Register: n.Register.At, Version: packaging.Version,
		New: func(r *exchange.Register, feed string) (admission.Packager, error) { return packaging.New(r, feed) },
	}
	n.Journal.SetClock(n.now)
	n.Journal.SetRegister(func() record.Head { return version(n.Register) })
	n.View, err = view.Open(view.Options{
		Dir: filepath.Join(dir, "view"), CacheBytes: n.opt.CacheBytes, IndexBytes: n.opt.Memory / 3, Tap: n.opt.Tap,
		Shares: n.shares(packagers), Again: packagers.Again, Decompress: n.Journal.Decompress, Continues: journal.Continues, Removal: seal.OpenRemoval,
		Damaged:   n.viewDamaged,
		MayDelete: func(intake, blocks uint64) error { return n.Journal.Whole(ctx, known(dir, n.Register, intake, blocks)) },
	})
	if err != nil {
		return err
	}
	n.Journal.SetRoom(n.room)
	seen, err := n.Journal.Damage(ctx, known(dir, n.Register, n.View.Applied(), n.View.AppliedBlocks()))
	if err != nil {
		return err
	}
	if err := n.damaged(files, seen); err != nil {
		return err
	}
	n.openArchive()
	n.remover = &removal.Remover{Log: n.Journal, View: n.View}
	n.admission = &admission.Admission{
		Log: n.Journal, History: n.View, Packagers: packagers, Fatal: n.fail, Gate: &n.gate,
		Tell: n.Journal.Audit, Removed: n.removed, Now: n.now,
	}
	n.backfiller = admission.NewBackfiller(admission.Backfiller{Admission: n.admission, Register: n.Register.At, Journal: n.Journal, Logger: n.log})
	return nil
}

// openJournal opens the broker, the register and the journal, and returns what is damaged in the files.
func (n *Node) openJournal(ctx context.Context) (files []journal.Damage, err error) {
	if len(n.opt.NATSURLs) > 0 {
		n.broker, err = broker.Connect(broker.External{URLs: n.opt.NATSURLs, Keys: n.opt.NATSKeys, Login: n.login, Log: n.log})
	} else {
		n.broker, files, err = startBroker(n.opt.Dir, false, broker.Options{Listen: n.opt.NATS, CertFile: n.opt.CertFile, KeyFile: n.opt.KeyFile, Login: n.login, Log: n.log})
	}
	if err != nil {
		return nil, err
	}
	if n.Register, err = register.Open(ctx, n.broker.Conn(), n.opt.Secret); err != nil {
		return nil, beside(err, files)
	}
	if err := n.Register.Upgrade(ctx); err != nil {
		return nil, err
	}
	if n.Journal, err = journal.Open(ctx, n.broker.Conn(), n.opt.KeepAudit, sealOf(n.Register)); err != nil {
		return nil, beside(err, files)
	}
	if len(n.opt.NATSURLs) > 0 {
		// Their files are not here to be written anew.
		if n.Register.Current().ShortestRetention() > 0 {
			n.log.Error("with NATS servers of their own nothing is deleted for its age but audit, statuses and receipts: retention in the register is not carried out")
		}
		return nil, n.Journal.TrimAudit(ctx, n.opt.KeepAudit)
	}
	return files, nil
}

// openExchange catches up and puts the register in force.
func (n *Node) openExchange(ctx context.Context) error {
	n.webhooks = n.newSender()
	n.api = api.New(api.Parts{
		Webhooks: n.webhooks,
		Register: n.Register, Access: &n.access, View: n.View, Journal: n.Journal, Admission: n.admission,
		Poster:        &submission.Poster{Log: n.Journal, View: n.View, Seal: sealOf(n.Register), Fatal: n.fail, Gate: &n.gate, Tell: n.Journal.Audit, Removed: n.removed},
		ParseNetworks: parseNetworks, Ready: n.ready, Room: func() error { return n.room(false) }, Damaged: n.damageOf, PublicURL: n.opt.PublicURL, NATS: n.NATSURL, Log: n.log,
		Metrics: api.NewMetrics(n.gauges()...), TAXII: n.opt.TAXII, Open: n.open, Backup: n.Backup, Erase: n.Erase, PlanBackfill: n.planBackfill, BehindProxy: n.opt.BehindProxy, Limits: n.opt.Limits,
	})
	// Who asks before the view has caught up is told to come again.
	if err := n.listen(); err != nil {
		return err
	}
	if err := n.complete(ctx); err != nil {
		return err
	}
	if err := n.setRegister(n.Register.Current()); err != nil {
		return err
	}
	n.Register.Attach(contents{n}, func(r *exchange.Register) {
		if err := n.setRegister(r); err != nil {
			n.fail(err)
		}
	})
	following, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.follow(following)
	if err := n.ensureAdmin(ctx); err != nil {
		return err
	}
	if err := n.catchUp(ctx); err != nil {
		return err
	}
	writes := n.takesNothing() == nil
	if _, err := os.Stat(filepath.Join(n.opt.Dir, restoredFile)); err == nil && !writes {
		return fmt.Errorf("what was taken from readers after the moment that the exchange was restored to cannot be taken from them again: %w", n.takesNothing())
	}
	if writes {
		if err := n.finish(ctx); err != nil {
			return err
		}
	}
	if n.room(false) == nil { // on a full disk it would wait for room
		if err := n.View.FlushReplayed(ctx); err != nil {
			return err
		}
	}
	if err := n.Register.Fits(n.Register.Current()); err != nil {
		return fmt.Errorf("the register lets members read what they are not cleared for, so nothing is opened: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	close(n.open)
	if len(n.opt.NATSURLs) == 0 { // else the files are elsewhere
		n.run(following, "scrub", func() error { return n.scrub(following) })
	}
	if len(n.opt.NATSURLs) == 0 { // else it is another disk
		n.run(following, "disk", func() error { return n.watchDisk(following) })
	}
	n.run(following, "clock", func() error { return n.keepTime(following) })
	n.run(following, "expiry", func() error { return n.expire(following) })
	if len(n.opt.NATSURLs) == 0 {
		n.run(following, "maintenance", func() error { return n.maintain(following) })
	}
	if n.archiver != nil {
		n.run(following, "archive", func() error {
			return n.archiver.Run(following, cmp.Or(n.opt.Archive.Every, time.Minute), n.eraseFromArchive)
		})
	}
	if writes && !n.opt.Drill {
		n.run(following, "webhooks", func() error { return n.webhooks.Run(following) })
	}
	if writes {
		n.run(following, "markings", func() error { return n.api.FollowMarkings(following) })
		n.run(following, "back-fill", func() error { return n.backfiller.Run(following) })
	}
	return nil
}

// finish does what a crash has left undone.
func (n *Node) finish(ctx context.Context) error {
	feeds, err := n.Journal.Feeds(ctx)
	if err != nil {
		return err
	}
	for _, f := range feeds {
		if err := n.admission.Recover(ctx, f); err != nil {
			return fmt.Errorf("recover feed %s: %w", f, err)
		}
	}
	if err := n.finishRestore(ctx); err != nil {
		return err
	}
	if err := n.catchUp(ctx); err != nil {
		return err
	}
	if err := n.api.FinishRaised(ctx); err != nil {
		return err
	}
	for _, c := range n.View.TookOut() {
		if err := n.remover.Finish(ctx, c, 0); err != nil {
			return err
		}
	}
	return n.finishErasing(ctx)
}
