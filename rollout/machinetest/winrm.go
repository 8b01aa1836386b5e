package machinetest

import (
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

type signer = crypto.Signer

// listener is winrm/config/listener, read from the registry.
type listener struct {
	address, transport, hostname, prefix, thumb, source string
	port                                                int
	enabled                                             bool
}

// listeners are those that the registry holds.
func (h *Host) listeners() []listener {
	var list []listener
	for _, name := range h.reg.Keys(listenerKey) {
		address, transport, ok := strings.Cut(name, "+")
		if !ok {
			continue
		}
		path := listenerKey + `\` + name
		l := listener{address: address, transport: strings.ToUpper(transport), hostname: h.reg.Text(path, "hostname"),
			prefix: h.reg.Text(path, "uriprefix"), thumb: strings.ToUpper(h.reg.Text(path, "certThumbprint")), enabled: true}
		if n, ok := h.reg.Num(path, "Port"); ok {
			l.port = int(n)
		}
		if n, ok := h.reg.Num(path, "enabled"); ok {
			l.enabled = n != 0
		}
		if l.transport == "HTTP" && h.has(GPOListener) {
			l.source = "GPO"
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b listener) int { return strings.Compare(a.transport, b.transport) })
	return list
}

// reload makes the doors those of the registry, as a restart of the service does.
func (h *Host) reload() error {
	if h.closed || h.has(Off) || !h.running() {
		return nil
	}
	if n, ok := h.reg.Num(policyKey, "AllowAutoConfig"); ok && n == 1 && !h.reg.Exists(listenerKey+`\*+HTTP`) {
		h.reg.SetNum(listenerKey+`\*+HTTP`, "Port", uint32(h.cfg.HTTPPort))
		h.reg.SetText(listenerKey+`\*+HTTP`, "uriprefix", "wsman")
	}
	want := map[string]listener{}
	for _, l := range h.listeners() {
		if l.enabled {
			want[l.transport] = l
		}
	}
	for t, d := range h.doors {
		if l, keep := want[t]; !keep || d.port != h.portOf(l) {
			h.shutDoor(t, d)
		}
	}
	var errs []error
	for _, l := range want {
		if h.doors[l.transport] == nil {
			errs = append(errs, h.openDoor(l.transport, h.portOf(l)))
		}
	}
	if h.doors["HTTP"] != nil {
		h.cut = false
	}
	return errors.Join(errs...)
}

func (h *Host) port(transport string) int {
	if transport == "HTTPS" {
		return h.cfg.HTTPSPort
	}
	return h.cfg.HTTPPort
}

// portOf is the port that the listener names, or the usual one.
func (h *Host) portOf(l listener) int { return cmp.Or(l.port, h.port(l.transport)) }

// served is the connection's TLS certificate, for its channel binding.
type served struct{ der []byte }

// isShared reports whether only the other product is left on 5985.
func (h *Host) isShared() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shared != nil
}

// freePort closes what PortShared or PortOpenLie has left of 5985.
func (h *Host) freePort() {
	for _, left := range []**door{&h.shared, &h.lying} {
		if d := *left; d != nil {
			d.listener.Close()
			go d.server.Close() // see shutDoor
			*left = nil
		}
	}
}

func (h *Host) openDoor(transport string, port int) error {
	if transport == "HTTP" {
		h.freePort() // for the listener that is back, as http.sys shares it
	}
	l, err := net.Listen("tcp", net.JoinHostPort(h.cfg.Address, fmt.Sprint(port)))
	if err != nil {
		return fmt.Errorf("open %s of %s: %w", transport, h.cfg.FQDN, err)
	}
	d := &door{transport: transport, port: port, listener: &gate{l, h, transport, port}}
	d.server = &http.Server{Handler: http.HandlerFunc(h.serve), ErrorLog: quietLog, ReadHeaderTimeout: time.Minute,
		ConnContext: h.connContext(transport), ConnState: h.connState(port)}
	h.doors[transport] = d
	if transport == "HTTPS" {
		d.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: h.configFor, NextProtos: []string{"http/1.1"}}
		go func() { _ = d.server.ServeTLS(d.listener, "", "") }() // ends when the door is shut
		return nil
	}
	go func() { _ = d.server.Serve(d.listener) }() // ends when the door is shut
	return nil
}

// shutDoor closes the port and every connection through it.
func (h *Host) shutDoor(transport string, d *door) {
	delete(h.doors, transport)
	d.listener.Close()
	// Close waits for the accept loop, which may be waiting for the lock that we hold.
	go d.server.Close()
}

func (h *Host) shut() {
	for t, d := range h.doors {
		h.shutDoor(t, d)
	}
	h.freePort()
}

// gate lets through what the network and the firewall let through.
type gate struct {
	net.Listener
	h         *Host
	transport string
	port      int
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.h.admits(g.transport, g.port, c) {
			return c, nil
		}
		c.Close()
	}
}

func (h *Host) admits(transport string, port int, c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if transport == "HTTPS" && h.cut {
		return false
	}
	remote, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	if h.firewallAllows(port, remote) {
		return true
	}
	if port == h.port(transport) {
		port = map[string]int{"HTTP": 5985, "HTTPS": 5986}[transport] // which stands for the one of the tests
	}
	h.logDrop(port, c.RemoteAddr(), c.LocalAddr())
	return false
}

// configFor chooses the certificate as http.sys does: by the binding's hash.
func (h *Host) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	thumb := h.bound()
	if h.has(WrongCertificate) {
		if other, err := h.selfSigned(); err == nil {
			thumb = other
		}
	}
	blob, _ := h.reg.Get(myKey+`\`+thumb, "Blob")
	der, key := derOf(blob.Data), h.keys[thumb]
	if der == nil || key == nil {
		return nil, errors.New("no credentials")
	}
	if s, ok := hello.Context().Value(servedKey{}).(*served); ok {
		s.der = der
	}
	cert := tls.Certificate{Certificate: append([][]byte{der}, h.chain(der)...), PrivateKey: key}
	config := &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: h.cfg.Release.MaxTLS, CipherSuites: h.cfg.Release.Suites, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if h.asksForCertificate(hello) {
		config.ClientAuth = tls.RequestClientCert
	}
	return config, nil
}

// chain are the intermediates of the certificate, from the store CA.
func (h *Host) chain(der []byte) [][]byte {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	var chain [][]byte
	for _, name := range h.reg.Keys(caKey) {
		blob, _ := h.reg.Get(caKey+`\`+name, "Blob")
		if c, err := x509.ParseCertificate(derOf(blob.Data)); err == nil && string(c.RawSubject) == string(leaf.RawIssuer) {
			chain = append(chain, c.Raw)
		}
	}
	return chain
}

const caKey = `SOFTWARE\Microsoft\SystemCertificates\CA\Certificates`

// InstallCA puts an intermediate certificate into the store CA, as Group Policy does.
func (h *Host) InstallCA(der []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reg.Set(caKey+`\`+thumbprint(der), Value{Name: "Blob", Type: Binary, Data: blobOf(der, "", false)})
}

func bindingPath(port int) string { return fmt.Sprintf(`%s\0.0.0.0:%d`, bindingKey, port) }

// bound is the thumbprint of the binding of the HTTPS port.
func (h *Host) bound() string {
	v, _ := h.reg.Get(bindingPath(h.cfg.HTTPSPort), "SslCertHash")
	return strings.ToUpper(hex.EncodeToString(v.Data))
}

// bind writes the binding, as the WinRM service does ([MS-WSMV] says nothing of
// it; the values are those that are found on hosts).
func (h *Host) bind(thumb string) {
	raw, err := hex.DecodeString(thumb)
	if err != nil {
		return
	}
	for _, ip := range []string{"0.0.0.0", "[::]"} {
		path := fmt.Sprintf(`%s\%s:%d`, bindingKey, ip, h.cfg.HTTPSPort)
		h.reg.Set(path, Value{Name: "SslCertHash", Type: Binary, Data: raw})
		h.reg.Set(path, Value{Name: "AppId", Type: Binary, Data: guid(winRMAppID)})
		h.reg.SetText(path, "SslCertStoreName", "MY")
		h.reg.SetNum(path, "DefaultFlags", 0)
	}
}

const winRMAppID = "afebb9ad-9b97-4a91-9ab5-daf4d59122f6"

func (h *Host) unbind() {
	for _, ip := range []string{"0.0.0.0", "[::]"} {
		h.reg.Delete(fmt.Sprintf(`%s\%s:%d`, bindingKey, ip, h.cfg.HTTPSPort))
	}
}

type servedKey struct{}

func (h *Host) connContext(transport string) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, c net.Conn) context.Context {
		ctx = context.WithValue(ctx, servedKey{}, &served{})
		return context.WithValue(ctx, sessionKey{}, &session{transport: transport, conn: c})
	}
}

func (h *Host) connState(port int) func(net.Conn, http.ConnState) {
	return func(c net.Conn, s http.ConnState) {
		h.mu.Lock()
		defer h.mu.Unlock()
		switch s {
		case http.StateNew:
			h.connected[c] = port
		case http.StateClosed, http.StateHijacked:
			delete(h.connected, c)
		}
	}
}
