package logon

import (
	"errors"
	"runtime"
	"slices"

	"github.com/alexbrainman/sspi"
)

// sspiSealer is EncryptMessage and DecryptMessage. Windows counts the messages itself.
type sspiSealer struct {
	context        *sspiContext
	block, trailer int
	kerberos       bool
}

// Quality of protection, sspi.h.
const wrapNoEncrypt = 0x80000001

// encrypt works in place, on a copy of msg.
func (s *sspiSealer) encrypt(msg []byte, qop uint32) (header, data, padding []byte, err error) {
	b := make([]sspi.SecBuffer, 3)
	data = slices.Clone(msg)
	b[0].Set(sspi.SECBUFFER_TOKEN, make([]byte, s.trailer))
	b[1].Set(sspi.SECBUFFER_DATA, data)
	b[2].Set(sspi.SECBUFFER_PADDING, make([]byte, s.block))
	if code := sspi.EncryptMessage(s.context.Handle, qop, sspi.NewSecBufferDesc(b), 0); code != sspi.SEC_E_OK {
		return nil, nil, nil, sspiError(code)
	}
	runtime.KeepAlive(s.context)
	header, padding = b[0].Bytes(), b[2].Bytes()
	return header, data, padding, judgeSealed(s.kerberos, header)
}

func (s *sspiSealer) Seal(msg []byte) (header, data []byte, err error) {
	header, data, padding, err := s.encrypt(msg, 0)
	if err == nil && len(padding) > 0 {
		err = errors.New("the message was sealed with padding: that is not AES")
	}
	if err != nil {
		return nil, nil, err
	}
	return header, data, nil
}

func (s *sspiSealer) Open(header, data []byte) ([]byte, error) {
	if err := judgeSealed(s.kerberos, header); err != nil {
		return nil, err
	}
	if s.kerberos && header[2]&isSealed == 0 {
		return nil, errors.New("the message is signed but not sealed")
	}
	b := make([]sspi.SecBuffer, 2)
	header, data = slices.Clone(header), slices.Clone(data)
	b[0].Set(sspi.SECBUFFER_TOKEN, header)
	b[1].Set(sspi.SECBUFFER_DATA, data)
	var qop uint32
	if code := sspi.DecryptMessage(s.context.Handle, sspi.NewSecBufferDesc(b), 0, &qop); code != sspi.SEC_E_OK {
		return nil, sspiError(code)
	}
	runtime.KeepAlive(s.context)
	if qop == wrapNoEncrypt {
		return nil, errors.New("the message is signed but not sealed")
	}
	return b[1].Bytes(), nil
}

func (s *sspiSealer) Wrap(msg []byte, seal bool) ([]byte, error) {
	qop := uint32(0)
	if !seal && s.kerberos { // NTLM's layer always seals, as ours does
		qop = wrapNoEncrypt
	}
	header, data, padding, err := s.encrypt(msg, qop)
	return slices.Concat(header, data, padding), err
}

func (s *sspiSealer) Unwrap(token []byte) (msg []byte, sealed bool, err error) {
	b := make([]sspi.SecBuffer, 2)
	token = slices.Clone(token)
	b[0].Set(sspi.SECBUFFER_STREAM, token)
	b[1].Set(sspi.SECBUFFER_DATA, nil)
	var qop uint32
	if code := sspi.DecryptMessage(s.context.Handle, sspi.NewSecBufferDesc(b), 0, &qop); code != sspi.SEC_E_OK {
		return nil, false, sspiError(code)
	}
	runtime.KeepAlive(s.context)
	runtime.KeepAlive(token)
	return slices.Clone(b[1].Bytes()), qop != wrapNoEncrypt, nil
}
