package engine

import (
	"errors"
	"testing"
	"time"

	"wavelock/rollout"
)

// A standby that lacked the last events takes over, and somebody pauses the campaign there. The pause has a number that
// this engine has seen already: it must not be taken for an event that was applied.
func TestPauseAfterALossyFailOver(t *testing.T) {
	t.Parallel()
	for name, also := range map[string]int{"fewer events than before": 0, "more": 9} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, 12)
			first := b.world.hosts[b.plan.Waves[0].Hosts[0]]
			lost := false
			first.during = func(k rollout.StepKind) {
				if k != rollout.StepArm || lost {
					return
				}
				lost = true
				b.store.mu.Lock()
				defer b.store.mu.Unlock()
				b.store.events = b.store.events[:len(b.store.events)-4]
				spoken := []rollout.Event{{Kind: rollout.EvPaused, Actor: "ann", Detail: "freeze", At: time.Now()}}
				for range also {
					spoken = append(spoken, rollout.Event{Kind: rollout.EvStarted, Actor: "another", At: time.Now()})
				}
				b.store.add(spoken)
				b.store.version = int64(len(b.store.events))
			}
			_, err := b.engine().Run(t.Context())
			var fork *ForkError
			if !errors.As(err, &fork) || fork.Hint() == "" {
				t.Errorf("it ends with %v", err)
			}
			for _, w := range b.plan.Waves[1:] {
				for _, id := range w.Hosts {
					if len(b.world.hosts[id].steps) > 0 {
						t.Errorf("%s was begun while the campaign was paused", id)
					}
				}
			}
		})
	}
}
