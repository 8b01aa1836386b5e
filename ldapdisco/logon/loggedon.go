package logon

import (
	"encoding/binary"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
)

// LoggedOn is the account that this program runs as, by Windows' own Negotiate: the user at the desk, or the managed
// service account (gMSA) of a service or task, whose password only Windows knows. Windows chooses between Kerberos and
// NTLM. It is an error on other systems; what was opened there has Kerberos with a credential cache instead.
func LoggedOn() (*LoggedOnLogin, error) { return newLoggedOn() }

// channelBindings is b as SSPI takes it: SEC_CHANNEL_BINDINGS of sspi.h, eight numbers and the application data.
func channelBindings(b Binding) []byte {
	if b == nil {
		return nil
	}
	const head = 32
	s := make([]byte, head, head+len(b)) // no addresses of either end
	binary.LittleEndian.PutUint32(s[24:], uint32(len(b)))
	binary.LittleEndian.PutUint32(s[28:], head)
	return append(s, b...)
}

// sspiError is a status of winerror.h.
type sspiError uint32

func (e sspiError) Error() string {
	if text, ok := sspiTexts[e]; ok {
		return fmt.Sprintf("%s (0x%08x)", text[0], uint32(e))
	}
	return fmt.Sprintf("Windows answered 0x%08x", uint32(e))
}

func (e sspiError) Hint() string { return sspiTexts[e][1] }

// sspiTexts are what the statuses mean and what to do.
var sspiTexts = map[sspiError][2]string{
	0x80090302: {"the package cannot do what was asked", "the session needs Kerberos or NTLM with sealing; check the security policies of this computer"},
	0x80090303: {"the domain has no such service principal", "check the host's DNS name and its SPNs with setspn -Q"},
	0x80090304: {"the local security authority cannot be reached", ""},
	0x80090308: {"the host's token cannot be read", ""},
	0x8009030c: {"the logon was refused", "check the account's rights on the host, and whether NTLM is allowed"},
	0x8009030e: {"this program runs as an account without credentials", "run it as a domain account, or as a service or task of a managed service account"},
	0x8009030f: {"the message was changed on its way", ""},
	0x80090310: {"the message is out of sequence", ""},
	0x80090311: {"no domain controller can be reached", "check the network and DNS of this computer"},
	0x80090322: {"the host is not who it should be", "its SPN belongs to another account, or its computer password has changed"},
	0x80090324: {"the clocks differ too much", "check the time on this computer and on the other"},
	0x80090331: {"the host and this computer have no algorithm in common", "allow AES in msDS-SupportedEncryptionTypes; RC4 is not used"},
	0x80090342: {"the domain controller knows no encryption type of ours", "allow AES in msDS-SupportedEncryptionTypes; RC4 is not used"},
	0x80090346: {"the host expects another TLS channel", "a TLS proxy in between is refused"},
}

// judgeSealed refuses what Windows sealed with an algorithm that this package does not use itself: Kerberos with RC4 or
// DES has tokens of RFC 1964 and 4757, not of RFC 4121.
func judgeSealed(kerberos bool, header []byte) error {
	switch {
	case kerberos && (len(header) < tokenHeader || header[0] != 0x05 || header[1] != 0x04):
		return &hinted{"Kerberos without AES was agreed", kerberosHints[errorcode.KDC_ERR_ETYPE_NOSUPP]}
	case !kerberos && (len(header) != ntlmSignatureSize || binary.LittleEndian.Uint32(header) != 1):
		return &hinted{"NTLM without sealing was agreed", ""}
	}
	return nil
}
