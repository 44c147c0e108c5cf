package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/config"
	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

// archiveOf opens the archive of a configuration, which names one.
func archiveOf(a *config.Archive) (o node.ArchiveOptions, err error) {
	if o.Recipients, err = recipientsOf(a.Recipients); err != nil {
		return o, fmt.Errorf("archive.recipients: %w", err)
	}
	o.Every = time.Duration(a.Every)
	bucket, prefix, ok := a.Bucket()
	if !ok {
		o.Store, o.Place, err = directoryOf(a.To)
		return o, err
	}
	at, err := url.Parse(a.Endpoint)
	if err != nil {
		return o, fmt.Errorf("archive.endpoint: %w", err)
	}
	text, err := os.ReadFile(a.Credentials)
	if err != nil {
		return o, fmt.Errorf("archive.credentials: %w", err)
	}
	key, secret, ok := strings.Cut(strings.TrimSpace(string(text)), ":")
	if !ok || key == "" || secret == "" {
		return o, fmt.Errorf("archive.credentials: %s is not one line with an access key, a colon, and its secret", a.Credentials)
	}
	o.Place = strings.TrimSuffix(a.Endpoint, "/") + " " + strings.TrimSuffix(a.To, "/")
	o.Store, err = archive.NewS3(&archive.S3Options{
		Endpoint: at.Host, Plain: at.Scheme == "http", Region: a.Region, Bucket: bucket, Prefix: prefix, AccessKey: key, Secret: secret,
	})
	return o, err
}

// directoryOf is the archive in a directory, and its name.
func directoryOf(dir string) (archive.Store, string, error) {
	dir, err := filepath.Abs(dir)
	return archive.Directory(dir), dir, err
}

func recipientsOf(list []string) (all []age.Recipient, err error) {
	for _, text := range list {
		one, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%.70q is no age recipient, as age-keygen prints it (age1…)", text)
		}
		all = append(all, one...)
	}
	return all, nil
}

func backupCommand() *cobra.Command {
	var a access
	var to string
	var recipients []string
	var unencrypted bool
	c := &cobra.Command{
		Use: "backup", Short: "Write all that an exchange has into a directory, from which tocsin restore makes it again", Args: arguments(0, 0),
		Long: `Write all that an exchange has into a new directory, from which tocsin restore makes it again:
the journal with everything that was published and posted, the register, credentials, the
exchange's secrets, the audit. It may run meanwhile. Without --server it is the exchange of --data.

What is written is encrypted to age recipients: who has the key of one of them can read it.

An exchange that has an archive in its configuration (tocsin config describe) writes what is new
there each minute by itself.`,
		Example: `  tocsin backup --data /var/lib/tocsin --to /backup/2026-12-01 --recipient age1…
  tocsin restore --from /backup/2026-12-01 --identity key.txt --data /var/lib/tocsin`,
		RunE: func(c *cobra.Command, _ []string) error {
			if to == "" {
				return usagef("backup wants --to DIRECTORY")
			}
			if unencrypted == (len(recipients) > 0) {
				return usagef("backup wants --recipient, or --unencrypted where everybody who gets at the directory may read it")
			}
			keys, err := recipientsOf(recipients)
			if err != nil {
				return usagef("--recipient: %v", err)
			}
			store, _, err := directoryOf(to)
			if err != nil {
				return err
			}
			if names, err := store.List(c.Context()); err != nil || len(names) > 0 {
				return errors.Join(err, fmt.Errorf("%s is not empty: name a directory that is not there yet", to))
			}
			if err := os.MkdirAll(to, 0o700); err != nil {
				return fmt.Errorf("back up: %w", err)
			}
			from, err := backup(c, &a)
			if err != nil {
				return err
			}
			defer func() { _ = from.Close() }()
			if err := archive.Keep(c.Context(), store, from, keys, to); err != nil {
				return err
			}
			say(c, "backed up to %s", to)
			return nil
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringVar(&to, "to", "", "directory, which is not there yet, or empty")
	f.StringArrayVar(&recipients, "recipient", nil, "age recipient who can read it (age1…); may be repeated")
	f.BoolVar(&unencrypted, "unencrypted", false, "anybody who can read the directory may read the archive")
	return c
}

// backup begins to read what is backed up: of the exchange that runs, or of the data directory of one that does not.
func backup(c *cobra.Command, a *access) (io.ReadCloser, error) {
	if a.server == "" && os.Getenv("TOCSIN_SERVER") == "" {
		r, w := io.Pipe()
		go func() { w.CloseWithError(node.Backup(c.Context(), a.data, w)) }()
		from := bufio.NewReader(r)
		if _, err := from.Peek(1); !errors.Is(err, node.ErrLocked) { // none runs
			return struct {
				io.Reader
				io.Closer
			}{from, r}, nil
		}
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	return client.Backup(c.Context())
}

func restoreCommand() *cobra.Command {
	var from, file, identity, data, to string
	var check, asJSON bool
	c := &cobra.Command{
		Use: "restore", Short: "Make the data directory of an exchange from its archive or a backup", Args: arguments(0, 0),
		Long: `Make the data directory of an exchange from its archive, or from what tocsin backup has written.
Every part is held to what it says of itself; one that is missing, altered, or another exchange's
is named, and nothing is restored.

With --to, what was published and posted after that moment is taken back. Revocations, recalls,
deletions and raised labels never are: what has left a collection since leaves it again before
anybody is answered. The register, credentials and the audit are as they were last.

The exchange goes on as a new generation: readers whose place is in what was taken back are told
so, with the moment to go on from. The old exchange must not run any more.

With --check all is done in a temporary directory, and thrown away: a drill. Exit status 0 says
that the archive can be restored.`,
		Example: `  tocsin restore --config tocsin.yaml --identity key.txt --data /var/lib/tocsin
  tocsin restore --from /backup/2026-12-01 --identity key.txt --data ./again --to 2026-12-01T10:00:00Z
  tocsin restore --config tocsin.yaml --identity key.txt --check`,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := restoring(c.Context(), from, file, identity, to)
			if err != nil {
				return err
			}
			if r.Dir = data; check {
				r.Place = ""
				if r.Dir, err = os.MkdirTemp("", "tocsin-restore-"); err != nil {
					return err
				}
				defer func() { _ = os.RemoveAll(r.Dir) }()
			}
			out, err := r.Run(c.Context())
			if err != nil {
				return err
			}
			if check {
				if err := starts(c, r.Dir); err != nil {
					return err
				}
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			return restoredTable(c, out, check, data)
		},
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "directory of an archive, or of a backup")
	f.StringVar(&file, "config", "", "configuration file that names the archive")
	f.StringVar(&identity, "identity", "", "file with the age identity (secret key) of one of the recipients")
	f.StringVar(&data, "data", config.Default().Data, "data directory to make, which is not there yet, or empty")
	f.StringVar(&to, "to", "", "moment that collections are taken back to, such as 2026-12-01T10:00:00Z (default: all that there is)")
	f.BoolVar(&check, "check", false, "try it in a temporary directory, and throw that away")
	f.BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

// restoring opens what is restored from.
func restoring(ctx context.Context, from, file, identity, to string) (*node.Restoring, error) {
	r := &node.Restoring{}
	var err error
	if to != "" {
		if r.To, err = time.Parse(time.RFC3339, to); err != nil {
			return nil, usagef("--to %q is no time such as 2026-12-01T10:00:00Z", to)
		}
	}
	var keys []age.Identity
	if identity != "" {
		f, err := os.Open(identity)
		if err != nil {
			return nil, fmt.Errorf("read the identity: %w", err)
		}
		keys, err = age.ParseIdentities(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read the identity: %w", err)
		}
	}
	var o node.ArchiveOptions
	switch {
	case (from == "") == (file == ""):
		return nil, usagef("restore wants --from DIRECTORY, or --config FILE that names an archive")
	case from != "":
		o.Store, o.Place, err = directoryOf(from)
	default:
		var conf config.Config
		if conf, err = config.Load(file); err == nil && conf.Archive.To == "" {
			err = fmt.Errorf("%s names no archive: it has no archive.to", file)
		}
		if err == nil {
			o, err = archiveOf(&conf.Archive)
		}
	}
	if err != nil {
		return nil, err
	}
	r.Place = o.Place
	r.Archive, err = archive.Open(ctx, o.Store, keys)
	return r, err
}

// starts opens an exchange that was restored, and stops it.
func starts(c *cobra.Command, dir string) error {
	n, err := node.Open(c.Context(), node.Options{Dir: dir, Drill: true})
	if err != nil {
		return fmt.Errorf("what was restored does not start: %w", err)
	}
	return closeNode(c, n)
}

func restoredTable(c *cobra.Command, r *node.Restored, check bool, data string) error {
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, x := range r.Collections {
		_, _ = fmt.Fprintf(w, "%s\t%d blocks\t%d objects\t%.16s\twhole\n", x.Collection, x.Blocks, x.Objects, x.Head)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if again := r.Removals + r.Recalls + r.Raises; again > 0 {
		say(c, "taken out again: %d removals, %d recalls, %d raised labels since", r.Removals, r.Recalls, r.Raises)
	}
	where := data
	if check {
		where = "for a try"
	}
	say(c, "restored %s: collections as of %s, all else as of %s, from %d segments; generation %d", where,
		r.To.UTC().Format(time.RFC3339), r.Last.UTC().Format(time.RFC3339), r.Segments, r.Generation)
	return nil
}
