package apiclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/report"
)

// pieceSize is how much of a source one request carries, in bytes.
const pieceSize = 1 << 20

// Publication says what is published and how.
type Publication struct {
	Feed   string
	Format string // "" for auto
	TLP    string // "" for the feed's default
	Map    map[string]string
	Name   string // what the source is called: a file's name without its folder
	DryRun bool
	// Recall takes the rows back, for the reason that it is, instead of publishing them. Receipt names them for Client.Recall.
	Recall, Receipt string
	// Progress, where set, is told of the receipt so far after each piece.
	Progress func(*exchange.Receipt)
	// Taken, where set, is told what the source was taken for.
	Taken func(format string)
}

// Publish sends a source to its feed, piece by piece, each with an idempotency
// key that derives from its content and its place: after any failure the same
// source can be sent again, and adds nothing twice. It returns the receipt of
// what was sent until then, with any error. A source of which nothing can be
// read is no error: its receipt says so.
func (c *Client) Publish(ctx context.Context, source io.Reader, p Publication) (*exchange.Receipt, error) {
	total := &exchange.Receipt{Feed: p.Feed, Collections: map[string]int64{}}
	cut, err := report.NewCutter(source, report.Options{Format: p.Format, Map: p.Map, Name: p.Name}, pieceSize)
	if err != nil {
		return unreadable(total, err)
	}
	if cut.Mapped() {
		p.Map = nil
	}
	if p.Taken != nil {
		p.Taken(cut.Format)
	}
	// One piece is held back: all but the last need not be visible before the
	// next goes out.
	piece, err := cut.Next()
	for err == nil {
		next, nextErr := cut.Next()
		if piece.Data != nil {
			r, err := c.piece(ctx, piece, cut.Sent, &p, nextErr != nil)
			total.Add(r)
			if err != nil {
				return total, err
			}
		}
		for _, problem := range piece.Rejected {
			total.Rows++
			total.Rejected++
			total.AddProblem(problem)
		}
		for _, n := range piece.Notes {
			total.AddNote(n)
		}
		if p.Progress != nil {
			p.Progress(total)
		}
		piece, err = next, nextErr
	}
	if errors.Is(err, io.EOF) {
		if total.Rows == 0 && total.ProblemsTotal == 0 {
			total.AddNote(exchange.Note{Line: 1, Reason: "there are no rows"})
		}
		return total, nil
	}
	return unreadable(total, err)
}

// Recall takes back what a receipt is of.
func (c *Client) Recall(ctx context.Context, p Publication) (*exchange.Receipt, error) {
	query := url.Values{"reason": {p.Recall}, "receipt": {p.Receipt}}
	if p.DryRun {
		query.Set("dry_run", "true")
	}
	receipt := new(exchange.Receipt)
	_, err := c.send(ctx, http.MethodPost, "/v1/feeds/"+url.PathEscape(p.Feed)+"/recall", query, nil, nil, receipt)
	return receipt, err
}

// unreadable puts a *report.FileError into the receipt.
func unreadable(total *exchange.Receipt, err error) (*exchange.Receipt, error) {
	var file *report.FileError
	if !errors.As(err, &file) {
		return total, err
	}
	total.AddProblem(file.Problem)
	return total, nil
}

func (c *Client) piece(ctx context.Context, piece *report.Piece, format string, p *Publication, last bool) (*exchange.Receipt, error) {
	query := url.Values{"format": {format}, "line": {strconv.Itoa(piece.FirstLine)}}
	if p.TLP != "" {
		query.Set("tlp", p.TLP)
	}
	for _, from := range slices.Sorted(maps.Keys(p.Map)) {
		query.Add("map", from+"="+p.Map[from])
	}
	if p.Name != "" && format == report.Shadowserver {
		query.Set("name", p.Name)
	}
	if p.DryRun {
		query.Set("dry_run", "true")
	}
	path := "/events"
	if p.Recall != "" {
		path = "/recall"
		query.Set("reason", p.Recall)
	}
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%s\n%s\n", p.Feed, query.Encode())
	_, _ = sum.Write(piece.Data)
	if !last {
		query.Set("wait", "durable")
	}
	header := http.Header{"Idempotency-Key": {hex.EncodeToString(sum.Sum(nil))[:40] + "-" + strconv.FormatInt(piece.Offset, 10)}}
	header.Set("Content-Type", "application/x-ndjson")
	if format == report.CSV || format == report.Shadowserver {
		header.Set("Content-Type", "text/csv; charset=utf-8")
	}
	var attempts atomic.Int32
	receipt := &exchange.Receipt{}
	answer, err := c.send(context.WithValue(ctx, attemptsKey{}, &attempts), http.MethodPost,
		"/v1/feeds/"+url.PathEscape(p.Feed)+path, query, header, piece.Data, receipt)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusUnprocessableEntity && receipt.ProblemsTotal > 0 {
		err = nil
	}
	if answer.Get("Idempotent-Replayed") != "" && attempts.Load() <= 1 {
		// Not a retry of ours: it was there before this run.
		receipt.Duplicates += receipt.Events
		receipt.Events, receipt.Unclaimed, receipt.Withheld, receipt.Collections = 0, 0, 0, nil
	}
	return receipt, err
}
