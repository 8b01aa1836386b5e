package machine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wavelock/rollout"
)

// rehearsalTime is how long the host's scheduler has for a task that it has to start at once, and firstLook is when it is
// looked for the first time.
const (
	rehearsalTime = 20 * time.Second
	firstLook     = 200 * time.Millisecond
)

// patience is how long the scheduler has to start a task.
func (m *Machine) patience() time.Duration { return min(rehearsalTime, m.cfg.Timeout) }

// rehearsalXML is a task that the scheduler starts as it is to start the undo: because it was registered. It takes itself
// away, as the undo does, so its absence shows that it ran.
func rehearsalXML() string {
	return taskXML("Shows that the scheduler starts tasks", `<RegistrationTrigger><Enabled>true</Enabled></RegistrationTrigger>`,
		action{system32 + "schtasks.exe", "/delete /tn " + taskFolder + rehearsalTask + " /f"})
}

// rehearse has the host's scheduler start a task before anybody relies on it: one that takes tasks and does not start
// them would leave the host without a way back. Once for an action is enough. readArmed looks whether it did.
func (m *Machine) rehearse(ctx context.Context, d *door) error {
	if m.rehearsed {
		return nil
	}
	return registerTask(ctx, d.session, rehearsalTask, rehearsalXML())
}

// readArmed reads back the undo's task when the rehearsal has taken place. Where it does not, the undo would not either,
// and is taken away again: nothing was done yet that it would have to undo.
func (m *Machine) readArmed(ctx context.Context, d *door, step rollout.Step) (rollout.Undo, error) {
	if m.rehearsed {
		return readTask(ctx, d.session)
	}
	begun, last := m.cfg.Now(), time.NewTimer(m.patience())
	defer last.Stop()
	for wait := firstLook; ; wait = min(2*wait, 2*time.Second) {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) { // the step's time, where that is the shorter one
				return rollout.Undo{}, m.notStarted(ctx, d, step, m.cfg.Now().Sub(begun))
			}
			return rollout.Undo{}, fmt.Errorf("wait for the task %s: %w", rehearsalTask, context.Cause(ctx))
		case <-last.C:
			return rollout.Undo{}, m.notStarted(ctx, d, step, m.patience())
		case <-time.After(wait):
		}
		tasks, err := readTasks(ctx, d.session, undoTask, rehearsalTask)
		if err != nil {
			return rollout.Undo{}, err
		}
		if !tasks[rehearsalTask].Task {
			m.rehearsed = true
			return tasks[undoTask], nil
		}
	}
}

// notStarted takes both tasks away again.
func (m *Machine) notStarted(ctx context.Context, d *door, step rollout.Step, waited time.Duration) error {
	for _, name := range []string{undoTask, rehearsalTask} {
		m.dropTask(context.WithoutCancel(ctx), d.session, name)
	}
	return m.fail(step.Kind, rollout.ReasonUndoNotArmed,
		fmt.Errorf("the task scheduler took a task and did not run it within %v: it would not run the undo either", waited.Round(time.Second)))
}
