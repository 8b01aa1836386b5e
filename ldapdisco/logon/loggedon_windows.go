package logon

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/alexbrainman/sspi"
	"golang.org/x/sys/windows"
)

// LoggedOnLogin is the account that this program runs as. Close frees what Windows keeps for it.
type LoggedOnLogin struct {
	principal string
	maxToken  uint32
	requests  chan struct{}

	mu   sync.RWMutex // write: to free cred
	cred *sspi.Credentials
}

var _ Login = (*LoggedOnLogin)(nil)

func newLoggedOn() (*LoggedOnLogin, error) {
	l := &LoggedOnLogin{principal: currentAccount(), requests: make(chan struct{}, defaultTicketRequests)}
	fail := func(op string, err error) (*LoggedOnLogin, error) {
		return nil, &Error{Op: op, Principal: l.principal, Err: status(err)}
	}
	info, err := sspi.QueryPackageInfo(sspi.NEGOSSP_NAME)
	if err != nil {
		return fail("find Windows' Negotiate", err)
	}
	l.maxToken = info.MaxToken
	if l.cred, err = sspi.AcquireCredentials("", sspi.NEGOSSP_NAME, sspi.SECPKG_CRED_OUTBOUND, nil); err != nil {
		return fail("acquire the credentials", err)
	}
	return l, nil
}

// currentAccount is CORP\admin or CORP\svc-wavelock$.
func currentAccount() string {
	size := uint32(256)
	for range 2 { // the first call may tell that it needs more
		name := make([]uint16, size)
		if windows.GetUserNameEx(windows.NameSamCompatible, &name[0], &size) == nil {
			return windows.UTF16ToString(name)
		}
	}
	return "the logged-on account"
}

// status makes Windows' status readable.
func status(err error) error {
	var n syscall.Errno
	if errors.As(err, &n) {
		return sspiError(n)
	}
	return err
}

// Principal is CORP\admin.
func (l *LoggedOnLogin) Principal() string { return l.principal }

// Start begins a context with a service.
func (l *LoggedOnLogin) Start(_ context.Context, to Service, bind Binding) (Exchange, error) {
	flags := uint32(sspi.ISC_REQ_CONNECTION | sspi.ISC_REQ_MUTUAL_AUTH)
	sealing := bind == nil || !to.isLDAP()
	if sealing {
		flags |= sspi.ISC_REQ_CONFIDENTIALITY | sspi.ISC_REQ_INTEGRITY | sspi.ISC_REQ_REPLAY_DETECT | sspi.ISC_REQ_SEQUENCE_DETECT
	}
	spn, err := syscall.UTF16PtrFromString(to.String())
	if err != nil {
		return nil, &Error{Op: "start", Principal: l.principal, Service: to, Err: err}
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.cred == nil {
		return nil, &Error{Op: "start", Principal: l.principal, Service: to, Err: errors.New("the login is closed")}
	}
	return &sspiExchange{login: l, to: to, spn: spn, bindings: channelBindings(bind), sealing: sealing, context: &sspiContext{Context: sspi.NewClientContext(l.cred, flags)}}, nil
}

// Close frees the credentials. Contexts that stand are not touched.
func (l *LoggedOnLogin) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cred := l.cred
	l.cred = nil
	if cred == nil {
		return nil
	}
	if err := cred.Release(); err != nil {
		return &Error{Op: "close", Principal: l.principal, Err: status(err)}
	}
	return nil
}

// sspiContext frees Windows' context when nobody holds it any more: an Exchange has no end of its own.
type sspiContext struct {
	*sspi.Context
	owned bool
}

// own is called once there is something to free.
func (c *sspiContext) own() {
	if !c.owned && c.Handle != nil {
		c.owned = true
		runtime.SetFinalizer(c, func(c *sspiContext) { c.Release() })
	}
}

// sspiExchange is whatever Windows' Negotiate does.
type sspiExchange struct {
	login    *LoggedOnLogin
	to       Service
	spn      *uint16
	bindings []byte
	sealing  bool
	context  *sspiContext
	asked    bool
	done     bool
}

func (x *sspiExchange) fail(op string, err error) error {
	return &Error{Op: op, Principal: x.login.principal, Service: x.to, Err: status(err)}
}

type sspiStep struct {
	out  []byte
	done bool
	err  error
}

// Next may wait for a domain controller, and Windows knows no context: when ctx ends first, the call goes on for itself
// and keeps its slot until it ends.
func (x *sspiExchange) Next(ctx context.Context, in []byte) ([]byte, bool, error) {
	if x.done {
		return nil, false, x.fail("finish", errors.New("the host sent a token after the logon was over"))
	}
	if x.asked && len(in) == 0 {
		return nil, false, x.fail("negotiate", errors.New("the host sent no token"))
	}
	x.asked = true
	select {
	case x.login.requests <- struct{}{}:
	case <-ctx.Done():
		return nil, false, x.fail("negotiate", ctx.Err())
	}
	result := make(chan sspiStep, 1)
	go func() {
		defer func() { <-x.login.requests }()
		result <- x.step(in)
	}()
	select {
	case s := <-result:
		if s.err != nil {
			return nil, false, x.fail("negotiate", s.err)
		}
		x.done = s.done
		return s.out, s.done, nil
	case <-ctx.Done():
		x.done = true // the context belongs to the call that goes on
		return nil, false, x.fail("negotiate", ctx.Err())
	}
}

func (x *sspiExchange) step(in []byte) sspiStep {
	x.login.mu.RLock()
	defer x.login.mu.RUnlock()
	if x.login.cred == nil {
		return sspiStep{err: errors.New("the login is closed")}
	}
	var ins []sspi.SecBuffer
	add := func(kind uint32, b []byte) {
		if len(b) > 0 {
			var s sspi.SecBuffer
			s.Set(kind, b)
			ins = append(ins, s)
		}
	}
	add(sspi.SECBUFFER_TOKEN, in)
	add(sspi.SECBUFFER_CHANNEL_BINDINGS, x.bindings)
	var input *sspi.SecBufferDesc
	if len(ins) > 0 {
		input = sspi.NewSecBufferDesc(ins)
	}
	outs := make([]sspi.SecBuffer, 1)
	outs[0].Set(sspi.SECBUFFER_TOKEN, make([]byte, x.login.maxToken))
	output := sspi.NewSecBufferDesc(outs)
	code := x.context.Update(x.spn, output, input)
	if code == sspi.SEC_I_COMPLETE_NEEDED || code == sspi.SEC_I_COMPLETE_AND_CONTINUE {
		next := map[syscall.Errno]syscall.Errno{sspi.SEC_I_COMPLETE_NEEDED: sspi.SEC_E_OK, sspi.SEC_I_COMPLETE_AND_CONTINUE: sspi.SEC_I_CONTINUE_NEEDED}[code]
		if code = sspi.CompleteAuthToken(x.context.Handle, output); code == sspi.SEC_E_OK {
			code = next
		}
	}
	if code != sspi.SEC_E_OK && code != sspi.SEC_I_CONTINUE_NEEDED {
		return sspiStep{err: code}
	}
	x.context.own()
	step := sspiStep{done: code == sspi.SEC_E_OK}
	if outs[0].BufferSize > 0 {
		step.out = outs[0].Bytes()
	}
	if step.done {
		step.err = x.check()
	}
	return step
}

// check holds what was agreed against what was asked for.
func (x *sspiExchange) check() error {
	const need = sspi.ISC_REQ_CONFIDENTIALITY | sspi.ISC_REQ_INTEGRITY | sspi.ISC_REQ_REPLAY_DETECT | sspi.ISC_REQ_SEQUENCE_DETECT
	if x.sealing && x.context.EstablishedFlags&need != need {
		return errors.New("no sealing was agreed")
	}
	if kind, ok := x.context.etype(); ok && x.context.kerberos() && kind != etypes[0] && kind != etypes[1] {
		return notAES("the key", kind)
	}
	return nil
}

// Attributes of a context, sspi.h.
const (
	attrKeyInfo         = 5
	attrNegotiationInfo = 12
)

// kerberos tells if Negotiate chose Kerberos.
func (c *sspiContext) kerberos() bool {
	var info struct {
		pkg   *sspi.SecPkgInfo
		state uint32
	}
	if sspi.QueryContextAttributes(c.Handle, attrNegotiationInfo, (*byte)(unsafe.Pointer(&info))) != sspi.SEC_E_OK || info.pkg == nil {
		return false
	}
	defer sspi.FreeContextBuffer((*byte)(unsafe.Pointer(info.pkg)))
	return strings.EqualFold(windows.UTF16PtrToString(info.pkg.Name), sspi.MICROSOFT_KERBEROS_NAME)
}

// etype is the encryption type of Kerberos' session key, where Windows tells it.
func (c *sspiContext) etype() (int32, bool) {
	var info struct {
		signing, encryption *uint16
		bits                uint32
		signType, encType   uint32
	}
	if sspi.QueryContextAttributes(c.Handle, attrKeyInfo, (*byte)(unsafe.Pointer(&info))) != sspi.SEC_E_OK {
		return 0, false
	}
	for _, name := range []*uint16{info.signing, info.encryption} {
		if name != nil {
			sspi.FreeContextBuffer((*byte)(unsafe.Pointer(name)))
		}
	}
	return int32(info.encType), true
}

func (x *sspiExchange) Sealer() (Sealer, error) {
	if !x.done || !x.sealing {
		return nil, x.fail("seal", errors.New("no sealing was agreed"))
	}
	_, signature, block, trailer, err := x.context.Sizes()
	if err != nil {
		return nil, x.fail("seal", err)
	}
	if signature == 0 || trailer == 0 {
		return nil, x.fail("seal", errors.New("no sealing was agreed"))
	}
	return &sspiSealer{context: x.context, block: int(block), trailer: int(trailer), kerberos: x.context.kerberos()}, nil
}

func (x *sspiExchange) Protocol() string { return protocolSPNEGO }
func (x *sspiExchange) Scheme() string   { return SchemeNegotiate }
