//go:build race

package server

// The race detector makes SQLite, which is compiled to Go, ten times slower.
func init() { honestRuns, honestSeeds = 3, honestSeeds[1:] }
