// Command webhook is a receiver of webhooks: it prints what it is sent, once each.
//
//	export WEBHOOK_KEY=$(tocsin webhook key cert-at)
//	go run ./examples/webhook 127.0.0.1:8443 cert.pem key.pem
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// maxBody is above what a bundle has, in bytes; one object can be as large as this.
const maxBody = 20 << 20

func main() {
	if len(os.Args) != 2 && len(os.Args) != 4 {
		log.Fatal("usage: webhook ADDRESS [CERTIFICATE KEY]")
	}
	v, err := standardwebhooks.NewWebhook(os.Getenv("WEBHOOK_KEY"))
	if err != nil {
		log.Fatal("WEBHOOK_KEY: ", err)
	}
	server := &http.Server{Addr: os.Args[1], Handler: &receiver{key: v, out: os.Stdout}, ReadTimeout: time.Minute}
	if len(os.Args) == 4 {
		log.Fatal(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
	}
	log.Fatal(server.ListenAndServe()) // behind a proxy that speaks TLS
}

// receiver writes what it is sent, once each.
type receiver struct {
	key *standardwebhooks.Webhook

	mu   sync.Mutex // guards what is below
	out  io.Writer
	seen map[string]bool
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if r.key.Verify(body, req.Header) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if id := req.Header.Get("Webhook-Id"); !r.seen[id] {
		// Keep it for good before you answer 2xx: what is answered so is not sent again.
		if _, err := fmt.Fprintf(r.out, "%s\n", body); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.seen == nil || len(r.seen) > 10_000 {
			r.seen = make(map[string]bool)
		}
		r.seen[id] = true
	}
}
