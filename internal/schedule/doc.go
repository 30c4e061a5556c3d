// Package schedule is deciding: which group a free agent takes next, given
// everything that is known, and why it refuses every other one.
//
// It is pure. State is plain data that its owner changes through Set… and
// Remove… methods; Pick reads it and answers. There is no clock, no input or
// output, no randomness and no goroutine here, and no answer depends on the
// order in which the data came or on the order of a map. The server and the
// simulator call the very same functions.
//
// Instants are float64 seconds since one fixed moment (the Unix epoch in the
// server, the start of the workload in the simulator), durations are float64
// seconds, and speeds are relative to a device of speed 1: a device of speed 2
// runs a test of 60 s of work in 30 s. Work, estimates and loads are always
// seconds on a device of speed 1.
package schedule
