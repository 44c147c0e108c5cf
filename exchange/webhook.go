package exchange

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Sending is what a webhook is sent.
type Sending string

// A doorbell says that there is more, a bundle is what there is more.
const (
	SendDoorbell Sending = "doorbell"
	SendBundle   Sending = "bundle"
)

// Webhook is a URL of a member that is told when a collection grows.
type Webhook struct {
	ID         string  `json:"id" yaml:"id"`
	Member     string  `json:"member" yaml:"member"`
	Collection string  `json:"collection" yaml:"collection"`
	URL        string  `json:"url" yaml:"url"`
	Send       Sending `json:"send" yaml:"send,omitempty"`
	// Allow are addresses at which it may be though they are not public.
	Allow   []netip.Prefix `json:"allow,omitempty" yaml:"allow,omitempty"`
	Created time.Time      `json:"created" yaml:"created,omitempty"`
	Changed time.Time      `json:"changed" yaml:"changed,omitempty"`
}

// maxURL bounds URLs, in bytes.
const maxURL = 2000

// Problem says what is wrong with the webhook by itself, "" for nothing.
func (w *Webhook) Problem() string {
	u, err := url.Parse(w.URL)
	switch {
	case len(w.URL) > maxURL:
		return fmt.Sprintf("its url is longer than %d bytes", maxURL)
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return "its url is none such as https://soc.example.org/tocsin"
	case u.Port() != "" && !validPort(u.Port()):
		return "its url has a port that there is not"
	case u.User != nil || u.Fragment != "":
		return "its url has a user or a fragment: put what tells requests apart into the path, and look at the signature"
	case u.Scheme == "http" && len(w.Allow) == 0:
		return "its url is not https, which is for addresses under allow alone"
	case w.Send != SendDoorbell && w.Send != SendBundle:
		return fmt.Sprintf("send %.40q is not one of doorbell, bundle", w.Send)
	case slices.ContainsFunc(w.Allow, func(p netip.Prefix) bool { return !p.IsValid() || p.Addr().Is4In6() }):
		return "a prefix under allow is not valid, or is an IPv4 prefix that is not written as one"
	}
	return ""
}

func validPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// Webhook returns the webhook of the id, or nil.
func (r *Register) Webhook(id string) *Webhook {
	return find(r.Webhooks, id, func(w *Webhook) string { return w.ID })
}

// WebhookKeys are the keys with which a member's webhooks are signed: the one in force, and the one
// before it for receivers that do not have that yet.
func (r *Register) WebhookKeys(secret []byte, m *Member) (keys [][]byte) {
	for n := r.KeysMade[m.ID]; ; n-- {
		mac := hmac.New(sha256.New, secret)
		_, _ = fmt.Fprintf(mac, "webhook\n%s\n%d\n%d", m.ID, m.Created.UnixNano(), n)
		if keys = append(keys, mac.Sum(nil)); n == 0 || len(keys) == 2 {
			return keys
		}
	}
}
