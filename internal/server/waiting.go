package server

import (
	"net/http"

	"github.com/qualgent/qgjob"
)

// Waiting answers in the place of a Server whose database is not open yet: it
// is alive, it is not ready, and every call is to be made again later. why
// gives the cause, of kind unavailable; its message and hint are for everybody.
func Waiting(why func() *qgjob.Error) http.Handler {
	s := nobody
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /health", s.seedHealth)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		e := *why()
		e.Message = "not ready: " + e.Message
		s.writeProblem(w, r, &e)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.writeProblem(w, r, why()) })
	return s.announce(mux)
}
