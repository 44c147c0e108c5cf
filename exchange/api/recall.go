package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// A publisher takes back what it has published: POST /v1/feeds/{feed}/recall?reason=…, with the rows as they were published, or
// with ?receipt= and no body. The answer is a receipt: events are those that were taken back, rejected those that are not on the
// feed, and collections how many hosts of each have left it or have less said of them.

// reasonOf reads why something is recalled.
func reasonOf(r *request) (string, error) {
	reason := strings.TrimSpace(r.URL.Query().Get("reason"))
	if reason == "" || len(reason) > maxReason || strings.ContainsFunc(reason, unicode.IsControl) {
		return "", fail(http.StatusBadRequest, "Bad parameter", "reason: say why in a line of at most %d bytes", maxReason)
	}
	return reason, nil
}

// recordsOf returns the intake records of the receipt that a request names, nil where it names none.
func (a *API) recordsOf(r *request, feed string) ([]uint64, error) {
	name := r.URL.Query().Get("receipt")
	if name == "" {
		return nil, nil
	}
	id, err := uuid.Parse(name)
	if err != nil {
		return nil, taxiiserver.ErrNotFound
	}
	text, found, err := a.Journal.Receipt(r.Context(), id.String())
	if err != nil || !found {
		return nil, orMissing(err)
	}
	var kept keptReceipt
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, err
	}
	if kept.Receipt == nil || kept.Feed != feed {
		return nil, taxiiserver.ErrNotFound
	}
	if kept.Records == nil {
		return nil, fail(http.StatusConflict, "No rows", "receipt %s added nothing, or is of a Tocsin that did not keep what it is of: recall the file", id)
	}
	return kept.Records, nil
}

// again gives the events of records as chunks.
func (in *ingest) again(ctx context.Context, out chan<- *admission.Chunk) error {
	for _, sequence := range in.records {
		record, err := in.a.View.Intake(sequence)
		if err != nil {
			return err
		}
		if record.Feed != in.feed {
			continue // nothing of it is in its own feed's receipts
		}
		s := &admission.Chunk{Feed: in.feed, DryRun: in.dry, Recall: in.recall, Events: make([]exchange.Event, 0, len(record.Events))}
		for i := range record.Events {
			s.Events = append(s.Events, record.Events[i].Event)
		}
		s.Receipt.Rows = int64(len(s.Events))
		select {
		case out <- s:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
