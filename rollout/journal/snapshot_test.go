package journal

import (
	"errors"
	"reflect"
	"testing"

	"wavelock/rollout"
)

// lived is a campaign with some history.
func lived(t *testing.T) (*Journal, *rollout.State) {
	t.Helper()
	j := newJournal(t)
	p := create(t, j, "spring", 4)
	ok := rollout.NewApproval(&p, 0, "", "")
	ok.Campaign, ok.At, ok.Actor = "spring", noon, "ann"
	mustAppend(t, j, ok, action("spring", hostName(0), 1), step(rollout.EvStepOpen, "spring", hostName(0), 1, rollout.StepListen), settled("spring", hostName(0), 1, rollout.Failed),
		action("spring", hostName(1), 1))
	_, state, err := j.Replay(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	return j, state
}

func TestSnapshotAndTailAreTheWhole(t *testing.T) {
	t.Parallel()
	j, state := lived(t)
	body, err := state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	written, err := j.SaveSnapshot(t.Context(), "spring", noon, "ann", body)
	if err != nil || len(written) != 1 {
		t.Fatalf("%v, %v", written, err)
	}
	mustAppend(t, j, settled("spring", hostName(1), 1, rollout.Passed))
	if got, err := j.Snapshot(t.Context(), "spring"); err != nil || string(got) != string(body) {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	_, got, err := j.Replay(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := j.Plan(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	want := rollout.NewState(&plan)
	for _, e := range eventsOf(t, j, "spring", 0) {
		want.Apply(e)
	}
	a, errA := got.Snapshot()
	b, errB := want.Snapshot()
	if errA != nil || errB != nil || string(a) != string(b) || got.InFlight() != want.InFlight() || !reflect.DeepEqual(got.Waiting(), want.Waiting()) {
		t.Errorf("from the snapshot\n%s\nfrom the beginning\n%s", a, b)
	}
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
}

// TestForgedSnapshotIsNotBelieved: the state that somebody would like to have is not the one of the chain.
func TestForgedSnapshotIsNotBelieved(t *testing.T) {
	t.Parallel()
	j, state := lived(t)
	state.Approved, state.Failures = "another", 0
	body, err := state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.SaveSnapshot(t.Context(), "spring", noon, "ann", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	j.exec(t, "UPDATE snapshot SET body = "+map[bool]string{true: "$1", false: "?"}[j.db.shared()], body)
	var c *ChainError
	if _, err := j.Snapshot(t.Context(), "spring"); !errors.As(err, &c) {
		t.Errorf("got %v", err)
	}
	_, got, err := j.Replay(t.Context(), "spring")
	if err != nil || got.Approved == "another" || got.Failures != 1 {
		t.Errorf("replayed %+v, %v", got, err)
	}
}

func TestSnapshotThatCannotBeReadIsPassedOver(t *testing.T) {
	t.Parallel()
	j, _ := lived(t)
	if _, err := j.SaveSnapshot(t.Context(), "spring", noon, "ann", []byte(`{"version":99}`)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := j.Replay(t.Context(), "spring"); err != nil || got.InFlight() != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
