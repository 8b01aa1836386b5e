package logon_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"

	"wavelock/ldapdisco/logon"
)

func TestSecretsDoNotPrint(t *testing.T) {
	s := struct{ Password logon.Secret }{"hunter2"}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x", s, s, s, s.Password, s.Password, s.Password)
	json.NewEncoder(&out).Encode(s)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "password", s.Password, "struct", s)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "password", s.Password, "struct", s)
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "68756e74657232") {
		t.Fatal(out.String())
	}
	if s.Password.Reveal() != "hunter2" {
		t.Fatal("revealed something else")
	}
}

func TestEndPointBindingHashesAsTheSignatureDoes(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for alg, hash := range map[x509.SignatureAlgorithm]func([]byte) []byte{
		x509.ECDSAWithSHA256: func(b []byte) []byte { s := sha256.Sum256(b); return s[:] },
		x509.ECDSAWithSHA384: func(b []byte) []byte { s := sha512.Sum384(b); return s[:] },
		x509.ECDSAWithSHA512: func(b []byte) []byte { s := sha512.Sum512(b); return s[:] },
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), SignatureAlgorithm: alg}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, _ := x509.ParseCertificate(der)
		want := append([]byte("tls-server-end-point:"), hash(der)...)
		if got := logon.EndPointBinding(leaf); !bytes.Equal(got, want) {
			t.Errorf("%v: %x", alg, got)
		}
	}
	if logon.EndPointBinding(nil) != nil {
		t.Error("binding without a certificate")
	}
	if s := logon.Binding(nil).Sum(); s != [16]byte{} {
		t.Error("without TLS the sum is zero")
	}
}

// md5sum of twenty zero bytes.
func TestBindingSumIsTheMD5OfTheStructure(t *testing.T) {
	if got := fmt.Sprintf("%x", logon.Binding{}.Sum()); got != "441018525208457705bf09a8ee3c1093" {
		t.Fatal(got)
	}
}

func TestBasicIsForTLSOnly(t *testing.T) {
	l := logon.Basic("local", "secret-word")
	_, err := l.Start(t.Context(), host1, nil)
	var e *logon.Error
	if !errors.As(err, &e) || e.Hint() == "" || strings.Contains(err.Error(), "secret-word") {
		t.Fatal(err)
	}
	x, err := l.Start(t.Context(), host1, binding)
	if err != nil {
		t.Fatal(err)
	}
	out, done, err := x.Next(t.Context(), nil)
	if string(out) != "local:secret-word" || !done || err != nil || x.Scheme() != logon.SchemeBasic {
		t.Fatal(done, err)
	}
}

func TestAnUnprovedPasswordIsShownToFewHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := logon.NTLM("CORP", "admin", "wrong")
		shown, held := 0, 0
		done := make(chan error)
		for range 100 {
			go func() {
				report, err := logon.Try(context.Background(), l)
				if err == nil {
					report(logon.Refused)
					report(logon.Refused) // counts once
				}
				done <- err
			}()
		}
		for range 100 {
			var e *logon.Error
			if err := <-done; err == nil {
				shown++
			} else if errors.As(err, &e) && errors.Is(err, logon.ErrHeld) && strings.Contains(e.Hint(), "locked out") {
				held++
			}
		}
		if shown != 3 || held != 97 {
			t.Fatalf("shown to %d hosts, held back from %d", shown, held)
		}
	})
}

func TestAProvedPasswordMayBeRefusedHereAndThere(t *testing.T) {
	l := logon.NTLM("CORP", "admin", "right")
	for i := range 1000 {
		report, err := logon.Try(t.Context(), l)
		if err != nil {
			t.Fatal(i, err)
		}
		if i%5 == 0 {
			report(logon.Accepted)
		} else {
			report(logon.Refused)
		}
	}
}

func TestSilentHostsHoldNobodyUpForEver(t *testing.T) {
	l := logon.NTLM("CORP", "admin", "right")
	var reports []func(logon.Verdict)
	for range 3 {
		report, err := logon.Try(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, report)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := logon.Try(ctx, l); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, r := range reports {
		r(logon.Unknown)
	}
	report, err := logon.Try(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	report(logon.Accepted)
}
