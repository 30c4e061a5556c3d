//go:build !unix

package pgtest

import (
	"os"
	"os/exec"
)

// immediate ends PostgreSQL at once.
var immediate = os.Kill

// halt and resume have no like here: both end what they are sent to.
var halt, resume = os.Kill, os.Kill

func ownDir(string) error { return nil }

func asOther(*exec.Cmd) {}
