// Command tocsin is the exchange and its clients: see the README. A file here is
// a command, nothing but wiring.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole program: 0 done, 1 failed, 2 wrong usage.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, errReported) {
		return 1
	}
	_, _ = fmt.Fprintf(stderr, "tocsin: %v\n", err)
	if hint := hintFor(err); hint != "" {
		_, _ = fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	var usage *usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		return 2
	}
	return 1
}

// errReported ends a command whose output has said already what is wrong.
var errReported = errors.New("reported")

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

func hintFor(err error) string {
	var h *hinted
	var usage *usageError
	var answer *apiclient.Error
	var status *taxiiclient.StatusError
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.As(err, &usage):
		return "tocsin --help lists commands, tocsin COMMAND --help its flags"
	case errors.As(err, &answer) && answer.Status == 401, errors.As(err, &status) && status.Status == 401:
		return "name your credential with --user and --token-file, or TOCSIN_USER and TOCSIN_TOKEN; the operator makes one with: tocsin member token MEMBER"
	case errors.As(err, &answer) && answer.Status == 404, errors.Is(err, taxiiclient.ErrNoCollection):
		return "tocsin collection list shows what you may read, tocsin feed list where you may publish"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is the exchange running there? Start one with: tocsin serve"
	case errors.Is(err, node.ErrLocked):
		return "stop the tocsin serve or demo that runs on this directory, or name another with --data"
	}
	return ""
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tocsin",
		Short: "Get infection data from those who can see it to those who can clean it",
		Long: `Tocsin is an exchange: publishers of infection data send it once, and every
CSIRT and network owner reads its own, over TAXII 2.1 or NATS, marked with what
it may do with it.

Try it:  tocsin demo
Run it:  tocsin serve`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(serveCommand(), demoCommand(), publishCommand(), recallCommand(), pullCommand(), pushCommand(), subscribeCommand(),
		applyCommand(), exportCommand(), memberCommand(), collectionCommand(), feedCommand(), networksCommand(), explainCommand(), feedbackCommand(), webhookCommand(), lintCommand(), quarantineCommand(), auditCommand(),
		verifyCommand(), backupCommand(), restoreCommand(), eraseCommand(), repairCommand(), rebuildCommand(), secretsCommand(), benchCommand(), configCommand(), versionCommand())
	return root
}

// arguments wants a number of arguments, from least to most.
func arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("%s: got %d arguments; usage: %s", c.Name(), len(args), c.UseLine())
		}
		return nil
	}
}

// group is a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("unknown command %q for %s", args[0], c.CommandPath())
		}
		return usagef("%s wants a command: see %s --help", c.CommandPath(), c.CommandPath())
	}}
	c.AddCommand(children...)
	return c
}
