package machine_test

import (
	"net"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/machinetest"
)

// A listener on another port than the policy's has clients that nobody looked for: it is left alone, and still there.
func TestHTTPOnAnotherPortIsNotClosed(t *testing.T) {
	t.Parallel()
	b := secured(t)
	b.win.Registry(func(r *machinetest.Registry) {
		r.SetNum(`SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Listener\*+HTTP`, "Port", 8085)
	})
	b.win.Reboot()
	answers := func(port int) bool {
		c, err := net.DialTimeout("tcp", b.win.Address(port), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
	for deadline := time.Now().Add(10 * time.Second); !answers(8085) || !answers(5986); { // it is starting
		if time.Now().After(deadline) {
			t.Fatal("the computer does not come back")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if answers(5985) {
		t.Fatal("the simulated computer listens where no listener is")
	}
	end, steps, _ := b.do(rollout.ActClose)
	if end.Outcome != rollout.Refused || end.Reason != rollout.ReasonOddListener {
		t.Errorf("it ends %s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
	}
	if !answers(8085) {
		t.Error("8085 is closed")
	}
}
