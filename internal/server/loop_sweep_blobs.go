package server

import (
	"context"
	"time"
)

// abandonedAfter is how long an upload may lie unfinished before its bytes are
// thrown away.
const abandonedAfter = 24 * time.Hour

// sweepBlobs throws away uploads that nobody went on with for a day.
func (s *Server) sweepBlobs() loop {
	return loop{"sweep uploads", time.Hour, func(ctx context.Context) error {
		n, freed, err := s.Blobs.Sweep(time.Now().Add(-abandonedAfter))
		if n > 0 {
			s.Log.InfoContext(ctx, "abandoned uploads removed", "files", n, "bytes", freed)
		}
		return err
	}}
}
