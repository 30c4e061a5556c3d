package cli

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

const (
	redrawEvery    = 150 * time.Millisecond
	heartbeatEvery = 30 * time.Second
	pollEvery      = 20 * time.Second // in case a proxy holds the stream back
	cancelWithin   = 15 * time.Second
	failFastWithin = 2 * time.Second // for the rest of a run to stop, once its verdict is known
	confirmWithin  = 6 * time.Second // for a cancel off a terminal: GitHub asks again after 7.5 s and kills 2.5 s later
)

// how a wait ended.
type how int

const (
	ended         how = iota // every job has ended
	outOfTime                // --wait-timeout
	leftRunning              // an interrupt, the run goes on
	leftCancelled            // a second interrupt, the run is being cancelled
	failedFast               // a job has failed, and the rest is being cancelled
)

type ending struct {
	how       how
	cancelled bool // an interrupt cancelled the run
	result    result
}

// watcher waits for a run or a job. Its loop alone touches the state; what it
// asks of the server is asked by goroutines that send it news.
type watcher struct {
	app     *app
	client  *client.Client
	opts    waitOptions
	state   *progress
	signals <-chan os.Signal

	news      chan news
	screen    *screen
	keep      []string // lines for above the live region
	cancelled bool
	asking    bool             // the final result is being fetched
	leaveAt   <-chan time.Time // when to leave a run that is being cancelled; nil: never
}

// news is one thing that a goroutine found out.
type news struct {
	jobs   []qgjob.Job
	event  *qgjob.Event
	lost   error   // the server cannot be reached; tried again
	back   bool    // it can be reached again
	over   bool    // the server says that it has ended
	result *result // the final figures
	said   string  // what came of a cancel
	err    error   // the wait cannot go on
}

// watch runs until the run or job has ended, the time is up, or an interrupt
// says to leave.
func (w *watcher) watch(ctx context.Context) (ending, error) {
	ctx, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()
	w.news = make(chan news)
	w.state.began = time.Now()
	patient := w.client.With(client.Retry{Budget: w.patience(), Notify: func(err error) {
		w.send(ctx, news{lost: err, back: err == nil})
	}})
	helpers.Go(func() { w.follow(ctx, patient) })
	helpers.Go(func() { w.poll(ctx) })

	tick := time.NewTicker(heartbeatEvery)
	if w.app.errTTY {
		w.screen = &screen{p: w.app.printer}
		tick.Reset(redrawEvery)
	}
	defer tick.Stop()
	var deadline <-chan time.Time
	if w.opts.timeout > 0 {
		timer := time.NewTimer(w.opts.timeout)
		defer timer.Stop()
		deadline = timer.C
	}
	for {
		select {
		case <-ctx.Done():
			w.draw(false)
			return ending{}, context.Cause(ctx)
		case <-deadline:
			w.draw(false)
			return w.late()
		case <-w.signals:
			if end, leave := w.interrupted(ctx, &helpers); leave {
				w.draw(false)
				return end, nil
			}
		case <-w.leaveAt:
			w.draw(false)
			if !w.cancelled {
				return ending{how: failedFast, result: w.asSeen()}, nil
			}
			return ending{how: leftCancelled, result: w.asSeen()}, nil
		case <-tick.C:
			w.tick()
		case n := <-w.news:
			if n.err != nil {
				w.draw(false)
				return ending{}, n.err
			}
			if n.result != nil && n.result.ended() {
				w.draw(false)
				return ending{how: ended, cancelled: w.cancelled, result: *n.result}, nil
			}
			if w.take(n) && !w.asking {
				w.asking = true
				helpers.Go(func() { w.fetch(ctx, patient) })
			}
		}
	}
}

func (w *watcher) patience() time.Duration {
	if w.opts.unreachable > 0 {
		return w.opts.unreachable
	}
	return maxUnreachable
}

// confirm is how long a cancelled run may take to stop, off a terminal.
func (w *watcher) confirm() time.Duration {
	if w.opts.confirm > 0 {
		return w.opts.confirm
	}
	return confirmWithin
}

func (w *watcher) send(ctx context.Context, n news) {
	select {
	case w.news <- n:
	case <-ctx.Done():
	}
}

// follow sends the list of jobs, then every event.
func (w *watcher) follow(ctx context.Context, c *client.Client) {
	jobs, _, err := c.AllJobs(ctx, qgjob.JobFilter{RunID: w.state.run}, 0)
	if err != nil {
		w.send(ctx, news{err: err})
		return
	}
	w.send(ctx, news{jobs: jobs})
	for e, err := range c.RunEvents(ctx, w.state.run, 0) {
		if err != nil {
			w.send(ctx, news{err: err})
			return
		}
		w.send(ctx, news{event: &e})
	}
}

// poll asks now and then whether all is over, so that a stream which a proxy
// holds back cannot make the wait endless. Its errors say nothing: follow
// knows whether the server is there.
func (w *watcher) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	c := w.client.With(client.NoRetry)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if w.state.only != 0 {
			if j, err := c.Job(ctx, w.state.only); err == nil && j.Status.Terminal() {
				w.send(ctx, news{over: true})
			}
		} else if r, err := c.Run(ctx, w.state.run); err == nil && r.Conclusion != "" {
			w.send(ctx, news{over: true})
		} else if qgjob.KindOf(err) == qgjob.KindNotFound {
			w.send(ctx, news{err: err})
		}
	}
}

// fetch gets the figures that the verdict stands on: the server's record, not
// what was pieced together from events.
func (w *watcher) fetch(ctx context.Context, c *client.Client) {
	r, err := fetchResult(ctx, c, w.state.run, w.state.only)
	if err != nil {
		w.send(ctx, news{err: err})
		return
	}
	w.send(ctx, news{result: &r})
}

// take brings the state up to date; true means that all seems to be over.
func (w *watcher) take(n news) bool {
	switch {
	case n.jobs != nil:
		w.state.load(n.jobs)
	case n.event != nil:
		w.back()
		if l, ok := w.state.apply(*n.event); ok {
			w.show(l)
		}
		if w.opts.failFast && w.leaveAt == nil && n.event.Kind == qgjob.EventJobFinished && n.event.Status == qgjob.Failed {
			w.leaveAt = time.After(failFastWithin) // the rest is being stopped; its agents may be slow to say so
		}
		own := n.event.JobID != nil && *n.event.JobID == w.state.only && n.event.Kind == qgjob.EventJobFinished
		return own || n.event.Kind == qgjob.EventRunFinished
	case n.lost != nil:
		if w.state.lost == "" {
			w.state.lostAt = time.Now()
			w.state.lost = short(n.lost)
			if w.screen == nil {
				w.app.note("%s; trying again for up to %s", w.state.lost, span(w.patience()))
			}
		}
	case n.back:
		w.back()
	case n.said != "":
		w.state.note = n.said
		w.say(n.said)
	case n.result != nil: // not ended after all: go on
		w.asking = false
		w.state.load(n.result.Jobs)
	}
	return n.over
}

func (w *watcher) back() {
	if w.state.lost == "" {
		return
	}
	w.state.lost = ""
	w.say("the server answers again")
}

func (w *watcher) say(text string) {
	if w.screen == nil {
		w.app.note("%s", text)
		return
	}
	w.keep = append(w.keep, "qgjob: "+clean(text))
}

func (w *watcher) show(l line) {
	switch {
	case w.screen == nil:
		w.app.progressLine(l)
	case l.loud():
		w.keep = append(w.keep, fit(l.text(paint{}), width(w.app.err)))
	}
}

func (w *watcher) tick() {
	if w.screen == nil {
		w.app.note("%s", w.state.heartbeat(time.Now()))
		return
	}
	w.draw(true)
}

// draw brings the terminal up to date; without live only what stays is left.
func (w *watcher) draw(live bool) {
	if w.screen == nil {
		return
	}
	var region []string
	if live {
		region = w.state.frame(time.Now(), width(w.app.err)-1, w.app.paint(true))
	}
	w.screen.draw(w.keep, region)
	w.keep = nil
}

// late ends a wait whose time is up. Without a server nothing is known, and
// that is not the same as still running.
func (w *watcher) late() (ending, error) {
	if w.state.lost != "" {
		return ending{}, &qgjob.Error{Kind: qgjob.KindUnavailable, Code: qgjob.CodeUnreachable, Message: w.state.lost}
	}
	return ending{how: outOfTime, result: w.asSeen()}, nil
}

// asSeen is how the run stands as far as its events tell.
func (w *watcher) asSeen() result {
	r := newResult(qgjob.Run{RunID: w.state.run}, w.state.sorted())
	r.Installs, r.InstallsAvoided, r.InstallMS = w.state.install.done, w.state.install.avoided, w.state.install.ms
	return r
}

// interrupted answers Ctrl-C: a plain wait leaves; submit --wait cancels the
// run first and leaves the second time.
func (w *watcher) interrupted(ctx context.Context, helpers *sync.WaitGroup) (ending, bool) {
	if !w.opts.cancels {
		return ending{how: leftRunning, result: w.asSeen()}, true
	}
	if w.cancelled {
		return ending{how: leftCancelled, result: w.asSeen()}, true
	}
	w.cancelled = true
	if w.screen == nil {
		w.leaveAt = time.After(w.confirm())
	}
	w.state.note = "cancelling " + w.state.run.String()
	w.say("cancelling " + w.state.run.String() + "; interrupt again to leave at once")
	helpers.Go(func() {
		bounded, stop := context.WithTimeout(ctx, cancelWithin)
		defer stop()
		_, err := w.client.CancelRun(bounded, w.state.run)
		switch {
		case err == nil || qgjob.CodeOf(err) == qgjob.CodeTerminal:
			w.send(ctx, news{said: w.state.run.String() + " is cancelled; waiting for its running jobs to stop"})
		default:
			w.send(ctx, news{said: "could not cancel: " + short(err) + "; try: qgjob cancel " + w.state.run.String()})
		}
	})
	return ending{}, false
}

// short is an error without its hint.
func short(err error) string {
	if e, ok := asError(err); ok {
		bare := *e
		bare.Hint = ""
		return bare.Error()
	}
	return err.Error()
}
