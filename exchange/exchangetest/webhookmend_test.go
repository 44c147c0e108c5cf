package exchangetest_test

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/webhook"
)

// answers has a receiver answer with a status, until it is set to another.
func answers(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		return code == http.StatusOK
	}
}

// soc starts an exchange with one webhook of cert-at's for the collection low.
func soc(t *testing.T, r *receiver) member {
	e := ringing(t, t.TempDir(), labelled)
	e.Apply(t, "webhooks:\n"+hookLine("soc", "cert-at", "low", r.URL, "bundle"))
	return as(t, e, "cert-at")
}

// What was raised between two tries does not leave with the second.
func TestWebhookRetriesSendNothingThatWasRaised(t *testing.T) {
	r := newReceiver(t)
	at := soc(t, r)
	raised := false
	r.set(func(w http.ResponseWriter, _ *http.Request) bool {
		if !raised {
			raised = true
			if why := at.add("low", sample(1, version2, red)); !strings.Contains(why, "TLP:RED") {
				t.Error(why)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return false
		}
		return true
	})
	at.add("low", sample(1, version1, green))
	waitFor(t, "the withdrawal", func() bool { n, _ := r.rung("collection.withdrawn"); return n == 1 })
	if slices.Contains(r.objects(), sampleID(1)) {
		t.Error("it has left")
	}
}

// A refusal after an outage is one refusal, and what went away meanwhile does not count against what comes.
func TestWebhookCountsRefusalsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	at := soc(t, r)
	r.set(answers(http.StatusServiceUnavailable))
	at.add("low", sample(1, version1, green))
	waitFor(t, "failures", func() bool { return at.hook("soc").State.Failures > 5 })
	refused := false
	r.set(func(w http.ResponseWriter, _ *http.Request) bool {
		if !refused {
			refused = true
			w.WriteHeader(http.StatusNotFound)
			return false
		}
		return true
	})
	waitFor(t, "the object", func() bool { return slices.Contains(r.objects(), sampleID(1)) })
	if st := at.hook("soc"); len(st.State.Dead) > 0 {
		t.Errorf("%+v", st)
	}
	r.set(answers(http.StatusServiceUnavailable))
	at.add("low", sample(2, version1, green))
	waitFor(t, "failures", func() bool { return at.hook("soc").State.Failures > 5 })
	if code, _, text := at.e.Do(t, "DELETE", "/exchange/collections/low/objects/"+sampleID(2)+"/", at.id, at.token, ""); code != http.StatusOK {
		t.Fatal(code, text)
	}
	waitFor(t, "good", func() bool { return at.hook("soc").Condition == webhook.Good })
}

// What the receiver says is nowhere but with the receiver.
func TestWebhookRepeatsNothingThatAReceiverSays(t *testing.T) {
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("AMBER-DATA " + strings.Repeat("\x01", 60_000) + "\r\n"))
			_ = c.Close()
		}
	}()
	e := ringing(t, t.TempDir(), exchangetest.Register)
	e.Apply(t, "webhooks:\n"+hookLine("soc", "cert-at", "cert-at", "http://"+l.Addr().String(), "bundle"))
	e.Publish(t, "rustock", logOf(0, 3))
	at := as(t, e, "cert-at")
	waitFor(t, "failures", func() bool { return at.hook("soc").State.Failures > 3 })
	if st := at.hook("soc"); strings.Contains(st.State.Error, "AMBER") || len(st.State.Error) > 200 {
		t.Errorf("%.500s", st.State.Error)
	}
}

// What is sent again does not hold up what is new, and asking often does no more than asking once.
func TestWebhookSendsAgainBesideWhatIsNew(t *testing.T) {
	r := newReceiver(t)
	at := soc(t, r)
	at.add("low", sample(1, version1, green))
	waitFor(t, "the object", func() bool { return slices.Contains(r.objects(), sampleID(1)) })
	poison := r.all("bundle")[0].header.Get("Tocsin-From")
	r.set(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Header.Get("Tocsin-From") == poison {
			w.WriteHeader(http.StatusInternalServerError)
			return false
		}
		return true
	})
	for _, from := range []string{"2011-01-01T00:00:00Z", "2012-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2013-01-01T00:00:00Z"} {
		if code, _, text := at.e.Do(t, "POST", "/v1/webhooks/soc/resend?from="+from, at.id, at.token, ""); code != http.StatusOK {
			t.Fatal(code, text)
		}
		if st := at.hook("soc"); len(st.State.Dead) != 1 {
			t.Errorf("%+v", st)
		}
	}
	at.add("low", sample(2, version1, green))
	waitFor(t, "what is new", func() bool { return slices.Contains(r.objects(), sampleID(2)) })
	waitFor(t, "a dead letter", func() bool { return at.hook("soc").Condition == webhook.Dead })
	for _, from := range []string{"9999-01-01T00:00:00Z", "yesterday"} {
		if code, _, text := at.e.Do(t, "POST", "/v1/webhooks/soc/resend?from="+from, at.id, at.token, ""); code != http.StatusBadRequest {
			t.Error(code, text)
		}
	}
}
