package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange/bench"
)

func benchCommand() *cobra.Command {
	var o bench.Options
	var asJSON bool
	var profile string
	c := group("bench", "Measure how fast this machine does it, each beside its limit")
	f := c.PersistentFlags()
	f.BoolVar(&asJSON, "json", false, "print a line of JSON for each case")
	f.BoolVar(&o.Full, "full", false, "run the sizes that the claims are about: minutes, and gigabytes of disk")
	f.StringVar(&o.Only, "case", "", "run this case alone")
	f.StringVar(&o.Dir, "dir", "", "where to put the files meanwhile (default: the system's directory for temporary files)")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile to this file, for go tool pprof")
	for _, b := range bench.All {
		long := b.Short + ".\n" + b.Long + "\n\nCases: " + strings.Join(b.Cases, ", ")
		c.AddCommand(&cobra.Command{Use: b.Name, Short: b.Short, Long: long, Args: arguments(0, 0), RunE: func(c *cobra.Command, _ []string) error {
			if o.Only != "" && !slices.Contains(b.Cases, o.Only) {
				return usagef("%s has no case %q: %s", b.Name, o.Only, strings.Join(b.Cases, ", "))
			}
			out := c.OutOrStdout()
			o.Report = func(r bench.Result) {
				if asJSON {
					_ = json.NewEncoder(out).Encode(r)
					return
				}
				limit, ratio := "-", "-"
				if r.Limit > 0 {
					limit, ratio = fmt.Sprintf("%.1f", r.Limit), fmt.Sprintf("%.2f", r.Ratio)
				}
				_, _ = fmt.Fprintf(out, "%-7s %-20s %11.1f %-9s  limit %11s  ratio %5s  cpu %6.1f s  peak %5d MiB\n",
					r.Bench, r.Case, r.Figure, r.Unit, limit, ratio, r.CPUSeconds, r.PeakRSSBytes>>20)
			}
			if profile != "" {
				file, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer func() { _ = file.Close() }()
				if err := pprof.StartCPUProfile(file); err != nil {
					return err
				}
				defer pprof.StopCPUProfile()
			}
			return b.Run(c.Context(), o)
		}})
	}
	return c
}
