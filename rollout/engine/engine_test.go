package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
)

// memory is a journal and a queue without a disk. Its rules are the real ones:
// compare-and-swap on decisions, jobs only together with their events.
type memory struct {
	mu      sync.Mutex
	events  []rollout.Event
	version int64
	images  map[rollout.HostID]*rollout.BeforeImage
	jobs    chan rollout.Job
	broken  error // what Append answers from now on
}

func newMemory() *memory {
	return &memory{images: map[rollout.HostID]*rollout.BeforeImage{}, jobs: make(chan rollout.Job, 10000)}
}

func (m *memory) add(events []rollout.Event) []rollout.Event {
	out := make([]rollout.Event, 0, len(events))
	for _, e := range events {
		e.Seq = int64(len(m.events) + 1)
		m.events = append(m.events, e)
		out = append(out, e)
		if e.Kind == rollout.EvStepOpen && e.Step == rollout.StepSaveImage {
			var r rollout.Result
			if json.Unmarshal(e.Data, &r) == nil {
				m.images[e.Host] = r.Image
			}
		}
	}
	return out
}

func (m *memory) Append(_ context.Context, events ...rollout.Event) ([]rollout.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, m.broken
	}
	out := m.add(events)
	for _, e := range out {
		if e.Host == "" {
			m.version = e.Seq
		}
	}
	return out, nil
}

func (m *memory) Decide(_ context.Context, _ rollout.CampaignID, version int64, events []rollout.Event, jobs []rollout.Job) ([]rollout.Event, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, false, m.broken
	}
	if version != m.version {
		return nil, false, nil
	}
	out := m.add(events)
	m.version = out[len(out)-1].Seq
	for _, j := range jobs {
		m.jobs <- j
	}
	return out, true, nil
}

func (m *memory) Events(_ context.Context, _ rollout.CampaignID, after int64) iter.Seq2[rollout.Event, error] {
	m.mu.Lock()
	events := append([]rollout.Event(nil), m.events...)
	m.mu.Unlock()
	return func(yield func(rollout.Event, error) bool) {
		for _, e := range events {
			if e.Seq > after && !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memory) Position(context.Context, rollout.CampaignID) (int64, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.events)), m.version, nil
}

func (m *memory) Image(_ context.Context, _ rollout.CampaignID, h rollout.HostID) (*rollout.BeforeImage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.images[h], nil
}

func (m *memory) Work(ctx context.Context, _ []rollout.Zone, parallel int, do func(context.Context, rollout.Job) error) error {
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case j := <-m.jobs:
					if do(ctx, j) != nil {
						m.jobs <- j // given back, for the next Work
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return nil
}

var (
	_ Store = (*memory)(nil)
	_ Queue = (*memory)(nil)
)

// world is a fleet of hosts that obey the rules of Windows as far as the
// procedure is concerned. It watches the invariants itself.
type world struct {
	t     *testing.T
	now   func() time.Time
	mu    sync.Mutex
	hosts map[rollout.HostID]*winHost
	store *memory
}

type winHost struct {
	http, https, cert, rule, armed, image, off bool
	mark                                       string // of the undo
	broken                                     map[rollout.StepKind]*rollout.Failure
	steps                                      []rollout.StepKind
	during                                     func(rollout.StepKind)
}

const thumb = pki.Thumbprint("00112233445566778899AABBCCDDEEFF00112233")

func (w *world) Open(_ context.Context, h rollout.Host) (Machine, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &fakeMachine{w, h, w.hosts[h.ID]}, nil
}

type fakeMachine struct {
	w  *world
	id rollout.Host
	h  *winHost
}

func (*fakeMachine) Close() error { return nil }

func (m *fakeMachine) Do(_ context.Context, s rollout.Step) (rollout.Result, error) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.h.steps = append(m.h.steps, s.Kind)
	m.w.watch(m.id.ID, s.Kind)
	if m.h.during != nil {
		m.h.during(s.Kind)
	}
	if m.h.off {
		return rollout.Result{Seen: &rollout.Observation{Host: m.id.ID, At: m.w.now(), HTTP: door(false), HTTPS: door(false)}}, nil
	}
	if f := m.h.broken[s.Kind]; f != nil {
		return rollout.Result{}, f
	}
	switch s.Kind {
	case rollout.StepSaveImage:
		m.h.image = true
	case rollout.StepEnroll:
		m.h.cert = true
	case rollout.StepListen:
		m.h.https = true
	case rollout.StepAllow:
		m.h.rule = true
	case rollout.StepArm:
		m.h.armed, m.h.mark = true, s.Mark
	case rollout.StepRemoveHTTP:
		if !m.h.armed || m.h.mark != s.Mark || !m.h.image || !m.h.https {
			m.w.t.Errorf("HTTP of %s is removed with armed=%v image=%v https=%v", m.id.ID, m.h.armed, m.h.image, m.h.https)
		}
		m.h.http = false
	case rollout.StepDisarm:
		m.h.armed = false
	case rollout.StepRestore:
		m.h.http, m.h.https, m.h.rule, m.h.armed, m.h.image = true, false, false, false, false
	case rollout.StepProve, rollout.StepProveClosed:
		return rollout.Result{Proof: &rollout.Proof{At: m.w.now(), Wire: thumb, Listener: thumb, Bound: thumb, Issued: thumb, Closed: s.Kind == rollout.StepProveClosed}}, nil
	}
	o := m.h.observe(m.id, m.w.now())
	return rollout.Result{Seen: &o}, nil
}

// watch is the test's own book: what is done was journalled before.
func (w *world) watch(id rollout.HostID, k rollout.StepKind) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for i := len(w.store.events) - 1; i >= 0; i-- {
		if e := w.store.events[i]; e.Host == id && e.Kind == rollout.EvStepOpen {
			if e.Step == k {
				return
			}
			break
		}
	}
	w.t.Errorf("%s was done on %s without an event that precedes it", k, id)
}

func (h *winHost) observe(id rollout.Host, now time.Time) rollout.Observation {
	o := rollout.Observation{Host: id.ID, At: now, Via: rollout.HTTP,
		HTTP: door(h.http), HTTPS: door(h.https),
		Identity: rollout.Saw(rollout.Identity{FQDN: string(id.ID), Domain: id.Domain, PartOfDomain: true}),
		Service:  rollout.Saw(rollout.Service{IPv4Filter: "*", IPv6Filter: "*"}),
		Undo:     rollout.Saw(rollout.Undo{Armed: h.armed, Task: h.armed, Campaign: "spring", Mark: h.mark}),
		Services: rollout.Saw([]rollout.WindowsService{{Name: "Schedule", Running: true}, {Name: "mpssvc", Running: true}}), System: rollout.Saw(rollout.System{Build: 20348}),
		Policy: rollout.Saw(rollout.WinRMPolicy{}), Uses: rollout.Saw(rollout.Uses{}), Peers: rollout.Saw([]rollout.Peer(nil)), Image: rollout.Saw((*rollout.BeforeImage)(nil)),
		Listeners: rollout.Saw([]rollout.Listener(nil)), Bindings: rollout.Saw([]rollout.Binding(nil)),
		Certificates: rollout.Saw([]pki.Certificate(nil)),
	}
	if h.image {
		o.Image.Value = &rollout.BeforeImage{Host: id.ID, Listeners: []rollout.Listener{{Address: "*", Transport: rollout.HTTP, Port: 5985, Enabled: true}}}
	}
	fw := rollout.Firewall{Profiles: []rollout.FirewallProfile{{Name: "domain", Enabled: true, BlockIn: true, LocalMerge: true}}}
	if h.rule {
		fw.Rules = append(fw.Rules, rollout.FirewallRule{Name: "wavelock-https-5986", Allow: true, Active: true, Ports: []string{"5986"}})
	}
	o.Firewall = rollout.Saw(fw)
	if h.http {
		o.Listeners.Value = append(o.Listeners.Value, rollout.Listener{Address: "*", Transport: rollout.HTTP, Port: 5985, Enabled: true})
	}
	if h.https {
		o.Listeners.Value = append(o.Listeners.Value, rollout.Listener{Address: "*", Transport: rollout.HTTPS, Port: 5986, Enabled: true, Thumbprint: thumb})
		o.Bindings.Value = append(o.Bindings.Value, rollout.Binding{Endpoint: "0.0.0.0:5986", Thumbprint: thumb, AppID: rollout.WinRMAppID})
	}
	if h.cert {
		o.Certificates.Value = append(o.Certificates.Value, pki.Certificate{Thumbprint: thumb, CommonName: string(id.ID), DNSNames: []string{string(id.ID)},
			Issuer: "CN=CA", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(365 * 24 * time.Hour), ServerAuth: true, KeyBits: 2048, KeyAlgorithm: "RSA",
			Signature: "SHA256-RSA", HasKey: true})
	}
	return o
}

func door(open bool) rollout.Door {
	if open {
		return rollout.Door{State: rollout.DoorOpen}
	}
	return rollout.Door{State: rollout.DoorRefused}
}

// bundle is a campaign of n hosts in three waves over a fresh world.
type bundle struct {
	plan  *rollout.Plan
	store *memory
	world *world
}

func setup(t *testing.T, n int) *bundle {
	t.Helper()
	b := &bundle{store: newMemory()}
	b.world = &world{t: t, now: time.Now, hosts: map[rollout.HostID]*winHost{}, store: b.store}
	var subjects []rollout.Subject
	for i := range n {
		h := rollout.Host{ID: rollout.HostID(fmt.Sprintf("h%03d.corp.example", i)), Domain: "corp.example"}
		w := &winHost{http: true, broken: map[rollout.StepKind]*rollout.Failure{}}
		b.world.hosts[h.ID] = w
		subjects = append(subjects, rollout.Subject{Host: h, Observation: w.observe(h, time.Now())})
	}
	policy := rollout.DefaultPolicy()
	p := rollout.NewPlan(rollout.Intent{ID: "spring", Made: time.Now(), Goal: rollout.GoalClose, Seed: 1, Policy: policy, Waves: []rollout.WaveRule{
		{Name: "canary", Count: 1, InFlight: 1, Limit: 1}, {Name: "early", Percent: 20, InFlight: 3, Limit: 2}, {Name: "rest", InFlight: 5, Limit: 3}}}, subjects)
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	b.plan = &p
	if _, err := b.store.Append(t.Context(), rollout.Event{Kind: rollout.EvApproved, Detail: p.Hash(), Actor: "test", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bundle) engine() *Engine {
	return New(Config{Plan: b.plan, Store: b.store, Queue: b.store, Machines: b.world, Actor: "test", Parallel: 8, StepTime: time.Second,
		Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

func TestCampaignReachesItsGoal(t *testing.T) {
	t.Parallel()
	b := setup(t, 20)
	ending, err := b.engine().Run(t.Context())
	if err != nil || !ending.Over {
		t.Fatalf("ending %+v, %v", ending, err)
	}
	for id, h := range b.world.hosts {
		if h.http || !h.https || h.armed {
			t.Errorf("%s ends with http=%v https=%v armed=%v after %v", id, h.http, h.https, h.armed, h.steps)
		}
	}
}

func TestFailedWaveIsHaltedAndPutBack(t *testing.T) {
	t.Parallel()
	b := setup(t, 30)
	for _, id := range b.plan.Waves[1].Hosts[:2] {
		b.world.hosts[id].broken[rollout.StepProve] = &rollout.Failure{Host: id, Step: rollout.StepProve, Reason: rollout.ReasonThumbprintDiffers, Err: errors.New("another certificate")}
	}
	e := b.engine()
	ending, err := e.Run(t.Context())
	if err != nil || ending.Over {
		t.Fatalf("ending %+v, %v", ending, err)
	}
	if v := e.View(); v.Status != "halted" {
		t.Errorf("status %q, want halted", v.Status)
	}
	for _, id := range b.plan.Waves[1].Hosts[:2] {
		if h := b.world.hosts[id]; !h.http || h.https {
			t.Errorf("%s was not put back: %v", id, h.steps)
		}
	}
	for _, id := range b.plan.Waves[2].Hosts {
		if len(b.world.hosts[id].steps) > 0 {
			t.Errorf("%s of a later wave was touched: %v", id, b.world.hosts[id].steps)
		}
	}
}

func TestInterruptedRunGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, 10)
	for round := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		b.world.mu.Lock()
		for _, h := range b.world.hosts {
			h.during = func(rollout.StepKind) {
				if n++; n == 7 {
					cancel()
				}
			}
		}
		b.world.mu.Unlock()
		ending, err := b.engine().Run(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if ending.Over {
			t.Logf("over after %d interruptions", round)
			break
		}
	}
	for id, h := range b.world.hosts {
		if h.http || !h.https || h.armed {
			t.Errorf("%s ends with http=%v https=%v armed=%v", id, h.http, h.https, h.armed)
		}
	}
}

func TestNothingIsDoneThatCannotBeJournalled(t *testing.T) {
	t.Parallel()
	b := setup(t, 5)
	full := errors.New("disk full")
	b.world.hosts[b.plan.Waves[0].Hosts[0]].during = func(k rollout.StepKind) {
		if k == rollout.StepEnroll {
			b.store.mu.Lock()
			b.store.broken = full
			b.store.mu.Unlock()
		}
	}
	if _, err := b.engine().Run(t.Context()); !errors.Is(err, full) {
		t.Fatalf("run ended with %v, want the journal's error", err)
	}
	h := b.world.hosts[b.plan.Waves[0].Hosts[0]]
	if last := h.steps[len(h.steps)-1]; last != rollout.StepEnroll {
		t.Errorf("after the journal broke, %s was still done", last)
	}
}

func TestPauseByAnotherProcessStopsNewWork(t *testing.T) {
	t.Parallel()
	b := setup(t, 12)
	first := b.world.hosts[b.plan.Waves[0].Hosts[0]]
	first.during = func(k rollout.StepKind) {
		if k == rollout.StepArm {
			b.store.mu.Lock()
			b.store.add([]rollout.Event{{Kind: rollout.EvPaused, Actor: "ann", Detail: "freeze", At: time.Now()}})
			b.store.version = int64(len(b.store.events))
			b.store.mu.Unlock()
		}
	}
	e := b.engine()
	ending, err := e.Run(t.Context())
	if err != nil || ending.Over {
		t.Fatalf("ending %+v, %v", ending, err)
	}
	if first.http {
		t.Error("the host in flight was left half-way")
	}
	for _, w := range b.plan.Waves[1:] {
		for _, id := range w.Hosts {
			if len(b.world.hosts[id].steps) > 0 {
				t.Errorf("%s was begun while paused", id)
			}
		}
	}
}
