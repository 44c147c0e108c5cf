package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/stix/lint"
)

// linted is what is wrong with one file.
type linted struct {
	File     string         `json:"file"`
	Problems []lint.Problem `json:"problems"`
}

func lintCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "lint FILE…|-", Short: "Say what is wrong with STIX 2.1 objects", Args: arguments(1, 10_000),
		Long: `Say what is wrong with STIX 2.1 objects: a bundle, a TAXII envelope, an object, or objects one
after the other, a line each. Every problem comes with its JSON path, its severity, and the section of
the standard.

Exit status 1 when there are errors; warnings alone are none.`,
		RunE: func(c *cobra.Command, files []string) error {
			list := []linted{}
			failed := false
			for _, file := range files {
				text, err := readInput(c, file)
				if err != nil {
					return err
				}
				one := linted{File: file, Problems: []lint.Problem{}}
				one.Problems = append(one.Problems, lintText(text)...)
				list = append(list, one)
				for _, p := range one.Problems {
					failed = failed || p.Severity == lint.Error
					if !asJSON {
						_, _ = fmt.Fprintf(c.OutOrStdout(), "%s: %v\n", file, p)
					}
				}
			}
			if asJSON {
				if err := printJSON(c.OutOrStdout(), list); err != nil {
					return err
				}
			}
			if failed {
				return errReported
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON")
	return c
}

// lintText checks the JSON values of a text. Where there are several, each one's number
// stands before its paths.
func lintText(text []byte) (list []lint.Problem) {
	d := json.NewDecoder(bytes.NewReader(text))
	for n := 1; ; n++ {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			return append(list, lint.Problem{Path: "$", Severity: lint.Error, Reason: fmt.Sprintf("value %d is not JSON: %v", n, err)})
		}
		found := lint.Check(raw)
		if n > 1 || d.More() {
			for i := range found {
				found[i].Path = fmt.Sprintf("%d:%s", n, found[i].Path)
			}
		}
		list = append(list, found...)
	}
}
