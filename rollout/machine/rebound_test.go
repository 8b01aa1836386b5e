package machine_test

import (
	"testing"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/machinetest"
)

// A service that changes no listener that is there has it deleted and made anew, and made as it was where that is refused.
// What would meet the next request as well, a full disk or a certificate that is not there, deletes nothing.
func TestAListenerThatCannotBeRebound(t *testing.T) {
	t.Parallel()
	nowhere := pki.Thumbprint("0123456789ABCDEF0123456789ABCDEF01234567")
	for name, tc := range map[string]struct {
		spoil func(b *bench)
		thumb pki.Thumbprint // empty: the one that it has
		fails bool
	}{
		"it is made anew":                  {func(b *bench) { b.meddle("refuse-put") }, "", false},
		"it is made as it was":             {func(b *bench) { b.meddle("refuse-put") }, nowhere, true},
		"a full disk deletes nothing":      {func(b *bench) { b.win.Set(machinetest.DiskFull) }, "", true},
		"no such certificate, no deletion": {func(*bench) {}, nowhere, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := shortLived(t)
			_, had := b.presented()
			tc.spoil(b)
			m := b.open()
			defer m.Close()
			if _, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepInspect}); err != nil {
				t.Fatal(err)
			}
			thumb := had
			if tc.thumb != "" {
				thumb = tc.thumb
			}
			_, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepListen, Thumbprint: thumb, Hostname: string(b.host.ID), Port: 5986})
			if (err != nil) != tc.fails {
				t.Errorf("listen: %v", err)
			}
			b.doors(true, true)
			if _, has := b.presented(); has != had {
				t.Errorf("%s is presented, it was %s", has.Short(), had.Short())
			}
		})
	}
}
