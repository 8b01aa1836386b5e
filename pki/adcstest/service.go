package adcstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"wavelock/ldapdisco/logon/logontest"
)

// Endpoint is where and as whom the CA is reached by [MS-ICPR].
type Endpoint struct {
	Host    *logontest.Host                   // the CA's computer: its names, its keytab, the domain's accounts
	Account func(user string) (Account, bool) // of CORP\user, from the directory; nil: accounts without a DNS name
	Address string                            // IPv4 address; 127.0.0.1 when empty
	Port    int                               // of the CA; a free one when 0
	Mapper  int                               // port of the endpoint mapper; a free one when 0
	Log     *slog.Logger                      // nil: nothing is logged
}

// Service is a CA that listens.
type Service struct {
	ca      *CA
	cfg     Endpoint
	passage net.Listener
	mapper  net.Listener
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Serve listens for CertServerRequest, with packet privacy and nothing less, and for the endpoint mapper, until Close.
func (ca *CA) Serve(cfg Endpoint) (*Service, error) {
	if cfg.Host == nil {
		return nil, errors.New("serve the CA: its computer is not named")
	}
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{ca: ca, cfg: cfg}
	s.ctx, s.stop = context.WithCancel(context.Background())
	var err error
	if s.passage, err = net.Listen("tcp4", net.JoinHostPort(cfg.Address, strconv.Itoa(cfg.Port))); err != nil {
		return nil, fmt.Errorf("serve the CA: %w", err)
	}
	if s.mapper, err = net.Listen("tcp4", net.JoinHostPort(cfg.Address, strconv.Itoa(cfg.Mapper))); err != nil {
		s.passage.Close()
		return nil, fmt.Errorf("serve the endpoint mapper: %w", err)
	}
	s.accept(s.passage, func() *association { return &association{service: s, speaks: passageInterface, sealed: true} })
	s.accept(s.mapper, func() *association { return &association{service: s, speaks: mapperInterface} })
	return s, nil
}

// Addr is the ip:port of the CA itself.
func (s *Service) Addr() netip.AddrPort { return addrOf(s.passage) }

// MapperAddr is the ip:port of the endpoint mapper.
func (s *Service) MapperAddr() netip.AddrPort { return addrOf(s.mapper) }

func addrOf(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

// Close stops listening and ends every connection.
func (s *Service) Close() error {
	s.stop()
	err := errors.Join(s.passage.Close(), s.mapper.Close())
	s.running.Wait()
	return err
}

func (s *Service) accept(l net.Listener, begin func() *association) {
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.running.Add(1)
			go func() {
				defer s.running.Done()
				defer c.Close()
				defer context.AfterFunc(s.ctx, func() { c.Close() })()
				if err := begin().serve(c); err != nil && !errors.Is(err, io.EOF) && s.ctx.Err() == nil {
					s.cfg.Log.Debug("connection to the CA", "from", c.RemoteAddr(), "err", err)
				}
			}()
		}
	}()
}

// account is who the connection's logon proved.
func (s *Service) account(user string) Account {
	if s.cfg.Account != nil {
		if a, ok := s.cfg.Account(user); ok {
			a.Name = user
			return a
		}
	}
	return Account{Name: user}
}

// pause holds an answer back for the fault Mute, until the other end gives up.
func pause(c net.Conn) error {
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	return io.EOF
}
