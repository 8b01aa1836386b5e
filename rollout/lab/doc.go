// Package lab is a whole simulated domain on loopback: a directory, an AD CS, a
// DNS server and any number of Windows computers, each on an address of its own.
// It composes the other test doubles and adds nothing of its own but the names.
//
// It is what wavelock demo and wavelock lab run on. Its keys and passwords are
// made anew at every start.
package lab
