package main

import "testing"

// TestNobodyIsAskedAfterASignal: a signal that comes between a question's text and the wait for its answer would be heard
// by nobody, and the program would wait for ever.
func TestNobodyIsAskedAfterASignal(t *testing.T) {
	t.Parallel()
	back := 0
	var l lentTerminal
	if !l.ask(func() { back++ }) {
		t.Fatal("nobody can be asked")
	}
	l.answered()
	l.giveBack()
	if l.leave() {
		t.Error("the answered question is still open")
	}
	if l.ask(func() { back++ }) {
		t.Error("somebody is asked after the signal")
	}
	l.giveBack()
	if back != 1 {
		t.Errorf("the terminal was given back %d times", back)
	}

	l = lentTerminal{}
	l.ask(nil)
	if !l.leave() {
		t.Error("the signal does not end the question")
	}
}
