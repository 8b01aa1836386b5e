package adcstest

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"time"
)

// The responder is written by hand from RFC 6960, so that it shares no code with the client's library; openssl is the
// third opinion. It signs with a certificate of its own, as AD CS' Online Responder does.

var (
	oidBasic = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidECDSA = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
)

func (ca *CA) serveOCSP(w http.ResponseWriter, r *http.Request) {
	question, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return
	}
	answer, err := ca.answerOCSP(question)
	switch {
	case err != nil:
		answer = []byte{0x30, 0x03, 0x0a, 0x01, 1} // malformedRequest
	case ca.has(OCSPTryLater, ""):
		answer = []byte{0x30, 0x03, 0x0a, 0x01, 3} // tryLater
	case ca.has(OCSPGarbage, ""):
		answer = []byte("<html><body>It works!</body></html>")
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = w.Write(answer)
}

// single is SingleResponse of RFC 6960 4.2.1.
type single struct {
	ID     certID
	Status asn1.RawValue
	This   time.Time `asn1:"generalized"`
	Next   time.Time `asn1:"generalized,explicit,tag:0"`
}

type responseData struct {
	Responder  asn1.RawValue
	Produced   time.Time `asn1:"generalized"`
	Responses  []single
	Extensions []pkix.Extension `asn1:"optional,omitempty,explicit,tag:1"`
}

func (ca *CA) answerOCSP(question []byte) ([]byte, error) {
	id, nonce, err := readQuestion(question)
	if err != nil {
		return nil, err
	}
	if ca.has(OCSPOther, "") {
		id.Serial = new(big.Int).Add(id.Serial, big.NewInt(1))
	}
	if ca.has(OCSPReplay, "") && nonce != nil {
		nonce[len(nonce)-1] ^= 1
	}
	now := ca.cfg.Clock().UTC().Truncate(time.Second).Add(-time.Minute)
	switch {
	case ca.has(OCSPStale, ""):
		now = now.AddDate(0, 0, -7)
	case ca.has(OCSPFuture, ""):
		now = now.AddDate(0, 0, 1)
	}
	status, err := ca.ocspStatus(id.Serial)
	if err != nil {
		return nil, err
	}
	signer, err := ca.responder()
	if err != nil {
		return nil, err
	}
	data := responseData{Responder: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: signer.cert.RawSubject},
		Produced: now, Responses: []single{{id, status, now, now.Add(time.Hour)}}}
	if nonce != nil {
		data.Extensions = []pkix.Extension{{Id: oidNonce, Value: nonce}}
	}
	return signOCSP(data, signer)
}

func (ca *CA) ocspStatus(serial *big.Int) (asn1.RawValue, error) {
	if ca.has(OCSPUnknown, "") {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2}, nil
	}
	r, revoked := ca.status(serial)
	if !revoked {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0}, nil
	}
	b, err := asn1.Marshal(struct {
		At     time.Time       `asn1:"generalized"`
		Reason asn1.Enumerated `asn1:"explicit,tag:0"`
	}{r.at.UTC().Truncate(time.Second), asn1.Enumerated(r.reason)})
	if err != nil {
		return asn1.RawValue{}, err
	}
	var seq asn1.RawValue
	if _, err := asn1.Unmarshal(b, &seq); err != nil {
		return asn1.RawValue{}, err
	}
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: seq.Bytes}, nil
}

// responder is the certificate that signs answers: from this CA, or with OCSPForged from another.
func (ca *CA) responder() (authority, error) {
	by := ca.issuing
	if ca.has(OCSPForged, "") {
		by = ca.others[1]
	}
	key, err := ca.cfg.Keys.Key()
	if err != nil {
		return authority{}, err
	}
	now := ca.cfg.Clock()
	t := &x509.Certificate{SerialNumber: big.NewInt(0x0c59), Subject: pkix.Name{CommonName: ca.cfg.Host + "." + ca.cfg.Domain}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 14),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}
	der, err := x509.CreateCertificate(rand.Reader, t, by.cert, key.Public(), by.key)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return authority{cert, key}, err
}

// signOCSP is BasicOCSPResponse in an OCSPResponse that succeeded.
func signOCSP(data responseData, signer authority) ([]byte, error) {
	tbs, err := asn1.Marshal(data)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(tbs)
	signature, err := signer.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	algorithm := pkix.AlgorithmIdentifier{Algorithm: oidECDSA}
	if signer.cert.PublicKeyAlgorithm == x509.RSA {
		algorithm = pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: asn1.NullRawValue}
	}
	basic, err := asn1.Marshal(struct {
		Data         asn1.RawValue
		Algorithm    pkix.AlgorithmIdentifier
		Signature    asn1.BitString
		Certificates []asn1.RawValue `asn1:"explicit,tag:0"`
	}{asn1.RawValue{FullBytes: tbs}, algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}, []asn1.RawValue{{FullBytes: signer.cert.Raw}}})
	if err != nil {
		return nil, err
	}
	type bytesOf struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	return asn1.Marshal(struct {
		Status asn1.Enumerated
		Bytes  bytesOf `asn1:"explicit,tag:0"`
	}{0, bytesOf{oidBasic, basic}})
}
