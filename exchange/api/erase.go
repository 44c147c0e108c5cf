package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/erasure"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
)

// ErasureRequest says what is to be erased.
type ErasureRequest struct {
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Accounts  []string     `json:"accounts,omitempty"`
}

// Erased is the answer: what readers have no more. Pending says that the files are written anew at the next start.
type Erased struct {
	Order   string `json:"order"`
	Events  int64  `json:"events"`
	Objects int    `json:"objects"`
	Pending bool   `json:"pending"`
}

// maxErased is how many addresses and accounts one order is of.
const maxErased = 100_000

// erase takes an order to erase: POST /v1/erase?reason=…
func (a *API) erase(r *request) (any, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	reason, err := reasonOf(r)
	if err != nil {
		return nil, err
	}
	text, err := r.body()
	if err != nil {
		return nil, err
	}
	var asked ErasureRequest
	if err := json.Unmarshal(text, &asked); err != nil {
		return nil, fail(http.StatusBadRequest, "Bad request", "it is no JSON with addresses and accounts: %v", err)
	}
	for i, s := range asked.Accounts {
		if asked.Accounts[i], _, err = exchange.ParseAccount(s); err != nil {
			return nil, fail(http.StatusBadRequest, "Bad request", "accounts: %v", err)
		}
	}
	for i, x := range asked.Addresses {
		asked.Addresses[i] = x.Unmap().WithZone("")
	}
	if n := len(asked.Addresses) + len(asked.Accounts); n == 0 || n > maxErased {
		return nil, fail(http.StatusBadRequest, "Bad request", "it names %d addresses and accounts: name 1 to %d", n, maxErased)
	}
	order := erasure.New(time.Now(), r.caller.Name(), reason, asked.Addresses, asked.Accounts)
	if erasure.Match([]*erasure.Order{order}).Text([]byte(reason)) {
		return nil, fail(http.StatusBadRequest, "Bad parameter", "reason: it names what is to be erased, and would be kept")
	}
	return a.Erase(r.Context(), order)
}

// DeleteObject deletes an object that a member has posted to a collection, in all its versions, for the operator. One that is not
// there any more is no error.
func (a *API) DeleteObject(ctx context.Context, collection, id string) error {
	if a.Access.Load().Collection(collection) == nil { // it is no more, and nobody reads it
		return nil
	}
	_, err := a.Poster.Delete(ctx, a.as(exchange.Admin, collection), id, func(all []record.Version) []record.Version { return all })
	if errors.Is(err, submission.ErrNoVersion) {
		return nil
	}
	return err
}
