package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrMissing says that there is no PostgreSQL on this computer.
var ErrMissing = errors.New("there are no postgres and initdb on the path or below /usr/lib/postgresql")

// Server is a running server.
type Server struct {
	dir  string
	port int
	cmd  *exec.Cmd
	log  bytes.Buffer
	made atomic.Int64
	done chan struct{} // closed when the process has ended
	door []string      // settings for connections from elsewhere
	user *url.Userinfo // who logs in
}

// New makes a cluster and starts its server.
func New(ctx context.Context) (*Server, error) {
	initdb, err := binary("initdb")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgrestest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, user: url.User("wavelock")}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	c := exec.CommandContext(ctx, initdb, "--no-sync", "--auth=trust", "--username=wavelock", "--encoding=UTF8", "--locale=C", data)
	c.Dir = dir
	if err := asServer(c, dir, data); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if out, err := c.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), s.Close())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Here reports whether this computer has a PostgreSQL.
func Here() bool {
	_, err := binary("postgres")
	return err == nil
}

// binary is where a program of PostgreSQL is.
func binary(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return "", ErrMissing
	}
	return slices.Max(found), nil
}

// Start starts the server, also again after Stop, on the same port.
func (s *Server) Start(ctx context.Context) error {
	postgres, err := binary("postgres")
	if err != nil {
		return err
	}
	// Without fsync: tests kill processes of ours, not the computer.
	args := []string{"-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=300", "-c", "shared_buffers=32MB"}
	s.cmd = exec.Command(postgres, append(args, s.door...)...) // the last of two settings counts
	s.cmd.Dir, s.cmd.Stderr = s.dir, &s.log
	if err := asServer(s.cmd, s.dir); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	s.done = done
	go func() { _ = s.cmd.Wait(); close(done) }() // how it ended is in its log
	for deadline := time.Now().Add(60 * time.Second); ; {
		conn, err := pgx.Connect(ctx, s.Address("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-done:
			return fmt.Errorf("postgres ended: %s", s.log.String())
		case <-time.After(30 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("postgres does not answer: %w", err)
		}
	}
}

// Stop stops the server as an administrator in a hurry does: connections are cut, transactions rolled back.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	<-s.done
	return nil
}

// Close stops the server and removes its data.
func (s *Server) Close() error {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.Stop() // it may have ended already
	}
	return os.RemoveAll(s.dir)
}

// Address is where a database of the server is, with the password that it asks for, if it does.
func (s *Server) Address(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", s.user, s.port, database)
}

// DemandPassword restarts the server so that nobody gets in without this password from here on (SCRAM-SHA-256).
func (s *Server) DemandPassword(ctx context.Context, password string) error {
	conn, err := pgx.Connect(ctx, s.Address("postgres"))
	if err != nil {
		return err
	}
	quoted, err := conn.PgConn().EscapeString(password)
	if err == nil {
		_, err = conn.Exec(ctx, "ALTER ROLE wavelock PASSWORD '"+quoted+"'")
	}
	if err := errors.Join(err, conn.Close(ctx), s.Stop()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "data", "pg_hba.conf"), []byte("host all all 127.0.0.1/32 scram-sha-256\n"), 0o600); err != nil {
		return err
	}
	s.user = url.UserPassword("wavelock", password)
	return s.Start(ctx)
}

// Data is the folder of the server's files. Its log is not among them.
func (s *Server) Data() string { return filepath.Join(s.dir, "data") }

// Create makes a database, empty or as another one is, and answers its address.
func (s *Server) Create(ctx context.Context, template string) (string, error) {
	conn, err := pgx.Connect(ctx, s.Address("postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	name := fmt.Sprintf("test%d", s.made.Add(1))
	query := "CREATE DATABASE " + name
	if template != "" {
		query += " TEMPLATE " + template
	}
	if _, err := conn.Exec(ctx, query); err != nil {
		return "", err
	}
	return s.Address(name), nil
}
