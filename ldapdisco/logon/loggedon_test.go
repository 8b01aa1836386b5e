package logon

import (
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"
)

func TestChannelBindingsAsSSPITakesThem(t *testing.T) {
	if channelBindings(nil) != nil {
		t.Error("bindings without TLS")
	}
	b := channelBindings(Binding("tls-server-end-point:x"))
	at, n := binary.LittleEndian.Uint32(b[28:]), binary.LittleEndian.Uint32(b[24:])
	if string(b[at:at+n]) != "tls-server-end-point:x" || int(at+n) != len(b) || strings.Trim(string(b[:24]), "\x00") != "" {
		t.Errorf("%x", b)
	}
}

func TestWhatWindowsSealsIsJudged(t *testing.T) {
	aes := append([]byte{5, 4, 6, 0xff}, make([]byte, 56)...)
	ntlm := append([]byte{1, 0, 0, 0}, make([]byte, 12)...)
	for name, c := range map[string]struct {
		kerberos bool
		header   []byte
		good     bool
	}{
		"AES":              {true, aes, true},
		"RC4":              {true, []byte{0x60, 0x30, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2, 2, 1, 0x11, 0, 0x10}, false},
		"cut":              {true, aes[:10], false},
		"nothing":          {true, nil, false},
		"NTLM":             {false, ntlm, true},
		"NTLM cut":         {false, ntlm[:15], false},
		"NTLM and clear":   {false, make([]byte, 16), false},
		"NTLM as Kerberos": {true, ntlm, false},
	} {
		if err := judgeSealed(c.kerberos, c.header); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWindowsStatusesAreTold(t *testing.T) {
	var err error = &Error{Op: "negotiate", Principal: `CORP\svc$`, Service: Service{"HTTP", "host1.corp.example"}, Err: sspiError(0x80090303)}
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "0x80090303") || !strings.Contains(e.Hint(), "setspn") {
		t.Error(err, e.Hint())
	}
	if s := sspiError(0x80090321); s.Hint() != "" || !strings.Contains(s.Error(), "0x80090321") {
		t.Error(s)
	}
}

func TestOnlyWindowsHasALoggedOnAccount(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has")
	}
	_, err := LoggedOn()
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "ccache") {
		t.Error(err)
	}
}
