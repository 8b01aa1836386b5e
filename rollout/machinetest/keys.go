package machinetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const (
	// keyACL is what a key of the computer has: the administrators and SYSTEM.
	keyACL = "D:PAI(A;;GAGR;;;BA)(A;;GAGR;;;SY)"
	// grantedACL is what it has after somebody gave NETWORK SERVICE the right to read in the certificates' snap-in.
	grantedACL  = "D:PAI(A;;0xd01f01ff;;;SY)(A;;0xd01f01ff;;;BA)(A;;0x80120089;;;NS)"
	errNoObject = 0x80090011 // NTE_NOT_FOUND
)

// certutilStore prints a certificate of the computer's own store. With -v it prints who may use the key, as SDDL and in
// words; a key on a smart card has no such list.
func (x *execution) certutilStore(args, files []string) int {
	if len(files) != 2 || files[0] != "my" {
		return hresult(errNoObject)
	}
	thumb := strings.ToUpper(files[1])
	blob, ok := x.h.reg.Get(myKey+`\`+thumb, "Blob")
	if !ok {
		fmt.Fprintf(&x.out, "my \"Personal\"\r\nCertUtil: -store command FAILED: 0x%x (-2146893807 NTE_NOT_FOUND)\r\n", errNoObject)
		return hresult(errNoObject)
	}
	fmt.Fprintf(&x.out, "my \"Personal\"\r\n================ Certificate 0 ================\r\nSubject:\r\n    O=Example D:\r\n  Cert Hash(sha1): %s\r\n", strings.ToLower(thumb))
	if bytes.Contains(blob.Data, utf16z("Microsoft Software Key Storage Provider")) {
		fmt.Fprintf(&x.out, "    Key Container = %s\r\n  Unique container name: %032x_6e4d3030-8aae-40f0-9282-d69ccdd4ff34\r\n    Provider = Microsoft Software Key Storage Provider\r\n", thumb[:8], len(thumb))
		if acl := x.h.keyACL; acl != "" && slices.Contains(args, "-v") {
			fmt.Fprintf(&x.out, "  Export Policy = 0\r\n  Key Usage = ffffff\r\n\r\n  %s\r\n\r\n    Allow Full Control\tNT AUTHORITY\\SYSTEM\r\n", acl)
		}
	}
	x.out.WriteString("Private key is NOT exportable\r\nSignature test passed\r\nCertUtil: -store command completed successfully.\r\n")
	return 0
}
