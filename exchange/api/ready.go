package api

import (
	"context"
	"errors"
	"net/http"
	"time"
)

func (a *API) opened() bool {
	if a.Open == nil {
		return true
	}
	select {
	case <-a.Open:
		return true
	default:
		return false
	}
}

func (a *API) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

func (a *API) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if err := a.Ready(ctx); err != nil {
		a.Log.Warn("not ready", "error", err)
		a.notReady(w)
		return
	}
	answer := map[string]string{"status": "ready"}
	if err := a.Room(); err != nil { // strangers are told the kind alone
		for _, x := range nothingIn {
			if errors.Is(err, x.why) {
				answer["takes_nothing"] = x.why.Error()
			}
		}
	}
	writeJSON(w, http.StatusOK, answer)
}

func (a *API) notReady(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "2")
	writeJSON(w, http.StatusServiceUnavailable, fail(http.StatusServiceUnavailable, "Not ready", "Journal and view are not in step; the server's log says more"))
}
