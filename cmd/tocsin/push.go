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
	// Statuses are the status resources of the requests.
	Statuses []string `json:"statuses"`
}

func pushCommand() *cobra.Command {
	var a access
	var asJSON bool
	c := &cobra.Command{
		Use: "push COLLECTION FILE…|-", Short: "Add STIX objects to a collection, of any TAXII 2.1 server", Args: arguments(2, 10_000),
		Long: `Add STIX objects to a collection over TAXII 2.1: from bundles, envelopes, or one
object a line, as pull prints them; "-" is standard input. COLLECTION is an id,
an alias or a title; --server may be any TAXII 2.1 server.

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
			for p, e := range client.Push(c.Context(), col, objectsIn(c.InOrStdin(), args[1:])) {
				if err = e; err != nil {
					break
				}
				total.add(p)
			}
			if showErr := total.show(c, asJSON); err != nil || showErr != nil {
				return errors.Join(err, showErr)
			}
			if total.FailureCount > 0 {
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
	_, err := fmt.Fprintf(c.OutOrStdout(), "%d objects: %d in, %d refused\n", t.TotalCount, t.SuccessCount, t.FailureCount)
	return err
}

// objectsIn reads the STIX objects of files.
func objectsIn(stdin io.Reader, files []string) iter.Seq2[[]byte, error] {
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
				return eachObject(in, func(raw []byte) bool { return yield(raw, nil) })
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
// objects count, and objects.
func eachObject(in io.Reader, each func(raw []byte) bool) error {
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
