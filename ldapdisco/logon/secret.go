package logon

import "log/slog"

// Secret is a password. It prints as "(secret)" wherever it is printed, logged or encoded.
type Secret string

const hidden = "(secret)"

// Reveal gives the password itself.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string { return hidden }

// GoString keeps the password out of %#v.
func (s Secret) GoString() string { return hidden }

// MarshalText keeps the password out of JSON, YAML and XML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue keeps the password out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
