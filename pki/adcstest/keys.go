package adcstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"
)

// KeyKind says which keys a pool makes.
type KeyKind string

// The kinds of keys that Windows templates ask for.
const (
	P256    KeyKind = "ECDSA P-256"
	RSA2048 KeyKind = "RSA 2048"
)

// KeyPool makes keys and, when it has as many as it may, gives the old ones again:
// a fleet of ten thousand simulated computers cannot make an RSA key each. It is
// safe for concurrent use.
type KeyPool struct {
	kind KeyKind
	most int

	mu   sync.Mutex // guards what follows
	keys []crypto.Signer
	next int
}

// NewKeyPool makes an empty pool of at most so many keys; 0 is no limit.
func NewKeyPool(kind KeyKind, most int) *KeyPool {
	return &KeyPool{kind: kind, most: most}
}

// Key is a new key until the pool is full, then the next one of the pool.
func (p *KeyPool) Key() (crypto.Signer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most > 0 && len(p.keys) == p.most {
		p.next++
		return p.keys[(p.next-1)%p.most], nil
	}
	key, err := p.kind.generate()
	if err != nil {
		return nil, fmt.Errorf("make a %s key: %w", p.kind, err)
	}
	if p.most > 0 {
		p.keys = append(p.keys, key)
	}
	return key, nil
}

func (k KeyKind) generate() (crypto.Signer, error) {
	if k == RSA2048 {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}
