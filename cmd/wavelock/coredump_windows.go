package main

// leaveNoCore has nothing to do: Go's runtime tells Windows to write no crash report, unless GOTRACEBACK=wer asks for one.
func leaveNoCore() {}
