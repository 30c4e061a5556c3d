// Package sim is imagining fleets: it plays a workload through the very
// function by which the server decides, without a server, a database or a
// clock, and measures the schedule that comes out against lower bounds.
//
// All instants are seconds since the start of the workload. Everything is a
// function of its input: the same workload and policy give the same bytes.
package sim
