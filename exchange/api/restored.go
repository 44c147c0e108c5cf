package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// Who has read what a restore has taken back is told so, and where to go on: what is not here any more is not passed over in
// silence.

const (
	restoredTitle = "The exchange was restored"
	restoredText  = "It was restored on %s, and what this collection had gained after %s is taken back: drop that, and go on behind %s (added_after)"
)

// takenBack tells whether who stands behind an instant in a collection has read what was taken back, behind which point, and when
// that was.
func (a *API) takenBack(collection string, after time.Time) (point, at string, lost bool) {
	for _, r := range a.Journal.Restarts() {
		if p, lost := r.Lost(collection, after); lost {
			return p.UTC().Format(time.RFC3339Nano), r.At.Format(time.RFC3339Nano), true
		}
	}
	return "", "", false
}

// resumable refuses an event stream's id of what was taken back.
func (a *API) resumable(collection string, p cursor) error {
	if point, at, lost := a.takenBack(collection, p.after); lost {
		return fail(http.StatusConflict, restoredTitle, restoredText, at, point, point)
	}
	return nil
}

// continues refuses a subscriber who has another block of a number than the collection has, or one that it has not.
func (a *API) continues(r *request, collection, from, hash string) error {
	restarts := a.Journal.Restarts()
	if len(restarts) == 0 || hash == "" {
		return nil
	}
	b, err := a.block(collection, from)
	if err == nil {
		have, found, err := a.Journal.BlockAt(r.Context(), collection, b.Sequence)
		if err != nil || found && have.Hash() == hash {
			return err
		}
	} else if !errors.Is(err, taxiiserver.ErrNotFound) {
		return err
	}
	last := &restarts[len(restarts)-1]
	point := last.Last[collection]
	if point.IsZero() {
		point = last.To
	}
	text := point.UTC().Format(time.RFC3339Nano)
	return fail(http.StatusConflict, restoredTitle, restoredText, last.At.Format(time.RFC3339Nano), text, text)
}
