package machine_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/machinetest"
)

// look inspects the computer, and counts what it was asked.
func (b *bench) look(brief bool) (rollout.Observation, int64) {
	b.t.Helper()
	m := b.open()
	defer m.Close()
	before := b.win.Requests()
	res, err := m.Do(b.t.Context(), rollout.Step{Kind: rollout.StepInspect, Brief: brief})
	if err != nil || res.Seen == nil {
		b.t.Fatal(err)
	}
	return *res.Seen, b.win.Requests() - before
}

func TestKeysOfEventForwarding(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o, ordinary := b.look(false)
	if !o.ClientKeys.Known || len(o.ClientKeys.Value) > 0 {
		t.Errorf("an ordinary host: %+v", o.ClientKeys)
	}
	b.meddle("forward-https")
	if o, n := b.look(false); n != ordinary || len(o.Uses.Value.Forwards) != 1 || !o.ClientKeys.Known {
		t.Errorf("a host that forwards by Kerberos is asked %d times, an ordinary one %d: %+v", n, ordinary, o.ClientKeys)
	}
	b.meddle("forward-by-certificate")
	if o, n := b.look(true); n >= ordinary || o.ClientKeys.Known || o.ClientKeys.Why != rollout.NotAsked || o.ServerLists.Why != rollout.NotAsked {
		t.Errorf("a brief look: %d requests, %+v, %+v", n, o.ClientKeys, o.ServerLists)
	}
	o, n := b.look(false)
	if n <= ordinary || len(o.ClientKeys.Value) != 1 {
		t.Fatalf("%d requests, %+v", n, o.ClientKeys)
	}
	if k := o.ClientKeys.Value[0]; k.ACL != "D:PAI(A;;GAGR;;;BA)(A;;GAGR;;;SY)" || k.Why != "" || !strings.HasPrefix(k.Subject, "CN=decoy") {
		t.Errorf("%+v", k)
	}
	b.meddle("grant-keys")
	if o, _ := b.look(false); !strings.HasSuffix(o.ClientKeys.Value[0].ACL, ";NS)") {
		t.Errorf("%+v", o.ClientKeys)
	}
	b.meddle("hide-keys")
	if o, _ := b.look(false); o.ClientKeys.Value[0].ACL != "" || o.ClientKeys.Value[0].Why == "" {
		t.Errorf("%+v", o.ClientKeys)
	}
}

// With the CA that the policy names in a store, what another CA issued is not looked at.
func TestKeysOfTheCAThatThePolicyNames(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.meddle("forward-by-certificate")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	b.win.Install(der, key)
	o, _ := b.look(false)
	if len(o.ClientKeys.Value) != 2 || o.ClientKeys.Value[0].Subject != "CN=another" || o.ClientKeys.Value[0].ACL == "" || o.ClientKeys.Value[1].ACL == "" {
		t.Fatalf("without the CA: %+v", o.ClientKeys)
	}
	const store = `SOFTWARE\Microsoft\SystemCertificates\`
	b.win.Registry(func(r *machinetest.Registry) { // it has issued itself
		blob, _ := r.Get(store+`MY\Certificates\`+string(o.ClientKeys.Value[0].Thumbprint), "Blob")
		r.Set(store+`CA\Certificates\`+strings.Repeat("5A", 20), blob)
	})
	if o, _ := b.look(false); len(o.ClientKeys.Value) != 1 || o.ClientKeys.Value[0].Subject != "CN=another" {
		t.Errorf("with the CA: %+v", o.ClientKeys)
	}
}

func TestListsOfServerManager(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o, ordinary := b.look(false)
	if !o.ServerLists.Known || len(o.ServerLists.Value.Names) > 0 || o.ServerLists.Value.Unread > 0 || !o.Posture.Known {
		t.Errorf("%+v", o.ServerLists)
	}
	b.meddle("manage-servers")
	b.meddle("manage-too-many")
	o, n := b.look(false)
	if !slices.Contains(o.ServerLists.Value.Names, "web01.corp.example") || o.ServerLists.Value.Unread != 1 || n != ordinary || !o.Posture.Known {
		t.Errorf("%d requests, %d without: %+v", n, ordinary, o.ServerLists)
	}
}
