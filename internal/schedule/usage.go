package schedule

import "math"

// HalfLife is how long it takes an org's past use to count half, in seconds.
const HalfLife = 900.0

// Usage is an org's virtual time: decayed device-seconds per unit of weight.
// Whoever has used less lately comes first.
type Usage struct {
	Seconds float64 // as of At
	At      float64
}

// Now gives the virtual time at an instant, decayed since it was last charged.
func (u Usage) Now(now float64) float64 {
	if now <= u.At || u.Seconds == 0 {
		return u.Seconds
	}
	return u.Seconds * math.Exp2((u.At-now)/HalfLife)
}

// Charge gives the usage after a claim at an instant that costs an org of that
// weight so many device-seconds: the install and the job's estimate.
func (u Usage) Charge(now, seconds, weight float64) Usage {
	if weight <= 0 {
		weight = 1
	}
	return Usage{Seconds: u.Now(now) + seconds/weight, At: max(now, u.At)}
}
