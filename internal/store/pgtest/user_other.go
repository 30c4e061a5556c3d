//go:build !unix

package pgtest

import (
	"os"
	"os/exec"
)

// immediate ends PostgreSQL at once.
var immediate = os.Kill

func ownDir(string) error { return nil }

func asOther(*exec.Cmd) {}
