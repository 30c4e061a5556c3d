package qgjob_test

import (
	"errors"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestReset(t *testing.T) {
	for _, good := range []string{"clear", "keep", "reinstall"} {
		if r, err := qgjob.ParseReset(good); err != nil || string(r) != good {
			t.Errorf("%q: %q, %v", good, r, err)
		}
	}
	for _, bad := range []string{"", "Clear", "full", "keep "} {
		_, err := qgjob.ParseReset(bad)
		if e, ok := errors.AsType[*qgjob.Error](err); !ok || e.Kind != qgjob.KindInvalid || e.Field != "reset" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestResetOfAJob(t *testing.T) {
	spec := qgjob.JobSpec{AppVersionID: "v", TestPath: "a.js", Target: qgjob.TargetEmulator}
	if got := spec.WithDefaults().Reset; got != qgjob.ResetClear {
		t.Errorf("default %q", got)
	}
	spec.Reset = "wipe"
	if err := spec.WithDefaults().Check(); qgjob.KindOf(err) != qgjob.KindInvalid {
		t.Errorf("wipe: %v", err)
	}
}
