package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// pushed is what a push came to.
type pushed struct {
	Collection   string                `json:"collection"`
	TotalCount   int                   `json:"total_count"`
	SuccessCount int                   `json:"success_count"`
	FailureCount int                   `json:"failure_count"`
	Failures     []taxii.StatusDetails `json:"failures,omitempty"`
	// Skipped are what MISP events have and STIX has not.
	Skipped []exchange.Problem `json:"skipped,omitempty"`
	// Statuses are the status resources of the requests.
	Statuses []string `json:"statuses"`
}

func pushCommand() *cobra.Command {
	var a access
	var asJSON bool
	c := &cobra.Command{
		Use: "push COLLECTION FILE…|-", Short: "Add STIX objects to a collection, of any TAXII 2.1 server", Args: arguments(2, 10_000),
		Long: `Add STIX objects to a collection over TAXII 2.1: from bundles, envelopes, one
object a line, as pull prints them, or MISP events; "-" is standard input. COLLECTION is an id,
an alias or a title; --server may be any TAXII 2.1 server.

A MISP event becomes the objects that MISP would push: a report, and an indicator or an observation
of each attribute and object, with the same UUIDs.

Each object is taken or refused by itself. Exit status 1 when one was refused;
all others are in all the same. To push a file again adds nothing twice.`,
		RunE: func(c *cobra.Command, args []string) error {
			client, col, err := a.collection(c.Context(), args[0])
			if err != nil {
				return err
			}
			if !col.CanWrite {
				return fmt.Errorf("you may not add to the collection %s", args[0])
			}
			total := &pushed{Collection: col.ID}
			for p, e := range client.Push(c.Context(), col, objectsIn(c.InOrStdin(), args[1:], &total.Skipped)) {
				if err = e; err != nil {
					break
				}
				total.add(p)
			}
			if showErr := total.show(c, asJSON); err != nil || showErr != nil {
				return errors.Join(err, showErr)
			}
			if total.FailureCount+len(total.Skipped) > 0 {
				return errReported
			}
			return nil
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the outcome as JSON, with every failure")
	return c
}

func (t *pushed) add(p *taxiiclient.Pushed) {
	t.TotalCount += p.TotalCount
	t.SuccessCount += p.SuccessCount
	t.FailureCount += p.FailureCount
	t.Failures = append(t.Failures, p.Failures...)
	t.Statuses = append(t.Statuses, p.ID)
}

func (t *pushed) show(c *cobra.Command, asJSON bool) error {
	if asJSON {
		return printJSON(c.OutOrStdout(), t)
	}
	for i, f := range t.Failures {
		if i == shownProblems {
			say(c, "%d failures in all; --json lists them", t.FailureCount)
			break
		}
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n", f.ID, f.Message)
	}
	for i, p := range t.Skipped {
		if i == shownProblems {
			say(c, "%d were skipped in all; --json lists them", len(t.Skipped))
			break
		}
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "skipped %s: %s\n", p.Column, p.Reason)
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%d objects: %d in, %d refused\n", t.TotalCount, t.SuccessCount, t.FailureCount)
	return err
}

// objectsIn reads the STIX objects of files. What of MISP events is none is added to skipped.
func objectsIn(stdin io.Reader, files []string, skipped *[]exchange.Problem) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, name := range files {
			err := func() error {
				in := stdin
				if name != "-" {
					f, err := os.Open(name)
					if err != nil {
						return err
					}
					defer func() { _ = f.Close() }()
					in = f
				}
				return eachObject(in, skipped, func(raw []byte) bool { return yield(raw, nil) })
			}()
			if errors.Is(err, errStopped) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("%s: %w", name, err))
				return
			}
		}
	}
}

var errStopped = errors.New("stopped")

// eachObject reads JSON texts one after the other: bundles and envelopes, whose
// objects count, MISP events, and objects.
func eachObject(in io.Reader, skipped *[]exchange.Problem, each func(raw []byte) bool) error {
	// What is wrong inside of an object is for the server to say.
	d := jsontext.NewDecoder(bufio.NewReaderSize(in, 64<<10), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		value, err := d.ReadValue()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		list := [][]byte{bytes.Clone(value)}
		if event, ok := report.MISPEvent(list[0]); ok {
			var some []exchange.Problem
			if list, some, err = report.MISPObjects(event); err != nil {
				return fmt.Errorf("MISP event: %w", err)
			}
			*skipped = append(*skipped, some...)
		}
		var head struct {
			Type    string           `json:"type"`
			Objects *json.RawMessage `json:"objects"`
		}
		if json.Unmarshal(value, &head) == nil && head.Objects != nil && (head.Type == "bundle" || head.Type == "") {
			if list, err = taxii.SplitEnvelope(list[0], math.MaxInt); err != nil {
				return err
			}
		}
		for _, raw := range list {
			if !each(raw) {
				return errStopped
			}
		}
	}
}
