package server

import (
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/store"
)

func TestDeadlines(t *testing.T) {
	began := time.Now()
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	held := func(deadline int) []store.HeldLease {
		return []store.HeldLease{{Held: lease.Held{LeaseID: "abc", Started: true}, Deadline: at(deadline)}, {Held: lease.Held{LeaseID: "offer"}}}
	}
	for _, test := range []struct {
		name     string
		deadline int
		looks    []int // seconds
		over     int   // index of the look that finds it over; -1: none
	}{
		{"before it", 100, []int{0, 5, 10}, -1},
		{"at it", 40, []int{0, 10, 20, 30, 39, 40}, 5},
		{"long past at the first look", -36_000, []int{0, 10, 20, 29, 30}, 4},
		{"past during a blind time", 40, []int{0, 10, 60, 70, 80, 89, 90}, 6},
		{"blind again and again", -5, []int{0, 20, 40, 60, 80}, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := deadlines{ttl: 30 * time.Second}
			got := -1
			for i, s := range test.looks {
				if over := d.observe(held(test.deadline), at(s)); len(over) > 0 {
					if got = i; over[0].LeaseID != "abc" || len(over) != 1 {
						t.Errorf("over: %v", over)
					}
					break
				}
			}
			if got != test.over {
				t.Errorf("over at look %d; want %d", got, test.over)
			}
		})
	}
	// What is no longer held is forgotten.
	d := deadlines{ttl: 30 * time.Second}
	d.observe(held(100), at(0))
	d.observe(nil, at(1))
	if len(d.due) != 0 {
		t.Errorf("remembers %v", d.due)
	}
}
