package api

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

// Applied is the answer to a register file.
type Applied struct {
	Version  uint64   `json:"version"`
	DryRun   bool     `json:"dry_run,omitempty"`
	Diff     []string `json:"diff"`
	Warnings []string `json:"warnings,omitempty"`
	// Backfill is what members are given of what is there already.
	Backfill []admission.Planned `json:"backfill,omitempty"`
}

// apply takes a register file: POST /v1/register?dry_run&prune.
func (a *API) apply(r *request) (any, error) {
	text, err := r.body()
	if err != nil {
		return nil, err
	}
	file, err := register.Parse(text)
	if err != nil {
		return nil, err
	}
	out := &Applied{DryRun: r.flag("dry_run")}
	prune, at := r.flag("prune"), time.Now()
	change := func(reg *exchange.Register) error {
		out.Diff = file.Apply(reg, prune, at)
		return nil
	}
	base := a.Register.Current()
	next, err := a.Register.Preview(change)
	if err == nil {
		out.Backfill, err = a.PlanBackfill(r.Context(), base, next)
	}
	if err == nil && !out.DryRun {
		if sweeping := register.Sweeping(base, next); len(sweeping) > 0 && !r.flag("force") {
			return nil, fail(http.StatusConflict, "Too much at once", "%s: say --force (?force=true) where that is meant", strings.Join(sweeping, "; "))
		}
		next, err = a.Register.Change(r.Context(), r.caller.Name(), change)
	}
	if err != nil {
		return nil, err
	}
	if !out.DryRun && len(out.Diff) > 0 {
		a.tell(r.Request, &r.caller, changed(next.Version, "%s", strings.Join(out.Diff, "; ")))
	}
	out.Version, out.Warnings = next.Version, register.Warnings(next)
	if out.Diff == nil {
		out.Diff = []string{}
	}
	return out, nil
}

// export answers the register as a file: GET /v1/register.
func (a *API) export(r *request) (any, error) {
	text, err := register.Export(r.x.Register)
	if err != nil {
		return nil, err
	}
	r.w.Header().Set("Content-Type", "application/yaml")
	_, _ = r.w.Write(text)
	return nil, nil
}

// backup answers all that the exchange has, as a segment of an archive: GET /v1/backup. One that is cut short has no end, by which
// its reader knows.
func (a *API) backup(r *request) (any, error) {
	if err := a.Room(); errors.Is(err, exchange.ErrDamaged) {
		return nil, err
	}
	r.w.Header().Set("Content-Type", "application/octet-stream")
	if err := a.Backup(r.Context(), r.w); err != nil {
		if r.Context().Err() == nil {
			a.Log.Error("a backup was cut short", "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	return nil, nil
}

// Networks describes the networks table in force.
type Networks struct {
	Prefixes int    `json:"prefixes"`
	Version  string `json:"version,omitempty"`
}

func (a *API) networks(r *request) (any, error) {
	text, err := a.Register.Networks(r.Context(), r.x.Register.NetworksKey)
	if err != nil {
		return nil, err
	}
	return &Networks{Prefixes: max(bytes.Count(text, []byte{'\n'})-1, 0), Version: r.x.Register.NetworksKey}, nil
}

// setNetworks takes a networks table: PUT /v1/networks.
func (a *API) setNetworks(r *request) (any, error) {
	text, err := r.body()
	if err != nil {
		return nil, err
	}
	text, n, err := a.ParseNetworks(text)
	if err != nil {
		e := fail(http.StatusUnprocessableEntity, "The networks table is not sound", "Nothing was changed")
		e.Problems = []string{err.Error()}
		return nil, e
	}
	reg, err := a.Register.SetNetworks(r.Context(), r.caller.Name(), text)
	if err != nil {
		return nil, err
	}
	a.tell(r.Request, &r.caller, changed(reg.Version, "networks table of %d prefixes", n))
	return &Networks{Prefixes: n, Version: reg.NetworksKey}, nil
}
