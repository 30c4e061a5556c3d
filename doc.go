// Package qgjob is the words: what an org, an app version, a run, a job, an
// attempt, a group, an agent, a target and a lease are, which moves a job may
// make, which errors exist, and what travels over the wire between server,
// agents and clients.
//
// It imports nothing of the project, does no I/O and knows no clock: every
// other room speaks in these words, and only in these.
//
// Instants are time.Time in UTC and RFC 3339 in JSON; durations are
// time.Duration in Go and whole milliseconds (…_ms) or seconds (…_s) on the
// wire; JSON names are snake_case.
package qgjob
