package adbtest

import (
	"encoding/json"
	"net/http"
	"time"
)

// Order is what a test in another process wants of the fake. Do names it:
// plug (Device), unplug, state (State), fail_installs and fail_launches
// (Words), slow (Millis), health (Health), replace (Package, VersionCode).
type Order struct {
	Do          string   `json:"do"`
	Serial      string   `json:"serial"`
	Device      Device   `json:"device"`
	State       string   `json:"state"`
	Words       []string `json:"words"`
	Millis      int64    `json:"millis"`
	Health      Health   `json:"health"`
	Package     string   `json:"package"`
	VersionCode int64    `json:"version_code"`
}

// Obey does what an order says; false when there is no such order.
func (s *Server) Obey(o Order) bool {
	switch o.Do {
	case "plug":
		if o.Device.Serial == "" {
			o.Device.Serial = o.Serial
		}
		s.Plug(o.Device)
	case "unplug":
		s.Unplug(o.Serial)
	case "state":
		s.SetState(o.Serial, o.State)
	case "fail_installs":
		s.FailInstalls(o.Serial, o.Words...)
	case "fail_launches":
		s.FailLaunches(o.Serial, o.Words...)
	case "slow":
		s.Slow(o.Serial, time.Duration(o.Millis)*time.Millisecond)
	case "health":
		s.SetHealth(o.Serial, o.Health)
	case "replace":
		s.Replace(o.Serial, o.Package, o.VersionCode)
	default:
		return false
	}
	return true
}

// Control is the fake over HTTP: POST /orders with an Order, GET /journal for
// the entries so far, GET /asked for how often each request was sent.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var o Order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !s.Obey(o) {
			http.Error(w, "no such order: "+o.Do, http.StatusBadRequest)
		}
	})
	mux.HandleFunc("GET /journal", func(w http.ResponseWriter, _ *http.Request) { tell(w, append([]Entry{}, s.Journal()...)) })
	mux.HandleFunc("GET /asked", func(w http.ResponseWriter, _ *http.Request) { tell(w, s.Asked()) })
	return mux
}

func tell(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
