package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// maxReason bounds the operator's reason, in bytes.
const maxReason = 1000

// Decision is what the operator decides about what is in quarantine.
type Decision struct {
	// Label releases it under that label; none rejects it.
	Label  tlp.Level `json:"label,omitempty"`
	Reason string    `json:"reason"`
}

// quarantine lists what is and was in quarantine, without content: GET /v1/quarantine, with ?all
// also what was decided about.
func (a *API) quarantine(r *request) (any, error) {
	if err := a.Damaged(exchange.QuarantineStream); err != nil {
		return nil, fail(http.StatusServiceUnavailable, "The quarantine is damaged", "%v", err)
	}
	return a.Poster.ListQuarantined(r.Context(), r.flag("all"))
}

func (a *API) held(r *request) (any, error) {
	h, err := a.Poster.Quarantined(r.Context(), r.PathValue("held"))
	if errors.Is(err, submission.ErrNotHeld) {
		err = taxiiserver.ErrNotFound
	}
	return h, err
}

// decide releases or rejects: POST /v1/quarantine/{id} with a Decision.
func (a *API) decide(r *request) (any, error) {
	text, err := r.body()
	if err != nil {
		return nil, err
	}
	var want Decision
	if err := decode(text, &want); err != nil || strings.TrimSpace(want.Reason) == "" || len(want.Reason) > maxReason {
		return nil, fail(http.StatusBadRequest, "Not a decision", `{"label":"amber","reason":"…"} releases, without a label it rejects; a reason of at most %d bytes is wanted: %v`, maxReason, err)
	}
	h, err := a.Poster.Decide(r.Context(), r.PathValue("held"), want.Label, r.caller.Name(), want.Reason, a.as)
	switch {
	case errors.Is(err, submission.ErrNotHeld):
		return nil, taxiiserver.ErrNotFound
	case errors.Is(err, submission.ErrLabel):
		return nil, fail(http.StatusConflict, "Refused", "%v", err)
	case err == nil:
		a.tell(r.Request, &r.caller, exchange.AuditEntry{Action: exchange.AuditAction(h.Decision), Collection: h.Collection, Count: 1, Detail: h.ID + ": " + h.Why})
	}
	return h, err
}

// heldContent answers an object in quarantine byte for byte, to the persons named for quarantine:
// GET /v1/quarantine/{id}/object.
func (a *API) heldContent(r *request) (any, error) {
	right := r.x.Read(r.caller, exchange.Quarantine, exchange.ChannelWeb)
	if right == nil {
		return nil, taxiiserver.ErrNotFound
	}
	id := r.PathValue("held")
	raw, err := a.Poster.QuarantinedContent(r.Context(), right, id)
	if errors.Is(err, submission.ErrNotHeld) {
		err = taxiiserver.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	a.tell(r.Request, &r.caller, exchange.AuditEntry{Action: exchange.AuditRead, Channel: exchange.ChannelWeb, Collection: exchange.Quarantine, Count: 1, Detail: id})
	r.w.Header().Set("Content-Type", "application/stix+json;version=2.1")
	_, _ = r.w.Write(raw) // a caller that is gone is no error of ours
	return nil, nil
}

// FollowMarkings lets what waits in quarantine go its way, whenever the register says something else of markings, until
// ctx ends.
func (a *API) FollowMarkings(ctx context.Context) error {
	var before []exchange.Marking
	for {
		x, replaced := a.Access.Watch()
		if now := x.Register.Markings; !slices.Equal(before, now) {
			if err := a.Poster.Reconsider(ctx, "", a.as); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				a.Log.Error("what waits in quarantine was not looked at again", "error", err)
			}
			before = now
		}
		select {
		case <-replaced:
		case <-ctx.Done():
			return nil
		}
	}
}
