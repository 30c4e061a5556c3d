package pgtest

import (
	"errors"
	"os"
	"time"
)

// Crash ends the postmaster by SIGKILL, which leaves its children to find out
// by themselves; its data stay.
func (c *Cluster) Crash() error {
	if err := c.process.signal(os.Kill); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.process.gone
	return nil
}

// Recover is Up after a Crash: as long as children of the dead postmaster hold
// on to its memory a new one refuses to start, and is started again.
func (c *Cluster) Recover() error {
	over := time.NewTimer(startWithin)
	defer over.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.Up()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-over.C:
			return err
		}
	}
}
