// Package pki answers two questions: which certificate should this machine
// hold, and is this one it? It is pure: no network, no files, no clock.
//
//	template ── CheckTemplate ── fit? dangerous?      before anything is asked for
//	request  ── CheckRequest ─── asks for no more?    relay only
//	answer   ── VerifyIssued ─── is it what was asked for?
//	store    ── Choose ───────── which of these?
//	wire     ── VerifyPresented ─ is it what everybody will trust?
//
// Everything that it reads was written by others: sizes are capped, no input
// makes it panic, and what it does not understand counts against the input.
//
// It does not fetch revocation lists, does not talk to a CA and never sees a
// private key; drivers beneath it do the first two, and nothing does the third.
package pki
