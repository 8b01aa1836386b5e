package machine

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

const (
	taskNamespace = "root/Microsoft/Windows/TaskScheduler"
	taskFolder    = `\wavelock\`
	undoTask      = "undo"
	enrollTask    = "enroll"
	rehearsalTask = "rehearsal"

	// LastTaskResult of a task without one, winerror.h: SCHED_S_TASK_RUNNING and SCHED_S_TASK_HAS_NOT_RUN.
	taskRunning   = 0x41301
	taskNotYetRun = 0x41303

	// State of MSFT_ScheduledTask.
	taskDisabled = "1"
	taskAtWork   = "4"
)

// action is an action of a task: an executable of the system and its arguments.
type action struct{ command, arguments string }

// taskXML writes a task that SYSTEM runs, [MS-TSCH] 2.5: in ASCII, without an
// encoding in its declaration, on batteries too, and without an end.
func taskXML(description, triggers string, actions ...action) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><RegistrationInfo><Description>` +
		description + `</Description></RegistrationInfo><Triggers>` + triggers + `</Triggers><Principals><Principal id="S"><UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel></Principal></Principals>` +
		`<Settings><MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy><DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries><StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>` +
		`<StartWhenAvailable>true</StartWhenAvailable><ExecutionTimeLimit>PT10M</ExecutionTimeLimit><Enabled>true</Enabled></Settings><Actions Context="S">`)
	for _, a := range actions {
		b.WriteString(`<Exec><Command>` + xmlText(a.command) + `</Command><Arguments>` + xmlText(a.arguments) + `</Arguments></Exec>`)
	}
	b.WriteString(`</Actions></Task>`)
	return b.String()
}

func xmlText(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}

const system32 = `%SystemRoot%\System32\`

// enrollXML is the one-shot request. The template's name comes from the
// directory: it is data, and nothing that could be syntax passes.
func enrollXML(template string) (string, error) {
	if err := plainArgument(template); err != nil || strings.HasPrefix(template, "-") || strings.ContainsAny(template, `/\`) {
		return "", fmt.Errorf("%q is no name of a certificate template", template)
	}
	return taskXML("Requests a machine certificate", "", action{system32 + "certreq.exe", "-enroll -machine -q " + template}), nil
}

func scheduler() wsman.Resource { return wsman.WMI(taskNamespace, "PS_ScheduledTask") }

func taskFields(name string, more ...wsman.Field) []wsman.Field {
	return append(more, wsman.Field{Name: "TaskName", Value: name}, wsman.Field{Name: "TaskPath", Value: taskFolder})
}

func registerTask(ctx context.Context, s *wsman.Session, name, text string) error {
	out, err := s.Invoke(ctx, scheduler(), "RegisterByXml", taskFields(name, wsman.Field{Name: "Force", Value: "true"}, wsman.Field{Name: "Xml", Value: text})...)
	return returned("register the task "+name, out, err)
}

func startTask(ctx context.Context, s *wsman.Session, name string) error {
	out, err := s.Invoke(ctx, scheduler(), "StartByPath", taskFields(name)...)
	return returned("start the task "+name, out, err)
}

func returned(doing string, out *wsman.Element, err error) error {
	if err != nil {
		return err
	}
	if code := out.Value("ReturnValue"); code != "0" {
		return fmt.Errorf("%s: the host answered %s", doing, code)
	}
	return nil
}

func taskResult(ctx context.Context, s *wsman.Session, name string) (uint32, error) {
	out, err := s.Invoke(ctx, scheduler(), "GetInfoByName", taskFields(name)...)
	if err != nil {
		return 0, err
	}
	text := out.At("cmdletOutput").Value("LastTaskResult")
	if text == "" { // the instance may be wrapped once more
		for _, c := range out.Children {
			for _, i := range c.Children {
				text += i.Value("LastTaskResult")
			}
		}
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read the result of the task %s: %q is no number", name, text)
	}
	return uint32(n), nil
}

func deleteTask(ctx context.Context, s *wsman.Session, name string) error {
	_, err := takeTask(ctx, s, name)
	return err
}

// takeTask deletes a task and tells whether it was there.
func takeTask(ctx context.Context, s *wsman.Session, name string) (found bool, err error) {
	err = s.Delete(ctx, wsman.WMI(taskNamespace, "MSFT_ScheduledTask", wsman.Selector{Name: "TaskName", Value: name}, wsman.Selector{Name: "TaskPath", Value: taskFolder}))
	var fault *wsman.Fault
	if errors.As(err, &fault) && fault.IsNotFound() {
		return false, nil
	}
	return err == nil, err
}

// dropTask deletes a one-shot task. One that stays is harmless: it has no trigger.
func (m *Machine) dropTask(ctx context.Context, s *wsman.Session, name string) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	if err := deleteTask(ctx, s, name); err != nil {
		m.cfg.Log.Warn("delete the task", "host", m.host.ID, "task", name, "err", err)
	}
}

// arm registers the undo, and reads back that it is there.
func (m *Machine) arm(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	line, err := armLine(step.Mark, step.Was, step.Kept, step.Back)
	if err != nil {
		return rollout.Result{}, err
	}
	d, err := m.any(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	if err := m.undoRests(ctx, d, step); err != nil {
		return rollout.Result{}, err
	}
	if err := m.rehearse(ctx, d); err != nil {
		return rollout.Result{}, err
	}
	if _, err := d.must(ctx, line); err != nil {
		if other := new(CommandError); errors.As(err, &other) { // the next look tells whether somebody else has armed one
			err = &rollout.Failure{Host: m.host.ID, Step: step.Kind, Reason: rollout.ReasonUndoNotArmed, Transient: true, Err: err}
		}
		return rollout.Result{}, err
	}
	task, err := m.undoText(step)
	if err != nil {
		return rollout.Result{}, err
	}
	if err := registerTask(ctx, d.session, undoTask, task); err != nil {
		return rollout.Result{}, err
	}
	u, err := m.readArmed(ctx, d, step)
	if err != nil {
		return rollout.Result{}, err
	}
	// The mark is read back by stillArmed, in the moment before it is counted on; that of a renewal is read here, too.
	u = marked(u, step.Mark)
	if step.Back != "" {
		have, err := readMark(ctx, d.session)
		if err != nil {
			return rollout.Result{}, err
		}
		u = marked(u, have)
	}
	m.seen.Undo = rollout.Saw(u)
	if !u.Active() || u.Mark != step.Mark {
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonUndoNotArmed, fmt.Errorf("read back: armed %v for %q, task %v, switched off %v", u.Armed, u.Mark, u.Task, u.Disabled))
	}
	return rollout.Result{Seen: &rollout.Observation{Undo: rollout.Saw(u)}}, nil
}

// undoText is the task of the undo: that of a renewal gives a certificate back, the other one HTTP.
func (m *Machine) undoText(step rollout.Step) (string, error) {
	if step.Back == "" {
		return undoXML(step.Mark, step.UndoAfter, m.cfg.HTTPPort), nil
	}
	if pki.ParseThumbprint(string(step.Back)) != step.Back { // it becomes part of a command line
		return "", m.fail(step.Kind, rollout.ReasonUndoNotArmed, fmt.Errorf("%q is no thumbprint", step.Back))
	}
	return rebindXML(step.Mark, step.UndoAfter, m.cfg.HTTPPort, m.cfg.HTTPSPort, step.Back, step.Kept), nil
}

// undoRests refuses to arm anew while an undo that has fired is at work: the last thing it does is to delete the task of
// its own name, and that would be the new one. The host is asked only where a task was seen.
func (m *Machine) undoRests(ctx context.Context, d *door, step rollout.Step) error {
	if m.seen.Undo.Known && !m.seen.Undo.Value.Task {
		return nil
	}
	u, err := readTask(ctx, d.session)
	if err == nil && u.Running {
		err = &rollout.Failure{Host: m.host.ID, Step: step.Kind, Reason: rollout.ReasonUndoNotArmed, Transient: true,
			Err: errors.New("an earlier undo has fired and is not through yet")}
	}
	return err
}

func readUndo(ctx context.Context, s *wsman.Session) (rollout.Undo, error) {
	u, err := readTask(ctx, s)
	if err != nil {
		return rollout.Undo{}, err
	}
	mark, err := readMark(ctx, s)
	return marked(u, mark), err
}

// marked is the task with the mark that is beside it.
func marked(u rollout.Undo, mark string) rollout.Undo {
	u.Armed, u.Mark, u.Campaign = mark != "", mark, rollout.MarkedBy(mark)
	return u
}

// readMark is the mark of the undo; empty when none was armed.
func readMark(ctx context.Context, s *wsman.Session) (string, error) {
	out, err := registry(ctx, s, "GetStringValue", undoKey, "armed")
	if err != nil {
		return "", err
	}
	return out.Value("sValue"), nil
}

// stillArmed asks the host for the undo in the moment before it is needed. Between the
// decision and here a worker may have been stopped for longer than the undo waits, and
// on the other side somebody may have disabled the task, or armed it for himself.
func (m *Machine) stillArmed(ctx context.Context, d *door, step rollout.Step) error {
	u, err := readUndo(ctx, d.session)
	if err != nil {
		return err
	}
	var why error
	switch {
	case u.Armed && u.Mark != step.Mark:
		why = fmt.Errorf("the undo is another one by now, armed by %q", u.Mark)
	case !u.Active() || u.Running:
		why = fmt.Errorf("the undo would not fire any more: armed %v, task %v, switched off %v, at work %v", u.Armed, u.Task, u.Disabled, u.Running)
	case !m.cfg.Now().Before(step.Until):
		why = fmt.Errorf("too late: the undo may fire soon, and this had to be begun by %s", step.Until.UTC().Format(time.DateTime))
	default:
		return nil
	}
	return &rollout.Failure{Host: m.host.ID, Step: step.Kind, Reason: rollout.ReasonUndoNotArmed, Transient: true, Err: why}
}

// disarm takes the undo away, over the session that proved HTTP to be gone or
// narrowed and over no other: an older one would prove nothing about now.
func (m *Machine) disarm(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	d := m.doors[rollout.HTTPS]
	if d == nil || m.confirmed == nil || d.session != m.confirmed {
		return rollout.Result{}, m.fail(step.Kind, rollout.ReasonUndoNotArmed, errors.New("the undo is disarmed only over the session that proved HTTP to be gone or narrowed"))
	}
	defer d.session.Pin(d.conn)()
	by, err := readMark(ctx, d.session)
	if err != nil {
		return rollout.Result{}, err
	}
	if by != "" && (by != step.Mark || rollout.MarkedBy(by) != step.Campaign) {
		task, err := readTask(ctx, d.session)
		if err != nil {
			return rollout.Result{}, err
		}
		if !task.Task { // it has fired long ago: only its mark is left
			return rollout.Result{Seen: &rollout.Observation{Undo: rollout.Saw(task)}}, dropUndoKey(ctx, d.session)
		}
		return rollout.Result{}, &rollout.Failure{Host: m.host.ID, Step: step.Kind, Reason: rollout.ReasonOtherCampaign, Transient: rollout.MarkedBy(by) == step.Campaign,
			Err: fmt.Errorf("the undo is armed by %q: it is not ours to take away", by)}
	}
	found, err := takeTask(ctx, d.session, undoTask)
	if err != nil {
		return rollout.Result{}, err
	}
	if !found { // it deletes itself when it has fired: what was proved before may not hold any more, and its mark stays to say so
		return rollout.Result{}, &rollout.Failure{Host: m.host.ID, Step: step.Kind, Reason: rollout.ReasonUndoFired, Transient: true,
			Err: errors.New("the task was not there any more: it fired, or somebody took it away; the host is looked at again")}
	}
	if err := dropUndoKey(ctx, d.session); err != nil {
		return rollout.Result{}, err
	}
	u, err := readTask(ctx, d.session)
	if err != nil {
		return rollout.Result{}, err
	}
	return rollout.Result{Seen: &rollout.Observation{Undo: rollout.Saw(u)}}, nil
}

// dropUndoKey deletes what the undo would have copied back. The registry deletes no key that has others below it, and
// one of the two listeners is there at most, beside HTTPS the one of the last resort.
func dropUndoKey(ctx context.Context, s *wsman.Session) error {
	drop := func(paths ...string) error {
		for _, path := range paths {
			if _, err := registry(ctx, s, "DeleteKey", undoKey+path, ""); err != nil {
				return err
			}
		}
		return nil
	}
	if drop(`\Listener\*+HTTP`, `\Listener`, "") == nil {
		return nil
	}
	return drop(`\Listener\*+HTTPS`, `\Listener`, lastResort+`\*+HTTP`, lastResort, "")
}

// putBack makes the host what the image says: first HTTP is opened to everybody, over
// whatever door is open, then its listener is there, whatever happens next; then what we
// added goes. After that, one part that fails keeps the others from nothing.
func (m *Machine) putBack(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	d, err := m.any(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	stays, err := m.openHTTP(ctx, d)
	if err != nil {
		return rollout.Result{}, err
	}
	if err := m.restoreHTTP(ctx, d, step.Image); err != nil {
		return rollout.Result{}, err
	}
	if stays { // it is in force again when the computer has restarted, and then HTTPS may be the only way in
		return rollout.Result{}, &rollout.Failure{Host: m.host.ID, Step: step.Kind, Reason: rollout.ReasonFirewallFailed, Transient: true,
			Err: fmt.Errorf("the rule %s is still there: HTTPS is left as it is until that is gone", rollout.BlockRule(m.cfg.HTTPPort))}
	}
	if _, was := had(step.Image, rollout.HTTP); was && d.session.Secure() { // the rest takes this door away
		if d, err = m.fresh(ctx, rollout.HTTP); err != nil {
			return rollout.Result{}, err
		}
	}
	errs := []error{m.restoreHTTPS(ctx, d, step.Image)}
	for _, task := range []string{undoTask, enrollTask, rehearsalTask} {
		errs = append(errs, deleteTask(ctx, d.session, task))
	}
	// The exit code of a rule or key that is not there is no error; what stays is seen by the next inspection.
	_, err = d.run(ctx, restoreLine(m.cfg.HTTPPort, m.cfg.HTTPSPort, step.KeepRule))
	return rollout.Result{}, errors.Join(append(errs, err)...)
}

// openHTTP deletes the rule of the brown-out, which may leave out another address than ours, and tells whether it stays.
func (m *Machine) openHTTP(ctx context.Context, d *door) (stays bool, err error) {
	if m.seen.Firewall.Known && !m.seen.Narrowed(m.cfg.HTTPPort) {
		return false, nil
	}
	res, err := d.run(ctx, widenLine(m.cfg.HTTPPort))
	if err != nil {
		return false, err
	}
	_, stays = ruleIn(res.Stdout)
	return stays, nil
}

func had(image *rollout.BeforeImage, t rollout.Transport) (rollout.Listener, bool) {
	for _, l := range image.Listeners {
		if l.Transport == t && l.Source == rollout.SourceLocal && l.Address == "*" {
			return l, true
		}
	}
	return rollout.Listener{}, false
}

func (m *Machine) restoreHTTP(ctx context.Context, d *door, image *rollout.BeforeImage) error {
	l, was := had(image, rollout.HTTP)
	if !was {
		return nil
	}
	_, err := d.session.Create(ctx, listenerOf(rollout.HTTP), wsman.NewElement("Listener",
		wsman.Field{Name: "Port", Value: strconv.Itoa(l.Port)}, wsman.Field{Name: "Enabled", Value: strconv.FormatBool(l.Enabled)},
		wsman.Field{Name: "URLPrefix", Value: l.URLPrefix}))
	var fault *wsman.Fault
	if errors.As(err, &fault) && fault.IsExists() {
		return nil
	}
	return err
}

func (m *Machine) restoreHTTPS(ctx context.Context, d *door, image *rollout.BeforeImage) error {
	l, was := had(image, rollout.HTTPS)
	same := func(o rollout.Listener) bool {
		return o.Transport == rollout.HTTPS && o.Address == "*" && o.Enabled == l.Enabled && o.Port == l.Port && o.Thumbprint == l.Thumbprint
	}
	if was && slices.ContainsFunc(m.seen.Listeners.Value, same) {
		return nil // nothing is written to what may be the only door
	}
	if was {
		return m.putListener(ctx, d, wsman.NewElement("Listener", wsman.Field{Name: "Port", Value: strconv.Itoa(l.Port)},
			wsman.Field{Name: "Hostname", Value: l.Hostname}, wsman.Field{Name: "Enabled", Value: strconv.FormatBool(l.Enabled)},
			wsman.Field{Name: "URLPrefix", Value: l.URLPrefix}, wsman.Field{Name: "CertificateThumbprint", Value: string(l.Thumbprint)}))
	}
	if d.session.Secure() {
		return errors.New("the HTTPS listener is not deleted over its own connection")
	}
	err := d.session.Delete(ctx, listenerOf(rollout.HTTPS))
	var fault *wsman.Fault
	if errors.As(err, &fault) && fault.IsNotFound() {
		return nil
	}
	return err
}
