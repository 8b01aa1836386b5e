package machinetest

import (
	"encoding/xml"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Results of a task, as LastTaskResult shows them, winerror.h: SCHED_S_TASK_RUNNING and SCHED_S_TASK_HAS_NOT_RUN.
const (
	resultRunning = 0x41301
	resultNotYet  = 0x41303
)

// What the scheduler has against a task, winerror.h.
const (
	errTaskExists   = 0x800700B7 // ERROR_ALREADY_EXISTS
	errInvalidValue = 0x80041318 // SCHED_E_INVALIDVALUE
	errMissingNode  = 0x80041319 // SCHED_E_MISSINGNODE
	errMalformedXML = 0x8004131A // SCHED_E_MALFORMEDXML
	errPastEnd      = 0x8004131E // SCHED_E_PAST_END_BOUNDARY
)

// task is a registered task.
type task struct {
	path   string // \folder\name
	text   string // as it was registered
	def    taskXML
	result uint32
	runs   int
	busy   bool // an instance runs
}

// taskXML is the part of [MS-TSCH] 2.5 that is obeyed here.
type taskXML struct {
	XMLName  xml.Name `xml:"http://schemas.microsoft.com/windows/2004/02/mit/task Task"`
	Triggers struct {
		Registration *trigger `xml:"RegistrationTrigger"`
		Boot         *trigger `xml:"BootTrigger"`
		Time         *trigger `xml:"TimeTrigger"`
	} `xml:"Triggers"`
	Principals struct {
		Principal struct {
			UserID string `xml:"UserId"`
		} `xml:"Principal"`
	} `xml:"Principals"`
	Settings struct {
		DisallowStartIfOnBatteries *bool  `xml:"DisallowStartIfOnBatteries"`
		StartWhenAvailable         bool   `xml:"StartWhenAvailable"`
		Enabled                    *bool  `xml:"Enabled"`
		DeleteExpiredTaskAfter     string `xml:"DeleteExpiredTaskAfter"`
	} `xml:"Settings"`
	Actions struct {
		Exec []struct {
			Command   string `xml:"Command"`
			Arguments string `xml:"Arguments"`
		} `xml:"Exec"`
	} `xml:"Actions"`
}

type trigger struct {
	Enabled       *bool  `xml:"Enabled"`
	Delay         string `xml:"Delay"`
	StartBoundary string `xml:"StartBoundary"`
	EndBoundary   string `xml:"EndBoundary"`
	Repetition    struct {
		Interval string `xml:"Interval"`
	} `xml:"Repetition"`
}

var isoDuration = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

func parseISO(s string) (time.Duration, bool) {
	if s == "" {
		return 0, true
	}
	m := isoDuration.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if n, err := strconv.ParseFloat(m[i+1], 64); err == nil {
			d += time.Duration(n * float64(unit))
		}
	}
	return d, true
}

// registerTask answers 0 or the HRESULT that Windows has for it.
func (h *Host) registerTask(path, text string, force bool) uint32 {
	if !strings.HasPrefix(path, `\`) {
		path = `\` + path
	}
	key := strings.ToLower(path)
	if h.tasks[key] != nil && !force {
		return errTaskExists
	}
	if strings.Contains(text, "encoding=") && strings.Contains(strings.ToLower(text[:min(len(text), 80)]), "utf-8") {
		return errMalformedXML // a string is UTF-16: the declaration contradicts it
	}
	var def taskXML
	if err := xml.Unmarshal([]byte(text), &def); err != nil {
		return errMalformedXML
	}
	for _, t := range []*trigger{def.Triggers.Registration, def.Triggers.Boot, def.Triggers.Time} {
		if code := h.judgeTrigger(t, t == def.Triggers.Time); code != 0 {
			return code
		}
	}
	if len(def.Actions.Exec) == 0 {
		return errMissingNode
	}
	t := &task{path: path, text: text, def: def, result: resultNotYet}
	h.tasks[key] = t
	if r := def.Triggers.Registration; r != nil {
		h.schedule(t, r, 0)
	}
	if tt := def.Triggers.Time; tt != nil {
		if start, _ := taskTime(tt.StartBoundary); start.After(h.now()) {
			h.schedule(t, tt, start.Sub(h.now()))
		}
	}
	return 0
}

// judgeTrigger has the codes of winerror.h for what a trigger may not be.
func (h *Host) judgeTrigger(t *trigger, timed bool) uint32 {
	if t == nil {
		return 0
	}
	_, ok1 := parseISO(t.Delay)
	_, ok2 := parseISO(t.Repetition.Interval)
	start, ok3 := taskTime(t.StartBoundary)
	end, ok4 := taskTime(t.EndBoundary)
	switch {
	case !ok1 || !ok2 || !ok3 || !ok4:
		return errInvalidValue
	case timed && start.IsZero():
		return errMissingNode
	case !end.IsZero() && end.Before(h.now()):
		return errPastEnd
	}
	return 0
}

// taskTime reads a time; without an offset it is the computer's own.
func taskTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// boot fires the task's boot trigger. The relative time of a registration
// trigger is lost with the restart.
func (h *Host) boot(t *task) {
	t.busy = false
	if b := t.def.Triggers.Boot; b != nil {
		h.schedule(t, b, 0)
	}
	tt := t.def.Triggers.Time
	if tt == nil {
		return
	}
	start, _ := taskTime(tt.StartBoundary)
	switch wait := start.Sub(h.now()); {
	case wait > 0:
		h.schedule(t, tt, wait)
	case t.runs == 0 && t.def.Settings.StartWhenAvailable: // a missed start is made up for, not at once
		h.schedule(t, tt, 10*time.Minute)
	}
}

// schedule lets the trigger fire, and again at its interval as long as the task is there.
func (h *Host) schedule(t *task, tr *trigger, wait time.Duration) {
	off := func(enabled *bool) bool { return enabled != nil && !*enabled }
	if h.has(TaskDead) || off(t.def.Settings.Enabled) || off(tr.Enabled) {
		return
	}
	delay, _ := parseISO(tr.Delay)
	interval, _ := parseISO(tr.Repetition.Interval)
	var fire func()
	fire = func() {
		end, _ := taskTime(tr.EndBoundary)
		if h.tasks[strings.ToLower(t.path)] != t || !end.IsZero() && h.now().After(end) {
			return // deleted, or past its end: it is never started again
		}
		if off(t.def.Settings.Enabled) {
			return
		}
		h.run(t)
		if interval > 0 && h.tasks[strings.ToLower(t.path)] == t {
			h.after(interval, fire)
		}
	}
	h.after(wait+delay, fire)
}

// startTask is a start on demand.
func (h *Host) startTask(path string) bool {
	t := h.tasks[strings.ToLower(path)]
	if t == nil {
		return false
	}
	if !h.has(TaskDead) { // else it stays what it was: a task that never ran
		t.result = resultRunning
		h.after(2*time.Millisecond, func() { h.run(t) })
	}
	return true
}

// run executes the actions one after the other, as SYSTEM. An action that fails
// does not keep the next from being started.
func (h *Host) run(t *task) {
	if stay := t.def.Settings.DisallowStartIfOnBatteries; h.has(OnBattery) && (stay == nil || *stay) {
		return // the default is not to start
	}
	if t.busy {
		return // MultipleInstancesPolicy IgnoreNew
	}
	t.runs++
	h.cfg.Log.Debug("task runs", "host", h.cfg.FQDN, "task", t.path)
	t.busy = true
	h.atWork++
	h.perform(t, 0, 0)
}

// perform executes the actions from the i-th on; code is what the one before ended with. Deleting or replacing the task does not end its instance.
func (h *Host) perform(t *task, i, code int) {
	for ; i < len(t.def.Actions.Exec); i++ {
		if h.endAfter > 0 && i == h.endAfter {
			delete(h.tasks, strings.ToLower(t.path))
			break
		}
		a := t.def.Actions.Exec[i]
		code = h.system(a.Command, a.Arguments)
		if h.actionTime > 0 {
			t.result = resultRunning
			h.after(h.actionTime, func() { h.perform(t, i+1, code) })
			return
		}
	}
	t.busy, t.result = false, uint32(code)
	h.atWork--
}

// TaskRuns is how often a task was started that is registered; 0 when there is none of that path.
func (h *Host) TaskRuns(path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.tasks[strings.ToLower(path)]; t != nil {
		return t.runs
	}
	return 0
}

// TasksAtWork is how many instances of tasks run, also of those that were deleted or replaced since.
func (h *Host) TasksAtWork() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.atWork
}

// EndTasksAfter has somebody delete every task from now on when so many of its actions are done; no further one is begun.
func (h *Host) EndTasksAfter(actions int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endAfter = actions
}

// ActionsTake gives every action of a task this time from now on; else they are done at once.
func (h *Host) ActionsTake(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.actionTime = d
}

func (h *Host) removeTask(path string) bool {
	key := strings.ToLower(path)
	if !strings.HasPrefix(key, `\`) {
		key = `\` + key
	}
	if h.tasks[key] == nil {
		return false
	}
	h.writes.Add(1)
	delete(h.tasks, key)
	return true
}
