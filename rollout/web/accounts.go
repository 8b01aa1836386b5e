package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Role is what somebody may do.
type Role string

// The roles. Everybody who may log in may look; who operates does not approve,
// unless the same person is given both.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Approver Role = "approver"
)

// Roles lists them.
func Roles() []Role { return []Role{Viewer, Operator, Approver} }

// words are what each role may say to a campaign. To stop is never wrong.
var words = map[Role][]string{
	Operator: {"pause", "resume", "abort", "rollback"},
	Approver: {"approve", "pause"},
}

// Person is somebody who proved who they are.
type Person struct {
	Name  string
	Roles []Role
}

// May reports whether the person may say the word.
func (p Person) May(word string) bool {
	return slices.ContainsFunc(p.Roles, func(r Role) bool { return slices.Contains(words[r], word) })
}

// Accounts tells who somebody is. A wrong name or password, and somebody without a
// role, are a *DeniedError; anything else means that it could not be asked.
type Accounts interface {
	Login(ctx context.Context, name, password string) (Person, error)
}

// DeniedError is somebody who may not come in.
type DeniedError struct {
	Name string
	Why  string // for the log; the page tells nobody which of name and password was wrong
}

func (e *DeniedError) Error() string { return fmt.Sprintf("%q was not let in: %s", e.Name, e.Why) }

// User is an account of the configuration.
type User struct {
	Name  string
	Hash  string // argon2id, as HashPassword makes it
	Roles []Role
}

// Users are accounts with argon2id hashes.
type Users struct {
	byName map[string]User
	decoy  string        // so that a name that is not there takes as long
	room   chan struct{} // each computation takes 64 MiB
}

// NewUsers checks the hashes, so that a wrong one is found at the start and not at a login.
func NewUsers(users []User) (*Users, error) {
	u := &Users{byName: map[string]User{}, room: make(chan struct{}, 2)}
	for _, one := range users {
		name := strings.ToLower(one.Name)
		if name == "" || u.byName[name].Name != "" {
			return nil, fmt.Errorf("user %q: the name is empty or there twice", one.Name)
		}
		if _, err := parseHash(one.Hash); err != nil {
			return nil, fmt.Errorf("user %q: %w", one.Name, err)
		}
		for _, r := range one.Roles {
			if !slices.Contains(Roles(), r) {
				return nil, fmt.Errorf("user %q: %q is none of the roles viewer, operator and approver", one.Name, r)
			}
		}
		if len(one.Roles) == 0 {
			return nil, fmt.Errorf("user %q has no role", one.Name)
		}
		u.byName[name] = one
	}
	decoy, err := HashPassword(rand.Text())
	u.decoy = decoy
	return u, err
}

// Login compares in the same time whether the name is there or not.
func (u *Users) Login(ctx context.Context, name, password string) (Person, error) {
	select {
	case u.room <- struct{}{}:
		defer func() { <-u.room }()
	case <-ctx.Done():
		return Person{}, ctx.Err()
	}
	one, known := u.byName[strings.ToLower(name)]
	hash := one.Hash
	if !known {
		hash = u.decoy
	}
	h, err := parseHash(hash)
	if err != nil {
		return Person{}, err
	}
	right := subtle.ConstantTimeCompare(h.of(password), h.sum) == 1
	switch {
	case !known:
		return Person{}, &DeniedError{name, "there is no such user"}
	case !right:
		return Person{}, &DeniedError{name, "the password is wrong"}
	}
	return Person{Name: one.Name, Roles: one.Roles}, nil
}

// The cost of a hash: RFC 9106, section 4, the second recommended option.
const (
	argonTime, argonMemory, argonLanes = 3, 64 << 10, 4
	argonSalt, argonSum                = 16, 32
)

type passwordHash struct {
	time, memory uint32
	lanes        uint8
	salt, sum    []byte
}

func (h passwordHash) of(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.lanes, uint32(len(h.sum)))
}

// HashPassword makes what the configuration keeps of a password, in the form
// $argon2id$v=19$m=65536,t=3,p=4$salt$sum.
func HashPassword(password string) (string, error) {
	h := passwordHash{time: argonTime, memory: argonMemory, lanes: argonLanes, salt: make([]byte, argonSalt), sum: make([]byte, argonSum)}
	if _, err := rand.Read(h.salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.lanes, b64(h.salt), b64(h.of(password))), nil
}

var errHash = errors.New("the hash is not like $argon2id$v=19$m=65536,t=3,p=4$...; wavelock serve --hash-password makes one")

// parseHash refuses hashes that would cost too little or too much.
func parseHash(s string) (passwordHash, error) {
	var h passwordHash
	var version int
	f := strings.Split(s, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" {
		return h, errHash
	}
	if n, err := fmt.Sscanf(f[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return h, errHash
	}
	if n, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.lanes); n != 3 || err != nil {
		return h, errHash
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(f[4]); err != nil {
		return h, errHash
	}
	if h.sum, err = base64.RawStdEncoding.DecodeString(f[5]); err != nil {
		return h, errHash
	}
	if h.memory < 8<<10 || h.memory > 1<<20 || h.time < 1 || h.time > 20 || h.lanes < 1 || len(h.salt) < 8 || len(h.sum) < 16 || len(h.sum) > 64 {
		return h, errors.New("the hash costs too little or too much: make it with wavelock serve --hash-password")
	}
	return h, nil
}
