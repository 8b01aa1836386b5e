package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wavelock/rollout"
)

// Machine is one Windows computer for the length of one action. Errors of Do are
// *rollout.Failure; any other error is taken as a failure of unknown result.
type Machine interface {
	Do(ctx context.Context, step rollout.Step) (rollout.Result, error)
	Close() error
}

// Machines opens computers. It does not connect yet: Do does.
type Machines interface {
	Open(ctx context.Context, host rollout.Host) (Machine, error)
}

// Store keeps the journal.
type Store interface {
	// Append writes the events durably, in order, and answers them with their Seq.
	Append(ctx context.Context, events ...rollout.Event) ([]rollout.Event, error)
	// Decide does the same and gives the jobs to the queue in the same transaction,
	// unless the campaign was decided upon since version: then ok is false.
	Decide(ctx context.Context, id rollout.CampaignID, version int64, events []rollout.Event, jobs []rollout.Job) (written []rollout.Event, ok bool, err error)
	Events(ctx context.Context, id rollout.CampaignID, after int64) iter.Seq2[rollout.Event, error]
	// Position is the last event's Seq and the version that Decide compares.
	Position(ctx context.Context, id rollout.CampaignID) (seq, version int64, err error)
	Image(ctx context.Context, id rollout.CampaignID, host rollout.HostID) (*rollout.BeforeImage, error)
}

// Queue hands out jobs until ctx ends, then waits for those in flight. A job
// whose do answers an error is handed out again when the queue is next worked.
type Queue interface {
	Work(ctx context.Context, zones []rollout.Zone, parallel int, do func(context.Context, rollout.Job) error) error
}

// Config is what an engine needs. What may be left out says so.
type Config struct {
	Plan     *rollout.Plan
	Store    Store
	Queue    Queue
	Machines Machines
	Issuer   Issuer // nil where no host's route is relay
	Actor    string // who runs it: goes into every event
	// State is Plan's campaign as far as it was replayed; nil: from the beginning. It is the engine's from New until Run
	// has returned, and tells then how the campaign stands. A state of another copy of the plan works, and costs the
	// plan's hash at every decision.
	State    *rollout.State
	Zones    []rollout.Zone
	Parallel int           // jobs at once in this process
	StepTime time.Duration // of one step, after which its result is unknown
	Now      func() time.Time
	Log      *slog.Logger
	// Observer, where there is one, is told of every event once it is durable and applied. It must not block.
	Observer func(rollout.Event)
	// Seen, where there is one, is told what a host looked like at the end of each action.
	Seen func(context.Context, rollout.Host, rollout.Observation)
	// Directory is asked at the beginning, and then each CompareEvery if that is not 0, who was added or is gone. Nil: nobody is.
	Directory    Directory
	CompareEvery time.Duration
	// Stay keeps the engine running while hosts only wait for something else.
	Stay bool
	// Gate is asked before something begins; nil: nobody is.
	Gate Gate
	// Passing tells errors of the store that pass, such as a server that restarts. Nil: none does.
	Passing func(error) bool
}

// Engine runs one campaign.
type Engine struct {
	Config

	mu      sync.Mutex // guards what follows, up to snapped
	state   *rollout.State
	inbox   map[int64]rollout.Event // written, not yet applied: an earlier one is missing
	writing int                     // records of this process on their way to the store
	put     int                     // how often in a row catchUp left it to them
	last    rollout.Event           // applied
	granted grants
	snapped int64 // Seq of the state that was last kept

	// What follows, up to cut, is of the goroutine that coordinates alone.
	thought time.Duration // that the last decision took
	asking  bool          // the gate; see inquire
	cut     bool          // the journal could not be reached the last time

	answered chan error     // what came of a round of questions
	asks     sync.WaitGroup // rounds of questions under way

	index  sync.Once // makes byHost
	byHost map[rollout.HostID]int

	kick    chan struct{} // something was recorded: decide again
	failing sync.Once     // sets fail
	fail    func(error)
}

// Ending is how a run of the engine came to its end.
type Ending struct {
	Over bool   // the campaign has finished
	Hold string // else: what it waits for
}

// New is an engine that has not begun.
func New(cfg Config) *Engine {
	state := cfg.State
	if state == nil {
		state = rollout.NewState(cfg.Plan)
	}
	return &Engine{Config: cfg, state: state, snapped: state.Seq, inbox: map[int64]rollout.Event{},
		granted:  grants{waves: map[int]bool{}, removals: map[rollout.HostID]bool{}},
		answered: make(chan error, 1), kick: make(chan struct{}, 1)}
}

// Run works on the campaign until it is over, waits for a person or for
// something outside, or ctx ends. When ctx ends, nothing new is begun, steps in
// flight are finished, and the next Run goes on from there.
func (e *Engine) Run(ctx context.Context) (Ending, error) {
	if err := e.catchUp(ctx); err != nil {
		return Ending{}, err
	}
	if err := e.record(ctx, rollout.Event{Kind: rollout.EvStarted}); err != nil {
		return Ending{}, err
	}
	if e.Directory != nil {
		if err := e.compare(ctx); err != nil {
			return Ending{}, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e.fail = cancel
	var ending Ending
	var g errgroup.Group
	g.Go(func() error { return e.Queue.Work(ctx, e.Zones, e.Parallel, e.work) })
	g.Go(func() error {
		err := e.follow(ctx)
		if err != nil {
			cancel(err)
		}
		return err
	})
	g.Go(func() error {
		var err error
		if ending, err = e.coordinate(ctx); err != nil {
			cancel(err)
		} else {
			cancel(errDone)
		}
		return err
	})
	err := g.Wait()
	e.asks.Wait() // their context has ended
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, errDone) && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	last := context.WithoutCancel(ctx)
	if err == nil {
		err = e.record(last, rollout.Event{Kind: rollout.EvStopped, Detail: ending.Hold})
	}
	return ending, err
}

var errDone = errors.New("the campaign needs no worker now")

// coordinate decides again and again: when something happened, when a time has
// come, and now and then because another process may have spoken.
func (e *Engine) coordinate(ctx context.Context) (Ending, error) {
	const look = 500 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	reached := true // since the last sweep: while it was not, nobody could give a sign of life
	for {
		var err error
		select {
		case <-ctx.Done():
			return e.ending(), nil
		case <-e.kick:
		case <-timer.C:
		case err = <-e.answered:
			e.asking = false
		case <-sweep.C:
			if err = e.sameJournal(ctx); err == nil && reached {
				err = e.sweep(ctx)
			}
			reached = true
		}
		var d rollout.Decision
		if err == nil {
			d, err = e.turn(ctx)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return e.ending(), nil
		case err != nil && e.passes(err):
			e.cutOff(err)
			reached = false
			timer.Reset(2 * look)
			continue
		case err != nil:
			return Ending{}, err
		}
		e.cutOff(nil)
		if d.Over || (d.Idle && !e.Stay) {
			return Ending{Over: d.Over, Hold: d.Hold}, nil
		}
		// A large campaign takes long to decide upon, and something happens all the time: what happens meanwhile is
		// decided upon together, and deciding takes a tenth of one processor at most.
		pause(ctx, min(9*e.thought, look/2))
		wait := look
		if !d.Wake.IsZero() {
			wait = min(wait, max(d.Wake.Sub(e.Now()), time.Millisecond))
		}
		timer.Reset(wait)
	}
}

// turn is once around: the journal is looked at where it had been out of reach, what follows is decided, and the state
// kept now and then.
func (e *Engine) turn(ctx context.Context) (rollout.Decision, error) {
	if e.cut {
		if err := e.sameJournal(ctx); err != nil {
			return rollout.Decision{}, err
		}
	}
	d, err := e.tick(ctx)
	if err != nil {
		return d, err
	}
	return d, e.snap(ctx)
}

func (e *Engine) ending() Ending {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.state.InFlight()
	if n == 0 {
		return Ending{Hold: "stopped; nothing is in flight"}
	}
	var names []string
	for id, h := range e.state.Hosts {
		if h.Running != "" {
			names = append(names, string(id))
		}
	}
	slices.Sort(names)
	which := strings.Join(names[:min(3, len(names))], ", ")
	if more := len(names) - 3; more > 0 {
		which += fmt.Sprintf(" and %d more", more)
	}
	return Ending{Hold: "stopped in the middle of " + which + "; the next run inspects them first"}
}

// tick makes one decision and records it. It repeats while decisions follow
// from one another without anybody acting, such as a wave that passes and the next that opens.
func (e *Engine) tick(ctx context.Context) (rollout.Decision, error) {
	for {
		if err := e.catchUp(ctx); err != nil {
			return rollout.Decision{}, err
		}
		d, asks, settled, err := e.decide(ctx)
		if err == nil && len(asks) > 0 {
			e.inquire(ctx, asks)
		}
		if err != nil || settled {
			return d, err
		}
	}
}

// decide records one decision, without that of which a gate has to be asked first. It answers true when there is nothing
// more to decide now.
func (e *Engine) decide(ctx context.Context) (rollout.Decision, []Question, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, version, err := e.Store.Position(ctx, e.Plan.ID)
	if err != nil {
		return rollout.Decision{}, nil, false, err
	}
	if version > e.state.Seq {
		return rollout.Decision{}, nil, false, nil // somebody spoke meanwhile: look again
	}
	begun := time.Now() // not the campaign's clock: this is about the processor
	d := rollout.Decide(e.Plan, e.state, e.Now())
	e.thought = time.Since(begun)
	if len(d.Events) == 0 && len(d.Actions) == 0 {
		return d, nil, true, nil
	}
	asks := e.questions(d)
	free := e.free(d)
	if len(free.Events) == 0 && len(free.Actions) == 0 {
		return d, asks, true, nil
	}
	if err := e.follows(ctx, e.last); err != nil {
		return d, nil, false, err
	}
	events, jobs := e.translate(free)
	written, ok, err := e.Store.Decide(ctx, e.Plan.ID, version, events, jobs)
	if err == nil {
		err = e.forked(written, e.state.Seq)
	}
	if err != nil || !ok {
		return d, asks, false, err
	}
	e.take(written)
	return d, asks, false, nil
}

func (e *Engine) translate(d rollout.Decision) ([]rollout.Event, []rollout.Job) {
	events := make([]rollout.Event, 0, len(d.Events)+len(d.Actions))
	for _, ev := range d.Events {
		ev.Actor = e.Actor
		events = append(events, ev)
	}
	jobs := make([]rollout.Job, 0, len(d.Actions))
	for _, a := range d.Actions {
		events = append(events, rollout.Event{Campaign: e.Plan.ID, At: e.Now(), Actor: e.Actor, Kind: rollout.EvAction,
			Wave: a.Wave, Host: a.Host, Action: a.Kind, Attempt: a.Attempt, Detail: a.Why})
		ph, _ := e.planned(a.Host)
		jobs = append(jobs, rollout.Job{Campaign: e.Plan.ID, Host: a.Host, Attempt: a.Attempt, Zone: ph.Host.Zone})
	}
	return events, jobs
}

// catchUp applies what others have written since. Where nobody has spoken on the campaign itself and this process is
// about to apply events of its own, what is missing is most probably those: they are read back only if they stay
// missing, because hundreds of hosts write at once and reading all of it twice costs more than the decisions do.
func (e *Engine) catchUp(ctx context.Context) error {
	before := e.applied()
	seq, version, err := e.Store.Position(ctx, e.Plan.ID)
	switch {
	case err != nil:
		return err
	case seq < before:
		return &ForkError{e.Plan.ID, before}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if seq <= e.state.Seq {
		e.put = 0
		return nil
	}
	const patience = 8
	if e.writing > 0 && version <= e.state.Seq && e.put < patience {
		e.put++
		return nil
	}
	e.put = 0
	last := e.last
	for ev, err := range e.Store.Events(ctx, e.Plan.ID, max(last.Seq-1, 0)) { // from the last that is known, to see that it is there still
		switch {
		case err != nil:
			return err
		case ev.Seq == last.Seq && !same(ev, last):
			return &ForkError{e.Plan.ID, last.Seq}
		}
		e.take([]rollout.Event{ev})
	}
	return nil
}

// take applies written events in the order of the journal. Callers hold mu.
func (e *Engine) take(events []rollout.Event) {
	for _, ev := range events {
		if ev.Seq > e.state.Seq {
			e.inbox[ev.Seq] = ev
		}
	}
	for {
		ev, ok := e.inbox[e.state.Seq+1]
		if !ok {
			return
		}
		delete(e.inbox, ev.Seq)
		e.state.Apply(ev)
		e.last, e.last.Data = ev, nil
		if e.Observer != nil {
			e.Observer(ev)
		}
	}
}

// record writes events durably and applies them.
func (e *Engine) record(ctx context.Context, events ...rollout.Event) error {
	now := e.Now()
	for i := range events {
		events[i].Campaign, events[i].Actor = e.Plan.ID, e.Actor
		if events[i].At.IsZero() {
			events[i].At = now
		}
	}
	e.mu.Lock()
	e.writing++
	before := e.state.Seq
	e.mu.Unlock()
	written, err := e.Store.Append(ctx, events...)
	e.mu.Lock()
	e.writing--
	if err == nil {
		err = e.forked(written, before)
	}
	if err == nil {
		e.take(written)
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case e.kick <- struct{}{}:
	default:
	}
	return nil
}

// View is the campaign as it stands.
func (e *Engine) View() rollout.View {
	e.mu.Lock()
	defer e.mu.Unlock()
	return rollout.NewView(e.Plan, e.state, e.Now())
}
