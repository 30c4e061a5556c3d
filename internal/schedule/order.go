package schedule

// Job is what decides a waiting job's place inside its group.
type Job struct {
	Priority int
	Run      int64   // runs are numbered in the order of their submission
	Rank     int     // lower first: new tests and those that failed last
	Estimate float64 // seconds of work, frozen at submit
	Seq      int64   // jobs are numbered in the order of their submission
}

// Less reports whether the first job goes before the second: the higher
// priority, then the older run, then the rank, then the longest job (a run
// ends with its last job, so long ones must not start late), then the older.
func (a Job) Less(b Job) bool {
	switch {
	case a.Priority != b.Priority:
		return a.Priority > b.Priority
	case a.Run != b.Run:
		return a.Run < b.Run
	case a.Rank != b.Rank:
		return a.Rank < b.Rank
	case a.Estimate != b.Estimate:
		return a.Estimate > b.Estimate
	}
	return a.Seq < b.Seq
}
