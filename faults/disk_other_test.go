//go:build unix && !linux

package faults_test

import "testing"

type smallDisk struct{}

func mountSmall(*testing.T, string) *smallDisk { return nil }

func (*smallDisk) fill(int64) error { return nil }
func (*smallDisk) free() error      { return nil }
