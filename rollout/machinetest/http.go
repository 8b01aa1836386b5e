package machinetest

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // hashes of channel bindings
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"wavelock/ldapdisco/logon/logontest"
)

var quietLog = log.New(io.Discard, "", 0)

type sessionKey struct{}

// session is the state of one connection. HTTP/1.1 serialises its requests.
type session struct {
	transport string
	conn      net.Conn

	mu     sync.Mutex // held by the request that is served
	accept *logontest.Conn
	basic  string          // the account, when it came by Basic or by certificate
	gone   <-chan struct{} // closed when nobody waits for the answer any more
}

func (s *session) user() string {
	if s.basic != "" {
		return s.basic
	}
	if s.accept != nil && s.accept.Done() {
		return s.accept.User()
	}
	return ""
}

const soapType = "application/soap+xml;charset=UTF-8"

// serve is http.sys and WinRM's front: authentication, sealing, then SOAP.
func (h *Host) serve(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	s := r.Context().Value(sessionKey{}).(*session)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = r.Context().Done()
	h.delay(r)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	w.Header().Set("Server", "Microsoft-HTTPAPI/2.0")
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	case r.URL.Path != "/wsman", s.transport == "HTTP" && h.isShared():
		w.WriteHeader(http.StatusNotFound)
		return
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case r.Header.Get("WSMANIDENTIFY") == "unauthenticated":
		w.Header().Set("Content-Type", soapType)
		io.WriteString(w, identify("OS: 0.0.0 SP: 0.0 Stack: 3.0"))
		return
	}
	if a := r.Header.Get("Authorization"); a != "" && !h.authenticate(w, r, s, a) {
		return
	}
	if s.user() == "" {
		h.unauthorized(w, "")
		return
	}
	if len(body) == 0 {
		w.Header().Set("Content-Length", "0")
		return
	}
	h.answer(w, r, s, body)
}

func (h *Host) delay(r *http.Request) {
	h.mu.Lock()
	d := h.cfg.Latency
	if h.has(Slow) {
		d += 300 * time.Millisecond
	}
	hang := h.has(Hang)
	h.mu.Unlock()
	if hang {
		<-r.Context().Done()
	}
	if d > 0 {
		time.Sleep(d)
	}
}

func (h *Host) unauthorized(w http.ResponseWriter, token string) {
	if token != "" {
		w.Header().Add("WWW-Authenticate", token)
	} else {
		for _, scheme := range []string{"Negotiate", "Kerberos"} {
			if h.enabled(scheme) {
				w.Header().Add("WWW-Authenticate", scheme)
			}
		}
		if h.enabled("Basic") {
			w.Header().Add("WWW-Authenticate", `Basic realm="WSMAN"`)
		}
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusUnauthorized)
}

// authenticate takes the Authorization header. It answers false when it has
// answered the request.
func (h *Host) authenticate(w http.ResponseWriter, r *http.Request, s *session, header string) bool {
	if header == mutualScheme {
		return h.mutual(w, r, s)
	}
	scheme, encoded, _ := strings.Cut(header, " ")
	token, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return false
	}
	if strings.EqualFold(scheme, "Basic") {
		name, password, _ := strings.Cut(string(token), ":")
		if !h.enabled("Basic") || !h.cfg.Directory.Check(name, password) {
			h.unauthorized(w, "")
			return false
		}
		s.basic = name
		return true
	}
	if scheme != "Negotiate" && scheme != "Kerberos" || !h.enabled(scheme) {
		h.unauthorized(w, "")
		return false
	}
	s.basic = ""
	if s.accept == nil {
		s.accept = h.acceptor.Accept(endPoint(r), h.hardening())
	}
	out, done, err := s.accept.Step(token)
	if err != nil {
		h.cfg.Log.Debug("logon refused", "host", h.cfg.FQDN, "err", err)
		h.unauthorized(w, "")
		return false
	}
	answer := scheme
	if len(out) > 0 {
		answer += " " + base64.StdEncoding.EncodeToString(out)
	}
	if !done {
		h.unauthorized(w, answer)
		return false
	}
	if len(out) > 0 {
		w.Header().Set("WWW-Authenticate", answer)
	}
	return true
}

// hardening is CbtHardeningLevel.
func (h *Host) hardening() logontest.Level {
	h.mu.Lock()
	defer h.mu.Unlock()
	level, _ := h.effective(setting("CbtHardeningLevel"))
	switch strings.ToLower(level) {
	case "strict":
		return logontest.Strict
	case "none":
		return logontest.None
	}
	return logontest.Relaxed
}

// endPoint is tls-server-end-point of the connection (RFC 5929 4.1).
func endPoint(r *http.Request) []byte {
	sv, ok := r.Context().Value(servedKey{}).(*served)
	if r.TLS == nil || !ok || sv.der == nil {
		return nil
	}
	c, err := x509.ParseCertificate(sv.der)
	if err != nil {
		return nil
	}
	hash := crypto.SHA256
	switch c.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512:
		hash = crypto.SHA512
	}
	d := hash.New()
	d.Write(sv.der)
	return d.Sum([]byte("tls-server-end-point:"))
}

// answer opens the request if it is sealed, has it executed, and answers in kind.
func (h *Host) answer(w http.ResponseWriter, r *http.Request, s *session, body []byte) {
	sealed := strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/encrypted")
	if sealed {
		if s.accept == nil || !s.accept.Done() {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		plain, err := openParts(body, s.accept)
		if err != nil {
			h.cfg.Log.Debug("sealed request refused", "host", h.cfg.FQDN, "err", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body = plain
	} else if r.TLS == nil && !h.enabled("AllowUnencrypted") {
		w.WriteHeader(http.StatusInternalServerError) // and not a word about why
		return
	}
	status, text, reset := h.soap(s, body)
	if reset {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
		return
	}
	out, kind := []byte(text), soapType
	if sealed {
		var err error
		if out, kind, err = sealParts(out, s.accept); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(status)
	w.Write(out)
}

const boundary = "--Encrypted Boundary"

var lengthField = regexp.MustCompile(`Length=(\d+)`)

// openParts takes multipart/encrypted apart, [MS-WSMV] 2.2.9.1.
func openParts(b []byte, c *logontest.Conn) ([]byte, error) {
	mark := []byte("Content-Type: application/octet-stream\r\n")
	i := bytes.Index(b, mark)
	if i < 0 {
		return nil, errors.New("there is no octet-stream part")
	}
	m := lengthField.FindSubmatch(b[:i])
	end := []byte(boundary + "--")
	payload := bytes.TrimSuffix(b[i+len(mark):], []byte("\r\n"))
	if m == nil || !bytes.HasSuffix(payload, end) || len(payload) < len(end)+4 {
		return nil, errors.New("the parts are not complete")
	}
	payload = payload[:len(payload)-len(end)]
	n := int(binary.LittleEndian.Uint32(payload))
	if n < 0 || n > len(payload)-4 {
		return nil, fmt.Errorf("the signature has length %d", n)
	}
	out, err := c.Open(payload[4:4+n], payload[4+n:])
	if err != nil {
		return nil, err
	}
	if want, _ := strconv.Atoi(string(m[1])); want != len(out) {
		return nil, fmt.Errorf("length %d, announced %d", len(out), want)
	}
	return out, nil
}

// sealParts writes the form that Windows sends, tabs included.
func sealParts(msg []byte, c *logontest.Conn) ([]byte, string, error) {
	header, data, err := c.Seal(msg)
	if err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\r\n\tContent-Type: %s\r\n\tOriginalContent: type=%s;Length=%d\r\n%s\r\n\tContent-Type: application/octet-stream\r\n",
		boundary, c.Protocol(), soapType, len(msg), boundary)
	b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(header))))
	b.Write(header)
	b.Write(data)
	b.WriteString(boundary + "--\r\n")
	return b.Bytes(), fmt.Sprintf(`multipart/encrypted;protocol="%s";boundary="Encrypted Boundary"`, c.Protocol()), nil
}
