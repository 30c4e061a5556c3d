package schedule

// DefaultEstimate is what a test is expected to take when nothing is known of
// it nor of its org, in seconds of work.
const DefaultEstimate = 60.0

// DefaultInstall is what an install is expected to take when nothing is known
// of the app nor of its org, in seconds on an agent of install factor 1.
const DefaultInstall = 60.0

// Estimate is what is known of how long something takes: of a test of an org
// on a target, or of an install of a build. The zero Estimate knows nothing.
type Estimate struct {
	N    int     // observations; only grows
	Mean float64 // exponentially weighted, seconds on an agent of speed (or install factor) 1
}

// Observe gives the estimate after one more observation: a test that passed or
// failed by assertion (its seconds times the agent's speed), or an install
// that succeeded (its seconds over the agent's install factor). Timeouts and
// broken infrastructure say nothing and are not to be observed. The weight of
// an observation is 1/(n+1) at first and never less than a fifth, so that an
// estimate follows a test that changes. Values below 0 are not taken.
func (e Estimate) Observe(seconds float64) Estimate {
	if !(seconds >= 0) {
		return e
	}
	alpha := 1 / float64(e.N+1)
	if alpha < 0.2 {
		alpha = 0.2
	}
	return Estimate{N: e.N + 1, Mean: e.Mean + alpha*(seconds-e.Mean)}
}

// Expect gives the seconds to expect: the mean, drawn towards the prior as if
// the prior had been seen once.
func (e Estimate) Expect(prior float64) float64 {
	return (float64(e.N)*e.Mean + prior) / float64(e.N+1)
}

// Average is the plain mean over an org's observations, the prior for what was
// never seen of it.
type Average struct {
	N   int
	Sum float64 // seconds
}

// Observe gives the average after one more observation.
func (a Average) Observe(seconds float64) Average {
	if !(seconds >= 0) {
		return a
	}
	return Average{N: a.N + 1, Sum: a.Sum + seconds}
}

// Or gives the mean, or the default given when nothing was observed.
func (a Average) Or(def float64) float64 {
	if a.N == 0 {
		return def
	}
	return a.Sum / float64(a.N)
}
