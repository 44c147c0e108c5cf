package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// shownProblems is how many problems are shown without --json.
const shownProblems = 20

func publishCommand() *cobra.Command {
	var a access
	var p publication
	var renames []string
	var asJSON bool
	c := &cobra.Command{
		Use: "publish --feed FEED FILE…|-", Short: "Publish infections on a feed", Args: arguments(1, 10_000),
		Long: `Publish infections on a feed: files, plain or compressed with gzip or zstd, or
"-" for standard input. The file goes in pieces, each with an idempotency key:
after any failure the same command adds what is missing, and nothing twice.

Exit status 1 when rows were rejected; all good rows are published all the same.`,
		RunE: func(c *cobra.Command, files []string) error {
			if p.Feed == "" {
				return usagef("publish wants --feed")
			}
			if p.TLP != "" {
				label, err := tlp.Parse(p.TLP)
				if err != nil {
					return &usageError{err}
				}
				p.TLP = label.String()
				if label == tlp.AmberStrict {
					say(c, "note: amber+strict forbids a CSIRT to tell the victims; amber lets it tell its constituents")
				}
			}
			if err := p.read(renames); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			return publish(c, client, p.Publication, files, asJSON)
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringVar(&p.Feed, "feed", "", "the feed to publish on")
	f.StringVar(&p.Format, "format", report.Auto, "one of "+strings.Join(report.Formats(), ", "))
	f.StringVar(&p.TLP, "tlp", "", "label of rows that carry none (default: the feed's)")
	f.StringArrayVar(&renames, "map", nil, "column=field: read a column as a field of ours (repeat)")
	f.BoolVar(&p.DryRun, "dry-run", false, "say what would happen and write nothing")
	f.BoolVar(&asJSON, "json", false, "print the receipt as JSON")
	return c
}

// publication is how files are read.
type publication struct{ apiclient.Publication }

// read takes the columns that --map renames, and checks them and the format.
func (p *publication) read(renames []string) error {
	if err := report.CheckFormat(p.Format); err != nil {
		return &usageError{err}
	}
	p.Map = make(map[string]string)
	for _, r := range renames {
		from, to, ok := strings.Cut(r, "=")
		if !ok {
			return usagef("--map %q is not column=field", r)
		}
		p.Map[from] = to
	}
	if err := report.CheckMap(p.Map); err != nil {
		return &usageError{err}
	}
	return nil
}

func publish(c *cobra.Command, client *apiclient.Client, p apiclient.Publication, files []string, asJSON bool) error {
	for _, name := range files {
		if s, err := os.Stat(name); err == nil && s.IsDir() {
			return usagef("%s is a folder: name the files in it", name)
		}
	}
	// Asks first, so that a wrong feed, credential or address shows at once.
	if err := client.Do(c.Context(), "GET", "/v1/feeds/"+p.Feed, nil, nil, nil); err != nil {
		return fmt.Errorf("feed %s: %w", p.Feed, err)
	}
	patient(client)
	total := &exchange.Receipt{Feed: p.Feed, Collections: map[string]int64{}}
	for _, name := range files {
		r, err := publishFile(c, client, p, name)
		if r != nil {
			total.Add(r)
		}
		if err != nil {
			_ = showReceipt(c, total, asJSON)
			return &hinted{fmt.Errorf("publish %s: %w", name, err), "run the same command again: what is in already is not added twice"}
		}
	}
	if err := showReceipt(c, total, asJSON); err != nil {
		return err
	}
	if total.ProblemsTotal > 0 {
		return errReported
	}
	return nil
}

func publishFile(c *cobra.Command, client *apiclient.Client, p apiclient.Publication, name string) (*exchange.Receipt, error) {
	var in io.Reader = c.InOrStdin()
	size := int64(0)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		s, err := f.Stat()
		if err != nil {
			return nil, err
		}
		size, p.Name = s.Size(), filepath.Base(name)
		in = f
	}
	bar := newProgress(c.ErrOrStderr(), name, size, "bytes")
	defer bar.stop()
	counted := &countingReader{r: in, bar: bar}
	p.Taken = func(format string) {
		if p.Format == "" || p.Format == report.Auto {
			say(c, "%s: read as %s", name, format)
		}
	}
	return client.Publish(c.Context(), counted, p)
}

// countingReader moves a progress bar.
type countingReader struct {
	r   io.Reader
	bar *progress
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.bar.add(int64(n))
	return n, err
}

func showReceipt(c *cobra.Command, r *exchange.Receipt, asJSON bool) error {
	if asJSON {
		return printJSON(c.OutOrStdout(), r)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(w, "rows\t%d\t\nevents\t%d\t\nduplicates\t%d\t\nrejected\t%d\t\nunclaimed\t%d\t\nwithheld\t%d\t\n",
		r.Rows, r.Events, r.Duplicates, r.Rejected, r.Unclaimed, r.Withheld)
	if r.Raised > 0 {
		_, _ = fmt.Fprintf(w, "raised\t%d\t\n", r.Raised)
	}
	if r.Suppressed > 0 {
		_, _ = fmt.Fprintf(w, "suppressed\t%d\t\n", r.Suppressed)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Collections)) {
		_, _ = fmt.Fprintf(w, "%s\t%d\t\n", name, r.Collections[name])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(r.Receipts) == 1 {
		say(c, "receipt %s", r.Receipts[0])
	}
	for i, n := range r.Notes {
		if i == shownProblems {
			break
		}
		say(c, "note: %v", n)
	}
	if len(r.Unread) > 0 {
		say(c, "note: nothing is read from %s", strings.Join(r.Unread, ", "))
	}
	for i, p := range r.Problems {
		if i == shownProblems {
			break
		}
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "%v\n", p)
	}
	if r.ProblemsTotal > shownProblems {
		say(c, "%d problems in all; --json lists more of them", r.ProblemsTotal)
	}
	return nil
}
