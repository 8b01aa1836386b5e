//go:build !windows

package logon

import "context"

// LoggedOnLogin is a Login on Windows only.
type LoggedOnLogin struct{}

var _ Login = (*LoggedOnLogin)(nil)

var errNotWindows = &hinted{"only Windows can log on as the account that a program runs as", "use kerberos with a ccache or a keytab here"}

func newLoggedOn() (*LoggedOnLogin, error) {
	return nil, &Error{Op: "start", Principal: "the logged-on account", Err: errNotWindows}
}

// Start always fails.
func (*LoggedOnLogin) Start(_ context.Context, to Service, _ Binding) (Exchange, error) {
	return nil, &Error{Op: "start", Principal: "the logged-on account", Service: to, Err: errNotWindows}
}

// Principal says nothing of use.
func (*LoggedOnLogin) Principal() string { return "the logged-on account" }

// Close does nothing.
func (*LoggedOnLogin) Close() error { return nil }
