//go:build race

package store_test

// The race detector makes SQLite, which is compiled to Go, ten times slower.
func init() { rapidChecks = "6" }
