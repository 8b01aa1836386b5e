// Package postgrestest runs a PostgreSQL server for tests, from the binaries of the system: those on the path, or
// Debian's below /usr/lib/postgresql. It listens on loopback and keeps its data in a folder that it removes.
package postgrestest
