package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/webhook"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// webhooks lists the webhooks and how they are: all to the operator, its own to a member.
func (a *API) webhooks(r *request) (any, error) {
	list := []*webhook.Status{}
	for i := range r.x.Register.Webhooks {
		w := &r.x.Register.Webhooks[i]
		if !r.mine(w.Member) {
			continue
		}
		st, err := a.Webhooks.Status(r.Context(), w.ID)
		if errors.Is(err, webhook.ErrUnknown) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, st)
	}
	return list, nil
}

// named returns the webhook that a request names, if it is the caller's.
func (r *request) named() (*exchange.Webhook, error) {
	w := r.x.Register.Webhook(r.PathValue("webhook"))
	if w == nil || !r.mine(w.Member) {
		return nil, taxiiserver.ErrNotFound
	}
	return w, nil
}

func (a *API) webhook(r *request) (any, error) {
	w, err := r.named()
	if err != nil {
		return nil, err
	}
	return a.Webhooks.Status(r.Context(), w.ID)
}

// whole returns an error unless the caller's credential is good for everything: who looks sends nothing, and
// who has the key can speak to the receiver as the exchange does.
func (r *request) whole() error {
	if r.caller.Scopes != nil {
		return fail(http.StatusForbidden, "Forbidden", "This is for credentials that are good for everything, not for some scopes")
	}
	return nil
}

// resend has dead letters sent again: POST /v1/webhooks/{id}/resend, with ?from all that was added
// behind that instant.
func (a *API) resend(r *request) (any, error) {
	w, err := r.named()
	if err == nil {
		err = r.whole()
	}
	if err != nil {
		return nil, err
	}
	from, err := r.instant("from")
	if err != nil {
		return nil, err
	}
	detail := "webhook " + w.ID
	var st *webhook.Status
	if r.URL.Query().Has("from") {
		detail += " from " + from.Format(time.RFC3339Nano)
		st, err = a.Webhooks.ResendFrom(r.Context(), w.ID, from)
	} else {
		st, err = a.Webhooks.Resend(r.Context(), w.ID)
	}
	if errors.Is(err, webhook.ErrNothing) {
		return nil, fail(http.StatusBadRequest, "Bad parameter", "from: %v; what waits is sent by itself", err)
	}
	if err == nil {
		a.tell(r.Request, &r.caller, exchange.AuditEntry{Action: exchange.AuditResent, Channel: exchange.ChannelWebhook, Collection: w.Collection, Detail: detail})
	}
	return st, err
}

// Ping is what came of one request to a webhook.
type Ping struct {
	Webhook string `json:"webhook"`
	Taken   bool   `json:"taken"`
	Error   string `json:"error,omitempty"`
}

// ping sends a webhook a doorbell that is of nothing: POST /v1/webhooks/{id}/ping.
func (a *API) ping(r *request) (any, error) {
	w, err := r.named()
	if err == nil {
		err = r.whole()
	}
	if err != nil {
		return nil, err
	}
	out := Ping{Webhook: w.ID, Taken: true}
	if err := a.Webhooks.Ping(r.Context(), w.ID); err != nil {
		out.Taken, out.Error = false, err.Error()
	}
	return out, nil
}

// WebhookKeys are the keys of a member's webhooks, in the form of Standard Webhooks. Requests are signed
// with both.
type WebhookKeys struct {
	Member   string `json:"member"`
	Key      string `json:"key"`
	Previous string `json:"previous,omitempty"`
}

// keyHolder returns the member whose keys the caller may know.
func (r *request) keyHolder() (string, error) {
	id := r.PathValue("member")
	if !r.mine(id) || r.x.Register.Member(id) == nil {
		return "", taxiiserver.ErrNotFound
	}
	return id, r.whole()
}

func (a *API) webhookKeys(r *request) (any, error) {
	id, err := r.keyHolder()
	if err != nil {
		return nil, err
	}
	return a.keysOf(r.x.Register, id)
}

// newWebhookKey makes the key anew: POST /v1/members/{member}/webhook-key.
func (a *API) newWebhookKey(r *request) (any, error) {
	id, err := r.keyHolder()
	if err != nil {
		return nil, err
	}
	next, err := a.Register.NewWebhookKey(r.Context(), r.caller.Name(), id)
	if err != nil {
		return nil, err
	}
	a.tell(r.Request, &r.caller, changed(next.Version, "member %s: a new key for webhooks", id))
	return a.keysOf(next, id)
}

func (a *API) keysOf(reg *exchange.Register, member string) (any, error) {
	keys, err := a.Webhooks.Keys(reg, member)
	if err != nil {
		return nil, err
	}
	out := WebhookKeys{Member: member, Key: keys[0]}
	if len(keys) > 1 {
		out.Previous = keys[1]
	}
	return out, nil
}
