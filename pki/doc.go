// Package pki answers two questions: which certificate should this machine
// hold, and is this one it? It is pure: no network, no files, no clock.
//
// It does not fetch revocation lists, does not talk to a CA and never sees a
// private key; drivers beneath it do the first two, and nothing does the third.
package pki
