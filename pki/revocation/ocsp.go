package revocation

import (
	"bytes"
	"context"
	"crypto"
	_ "crypto/sha1" // of the certificate's identity in a request, which every responder knows
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"wavelock/pki"
)

var (
	oidNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
)

// byOCSP asks the responder at the address.
func (c *Checker) byOCSP(ctx context.Context, cert, issuer *x509.Certificate, url string) *Error {
	key := "ocsp " + url + " " + cert.SerialNumber.String() + " " + string(issuer.RawSubjectPublicKeyInfo)
	v, err := c.remember(key, func() (any, time.Time, *Error) {
		r, err := c.askResponder(context.WithoutCancel(ctx), cert, issuer, url)
		if err != nil {
			return nil, time.Time{}, err
		}
		return r, r.NextUpdate, nil
	})
	if err != nil {
		return err
	}
	switch r := v.(*ocsp.Response); r.Status {
	case ocsp.Good:
		return nil
	case ocsp.Revoked:
		return failed(CodeRevoked, url, "revoked %s, reason %d", r.RevokedAt.UTC().Format(time.RFC3339), r.RevocationReason)
	default:
		return failed(CodeOCSPUnknown, url, "the responder does not know the certificate")
	}
}

func (c *Checker) askResponder(ctx context.Context, cert, issuer *x509.Certificate, url string) (*ocsp.Response, *Error) {
	plain, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: crypto.SHA1})
	if err != nil {
		return nil, &Error{Code: CodeNoSource, URL: url, Err: err}
	}
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(c.cfg.Rand, nonce); err != nil {
		return nil, &Error{Code: CodeNoSource, URL: url, Err: fmt.Errorf("draw a nonce: %w", err)}
	}
	request, err := withNonce(plain, nonce)
	if err != nil {
		return nil, &Error{Code: CodeNoSource, URL: url, Err: err}
	}
	raw, failure := c.fetch(ctx, url, request, maxOCSP)
	if failure != nil {
		return nil, failure
	}
	return c.judgeResponse(raw, nonce, cert, issuer, url)
}

func (c *Checker) judgeResponse(raw, nonce []byte, cert, issuer *x509.Certificate, url string) (*ocsp.Response, *Error) {
	r, err := ocsp.ParseResponse(raw, nil) // whose signature it is, is asked below: the library's own words are all one
	var refused ocsp.ResponseError
	switch {
	case errors.As(err, &refused):
		return nil, failed(CodeOCSPRefused, url, "the responder answers %s", refused.Status)
	case err != nil && strings.Contains(err.Error(), "bad signature"):
		return nil, &Error{Code: CodeOCSPSignature, URL: url, Detail: "the answer is not signed by the certificate that comes with it", Err: err}
	case err != nil:
		return nil, &Error{Code: CodeOCSPMalformed, URL: url, Detail: "no OCSP answer", Err: err}
	case r.SerialNumber == nil || r.SerialNumber.Cmp(cert.SerialNumber) != 0:
		return nil, failed(CodeOCSPOther, url, "the answer is about serial number %x, asked was %x", r.SerialNumber, cert.SerialNumber)
	}
	now := c.cfg.Now()
	if err := mayAnswer(r, issuer, now); err != nil {
		return nil, &Error{Code: CodeOCSPSignature, URL: url, Detail: "the answer is not signed for " + pki.DistinguishedName(issuer.RawSubject), Err: err}
	}
	switch got, present, err := nonceOf(r.TBSResponseData); {
	case err != nil:
		return nil, &Error{Code: CodeOCSPMalformed, URL: url, Detail: "the extensions of the answer", Err: err}
	case present && !bytes.Equal(got, nonce):
		return nil, failed(CodeOCSPNonce, url, "the answer was made for another question")
	case !present && c.cfg.RequireNonce:
		return nil, failed(CodeOCSPNonce, url, "the answer has no nonce")
	case now.Add(c.cfg.Skew).Before(r.ThisUpdate):
		return nil, failed(CodeOCSPFuture, url, "made %s, it is %s", r.ThisUpdate.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case !r.NextUpdate.IsZero() && now.After(r.NextUpdate), r.NextUpdate.IsZero() && now.Sub(r.ThisUpdate) > 24*time.Hour:
		return nil, failed(CodeOCSPStale, url, "made %s, good until %s", r.ThisUpdate.UTC().Format(time.RFC3339), r.NextUpdate.UTC().Format(time.RFC3339))
	}
	return r, nil
}

// mayAnswer is RFC 6960 4.2.2.2: the CA itself signs, or somebody whom it gave the right, directly. Such a certificate
// is not asked about in turn where it says so or not: it lives for days.
func mayAnswer(r *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	by := r.Certificate
	if by == nil || bytes.Equal(by.Raw, issuer.Raw) {
		return r.CheckSignatureFrom(issuer)
	}
	if err := r.CheckSignatureFrom(by); err != nil {
		return err
	}
	if err := by.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("the responder's certificate: %w", err)
	}
	if now.Before(by.NotBefore) || now.After(by.NotAfter) {
		return fmt.Errorf("the responder's certificate is valid from %s to %s", by.NotBefore.UTC().Format(time.RFC3339), by.NotAfter.UTC().Format(time.RFC3339))
	}
	for _, u := range by.ExtKeyUsage {
		if u == x509.ExtKeyUsageOCSPSigning {
			return nil
		}
	}
	return errors.New("the responder's certificate is not for OCSP signing")
}

// withNonce adds RFC 6960 4.4.1 to a request: the library makes none.
func withNonce(request, nonce []byte) ([]byte, error) {
	var outer struct{ TBS asn1.RawValue }
	if _, err := asn1.Unmarshal(request, &outer); err != nil {
		return nil, err
	}
	value, err := asn1.Marshal(nonce)
	if err != nil {
		return nil, err
	}
	extensions, err := asn1.Marshal([]pkix.Extension{{Id: oidNonce, Value: value}})
	if err != nil {
		return nil, err
	}
	tagged, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, IsCompound: true, Bytes: extensions})
	if err != nil {
		return nil, err
	}
	tbs, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append(bytes.Clone(outer.TBS.Bytes), tagged...)})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: tbs})
}

// nonceOf reads the nonce of an answer, RFC 6960 4.2.1: the library drops the extensions of the whole.
func nonceOf(tbs []byte) (nonce []byte, present bool, err error) {
	var data struct {
		Version    int `asn1:"optional,explicit,default:0,tag:0"`
		Responder  asn1.RawValue
		Produced   time.Time `asn1:"generalized"`
		Responses  asn1.RawValue
		Extensions []pkix.Extension `asn1:"optional,explicit,tag:1"`
	}
	if _, err := asn1.Unmarshal(tbs, &data); err != nil {
		return nil, false, err
	}
	for _, x := range data.Extensions {
		if x.Id.Equal(oidNonce) {
			if _, err := asn1.Unmarshal(x.Value, &nonce); err != nil {
				nonce = x.Value // some responders leave out the inner octet string
			}
			return nonce, true, nil
		}
	}
	return nil, false, nil
}
