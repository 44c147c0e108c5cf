//go:build fixture

package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange/fixture"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

// serve --fixture FILE serves what a file says, so that foreign conformance
// suites can be run against this server. It is in no release.
func init() {
	file := ""
	serveFlags = append(serveFlags, func(c *cobra.Command) {
		c.Flags().StringVar(&file, "fixture", "", "file with API roots, collections and objects to serve")
	})
	openNode = func(ctx context.Context, opt node.Options) (*node.Node, error) {
		if file == "" {
			return node.Open(ctx, opt)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		f, err := fixture.Parse(text)
		if err != nil {
			return nil, err
		}
		return f.Open(ctx, opt)
	}
}
