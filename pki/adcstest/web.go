package adcstest

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// revocation is a certificate that was taken back.
type revocation struct {
	serial *big.Int
	at     time.Time
	reason int // RFC 5280 5.3.1
}

// Revoke takes a certificate back, which the next delta list and the responder say at once, and the base list when it
// is published. Reason 8 takes a hold back.
func (ca *CA) Revoke(der []byte, reason int) error {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.revoked = append(ca.revoked, revocation{c.SerialNumber, ca.cfg.Clock(), reason})
	return nil
}

// Publish makes a new base list.
func (ca *CA) Publish() {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.base++
	ca.shown = len(ca.revoked)
}

var (
	oidDelta    = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidScope    = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidFreshest = asn1.ObjectIdentifier{2, 5, 29, 46}
)

// Handler is the web server of Config.Web: the lists below /CertEnroll/, and the responder at /ocsp.
func (ca *CA) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /CertEnroll/{file}", ca.serveList)
	mux.HandleFunc("POST /ocsp", ca.serveOCSP)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case ca.has(WebDown, ""):
			panic(http.ErrAbortHandler)
		case ca.has(WebMute, ""):
			<-r.Context().Done()
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func (ca *CA) serveList(w http.ResponseWriter, r *http.Request) {
	file := r.PathValue("file")
	var der []byte
	var err error
	switch file {
	case ca.cfg.Name + ".crl":
		der, err = ca.List(false)
	case ca.cfg.Name + "+.crl":
		der, err = ca.List(true)
	case ca.root.cert.Subject.CommonName + ".crl":
		der, err = ca.signList(ca.root, &x509.RevocationList{Number: big.NewInt(1)})
	default:
		http.NotFound(w, r)
		return
	}
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case ca.has(CRLMissing, ""):
		http.NotFound(w, r)
	case ca.has(CRLGarbage, ""):
		_, _ = io.WriteString(w, "<html><body>It works!</body></html>")
	case ca.has(CRLHuge, ""):
		for page := make([]byte, 1<<20); ; { // until the other end has had enough
			if _, err := w.Write(page); err != nil {
				return
			}
		}
	default:
		w.Header().Set("Content-Type", "application/pkix-crl")
		_, _ = w.Write(der)
	}
}

// List is the base list that was published last, or the delta to it as it is now.
func (ca *CA) List(delta bool) ([]byte, error) {
	ca.mu.Lock()
	from, to, number := 0, ca.shown, int64(ca.base)
	if delta {
		from, to, number = ca.shown, len(ca.revoked), int64(ca.base)+int64(len(ca.revoked)-ca.shown)
	}
	t := &x509.RevocationList{Number: big.NewInt(number * 10)}
	base := int64(ca.base) * 10
	for _, r := range ca.revoked[from:to] {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.serial, RevocationTime: r.at, ReasonCode: r.reason})
	}
	ca.mu.Unlock()
	if ca.has(DeltaMismatch, "") {
		base += 100
	}
	by := ca.issuing
	switch {
	case delta:
		v, err := asn1.Marshal(big.NewInt(base))
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidDelta, Critical: true, Value: v})
	default:
		x, err := freshest(ca.cfg.web() + "/CertEnroll/" + url.PathEscape(ca.cfg.Name) + "+.crl")
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, x)
	}
	if ca.has(CRLPartial, "") {
		v, err := asn1.Marshal(struct {
			CAs bool `asn1:"tag:2"`
		}{true})
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidScope, Critical: true, Value: v})
	}
	switch {
	case ca.has(CRLOther, ""):
		by = ca.others[1]
	case ca.has(CRLForged, ""):
		c := *ca.others[1].cert
		c.RawSubject, c.Subject, c.SubjectKeyId = ca.issuing.cert.RawSubject, ca.issuing.cert.Subject, ca.issuing.cert.SubjectKeyId
		by = authority{&c, ca.others[1].key}
	}
	return ca.signList(by, t)
}

// signList makes a list that is good for four days, or at another time as the faults have it.
func (ca *CA) signList(by authority, t *x509.RevocationList) ([]byte, error) {
	t.ThisUpdate = ca.cfg.Clock().Add(-10 * time.Minute)
	switch {
	case ca.has(CRLStale, ""):
		t.ThisUpdate = t.ThisUpdate.AddDate(0, 0, -5)
	case ca.has(CRLFuture, ""):
		t.ThisUpdate = t.ThisUpdate.AddDate(0, 0, 1)
	}
	t.NextUpdate = t.ThisUpdate.AddDate(0, 0, 4)
	return x509.CreateRevocationList(rand.Reader, t, by.cert, by.key)
}

// freshest is the extension FreshestCRL, RFC 5280 5.2.6.
func freshest(address string) (pkix.Extension, error) {
	name := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(address)}
	full, err := asn1.MarshalWithParams([]asn1.RawValue{name}, "tag:0")
	if err != nil {
		return pkix.Extension{}, err
	}
	point := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: full}
	v, err := asn1.Marshal([]struct{ Point asn1.RawValue }{{point}})
	return pkix.Extension{Id: oidFreshest, Value: v}, err
}

// status is what the responder knows of a serial number.
func (ca *CA) status(serial *big.Int) (revocation, bool) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	var last revocation
	for _, r := range ca.revoked {
		if r.serial.Cmp(serial) == 0 {
			last = r
		}
	}
	return last, last.serial != nil && last.reason != 8
}

// certID is CertID of RFC 6960 4.1.1.
type certID struct {
	Hash      pkix.AlgorithmIdentifier
	Name, Key []byte
	Serial    *big.Int
}

// readQuestion reads the question: whose serial number, and the nonce as it came.
func readQuestion(der []byte) (id certID, nonce []byte, err error) {
	var q struct {
		TBS struct {
			Version    int           `asn1:"optional,explicit,default:0,tag:0"`
			Requestor  asn1.RawValue `asn1:"optional,explicit,tag:1"`
			List       []struct{ ID certID }
			Extensions []pkix.Extension `asn1:"optional,explicit,tag:2"`
		}
	}
	if _, err := asn1.Unmarshal(der, &q); err != nil {
		return certID{}, nil, err
	}
	for _, x := range q.TBS.Extensions {
		if strings.HasSuffix(x.Id.String(), ".48.1.2") {
			nonce = x.Value
		}
	}
	if len(q.TBS.List) != 1 {
		return certID{}, nil, asn1.StructuralError{Msg: "one certificate is asked about at a time"}
	}
	return q.TBS.List[0].ID, bytes.Clone(nonce), nil
}
