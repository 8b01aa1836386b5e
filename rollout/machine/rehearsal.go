package machine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wavelock/rollout"
)

// rehearsalTime is how long the host's scheduler has for a task that it has to start at once.
const rehearsalTime = 20 * time.Second

// rehearsalXML is a task that the scheduler starts as it is to start the undo: because it was registered. It does nothing.
func rehearsalXML() string {
	return taskXML("Shows that the scheduler starts tasks", `<RegistrationTrigger><Enabled>true</Enabled></RegistrationTrigger>`,
		action{system32 + "cmd.exe", "/d /c exit 0"})
}

// rehearse has the host's scheduler start a task before anybody relies on it: one that takes tasks and does not start
// them would leave the host without a way back. Once for an action is enough.
func (m *Machine) rehearse(ctx context.Context, d *door, step rollout.Step) error {
	if m.rehearsed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(rehearsalTime, m.cfg.Timeout))
	defer cancel()
	if err := registerTask(ctx, d.session, rehearsalTask, rehearsalXML()); err != nil {
		return err
	}
	defer m.dropTask(context.WithoutCancel(ctx), d.session, rehearsalTask)
	began := m.cfg.Now()
	if _, err := awaitTask(ctx, d.session, rehearsalTask); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return m.fail(step.Kind, rollout.ReasonUndoNotArmed,
				fmt.Errorf("the task scheduler took a task and did not run it within %v: it would not run the undo either", m.cfg.Now().Sub(began).Round(time.Second)))
		}
		return err
	}
	m.rehearsed = true
	return nil
}
