package adcstest

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/url"
	"sync"
	"time"
)

// CA is a running authority. It is safe for concurrent use.
type CA struct {
	cfg           Config
	root, issuing authority
	others        [2]authority // a root and an issuing CA of somebody else

	mu      sync.Mutex // guards what follows
	faults  map[faultOf]bool
	serial  uint32
	nextID  int
	pending map[int]*submission
	revoked []revocation
	base    int // number of the base list that was published last
	shown   int // revocations that are in it
}

// New makes a root and an issuing CA beneath it.
func New(cfg Config) (*CA, error) {
	cfg = cfg.withDefaults()
	ca := &CA{cfg: cfg, faults: map[faultOf]bool{}, nextID: 1, base: 1, pending: map[int]*submission{}}
	for _, t := range cfg.Templates {
		if _, err := templateExtension(t); err != nil {
			return nil, fmt.Errorf("make the CA %s: template %s: %w", cfg.Name, t.Name, err)
		}
	}
	var err error
	if ca.root, ca.issuing, err = cfg.tiers("CORP Root CA", cfg.Name); err != nil {
		return nil, fmt.Errorf("make the CA %s: %w", cfg.Name, err)
	}
	if ca.others[0], ca.others[1], err = cfg.tiers("Somebody Else Root CA", "Somebody Else CA"); err != nil {
		return nil, fmt.Errorf("make another CA than %s: %w", cfg.Name, err)
	}
	return ca, nil
}

// tiers makes a root and an issuing CA, valid from yesterday.
func (c Config) tiers(rootName, name string) (root, issuing authority, err error) {
	if root, err = c.newAuthority(rootName, 1, nil); err != nil {
		return root, issuing, err
	}
	issuing, err = c.newAuthority(name, 0, &root)
	return root, issuing, err
}

// newAuthority makes a CA with at most so many CAs beneath it; without a parent it is a root.
func (c Config) newAuthority(name string, beneath int, parent *authority) (authority, error) {
	key, err := c.Keys.Key()
	if err != nil {
		return authority{}, err
	}
	serial, err := c.serialNumber(1)
	if err != nil {
		return authority{}, err
	}
	now := c.Clock()
	version, err := asn1.Marshal(0)
	if err != nil {
		return authority{}, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: c.caName(name), NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: beneath, MaxPathLenZero: beneath == 0,
		KeyUsage:        x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtraExtensions: []pkix.Extension{{Id: oidCAVersion, Value: version}}}
	signer := authority{t, key}
	if parent != nil {
		t.CRLDistributionPoints = []string{c.web() + "/CertEnroll/" + url.PathEscape(parent.cert.Subject.CommonName) + ".crl"}
		signer = *parent
	}
	der, err := x509.CreateCertificate(rand.Reader, t, signer.cert, key.Public(), signer.key)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return authority{cert, key}, err
}

// serialNumber is 19 bytes as AD CS makes them, with the number of the request in
// the middle: two certificates differ even where Rand repeats itself.
func (c Config) serialNumber(n uint32) (*big.Int, error) {
	b := make([]byte, 19)
	if _, err := c.Rand.Read(b); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	b[0] = 0x1d
	copy(b[13:17], []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	return new(big.Int).SetBytes(b), nil
}

// Name is the CA's common name.
func (ca *CA) Name() string { return ca.cfg.Name }

// Root is the root's certificate in DER: what the directory publishes.
func (ca *CA) Root() []byte { return bytes.Clone(ca.root.cert.Raw) }

// Issuing is the issuing CA's certificate in DER.
func (ca *CA) Issuing() []byte { return bytes.Clone(ca.issuing.cert.Raw) }

// Roots is the root as a pool, for whoever verifies.
func (ca *CA) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.root.cert)
	return pool
}

// ChainOf are the certificates above one that was issued here, from the issuing
// CA to the root: what AD CS sends along and the computer presents. It is nil
// for what was not issued here.
func (ca *CA) ChainOf(der []byte) [][]byte {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	for _, tiers := range [][2]authority{{ca.root, ca.issuing}, ca.others} {
		if c.CheckSignatureFrom(tiers[1].cert) == nil {
			return [][]byte{bytes.Clone(tiers[1].cert.Raw), bytes.Clone(tiers[0].cert.Raw)}
		}
	}
	return nil
}
