package rollout

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that people read and write as "3m0s" in plans and
// configuration files.
type Duration time.Duration

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 90s, 10m or 24h", b)
	}
	*d = Duration(v)
	return nil
}

// D is the value for arithmetic.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }
