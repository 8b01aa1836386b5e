package machine

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"wavelock/pki"
	"wavelock/rollout"
)

// requestFolder holds certreq's files for as long as it runs: certreq reads and writes nothing but files. It lies in
// the profile of SYSTEM, in which only SYSTEM and administrators can read or make anything.
const requestFolder = `%SystemRoot%\System32\config\systemprofile\wavelock`

// requestLines is certreq's policy file, in the manner of Microsoft's CertificateDsc but with a key that cannot be
// exported. It names no template: that goes to the CA, beside the request.
func requestLines(fqdn string) []string {
	return []string{
		`[Version]`, `Signature = "$Windows NT$"`,
		`[NewRequest]`, `Subject = "CN=` + fqdn + `"`, `KeySpec = 1`, `KeyLength = 2048`, `Exportable = FALSE`, `MachineKeySet = TRUE`, `SMIME = FALSE`, `Silent = TRUE`,
		`ProviderName = "Microsoft RSA SChannel Cryptographic Provider"`, `ProviderType = 12`, `RequestType = PKCS10`, `KeyUsage = 0xa0`, `HashAlgorithm = SHA256`,
		`[EnhancedKeyUsageExtension]`, `OID = 1.3.6.1.5.5.7.3.1`,
		`[Extensions]`, `2.5.29.17 = "{text}"`, `_continue_ = "dns=` + fqdn + `"`,
	}
}

// makeRequest has the host make a key and a request for it. Both stay in the host's store of requests until the
// certificate comes; what is answered is the request alone.
func (m *Machine) makeRequest(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	fqdn := string(m.host.ID)
	if err := plainArgument(fqdn); err != nil {
		return rollout.Result{}, err
	}
	d, err := m.any(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	defer m.dropRequestFolder(context.WithoutCancel(ctx), d)
	if err := m.writeFile(ctx, d, "request.inf", requestLines(fqdn)); err != nil {
		return rollout.Result{}, err
	}
	out, err := d.must(ctx, requestLine)
	if err != nil {
		return rollout.Result{}, err
	}
	block, _ := pem.Decode([]byte(strings.ReplaceAll(out, "\r\n", "\n")))
	if block == nil || len(block.Bytes) > pki.MaxRequest {
		return rollout.Result{}, fmt.Errorf("certreq left %d bytes that are no request", len(out))
	}
	return rollout.Result{Request: &rollout.CertRequest{Template: step.Template, CSR: block.Bytes, Made: m.cfg.Now().UTC()}}, nil
}

// accept has the host bind what the CA issued to the key that waits for it. A certificate that is in the store
// already, because an earlier answer of the host was lost, is not given to it again.
func (m *Machine) accept(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	if step.Request == nil || len(step.Request.Certificate) == 0 || len(step.Request.Certificate) > pki.MaxCertificate {
		return rollout.Result{}, errors.New("there is no certificate to accept")
	}
	want := pki.ThumbprintOf(step.Request.Certificate)
	d, err := m.any(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	certs, err := m.readCertificates(ctx, d)
	if err != nil {
		return rollout.Result{}, err
	}
	if !holds(certs, want) {
		defer m.dropRequestFolder(context.WithoutCancel(ctx), d)
		if err := m.writeFile(ctx, d, "answer.cer", certificateLines(step.Request.Certificate)); err != nil {
			return rollout.Result{}, err
		}
		if _, err := d.must(ctx, acceptLine); err != nil {
			return rollout.Result{}, err
		}
		if certs, err = m.readCertificates(ctx, d); err != nil {
			return rollout.Result{}, err
		}
	}
	if !holds(certs, want) {
		return rollout.Result{}, fmt.Errorf("certreq accepted %s, and it is not in the store with its key", want.Short())
	}
	return rollout.Result{Thumbprint: want, Seen: &rollout.Observation{Certificates: rollout.Saw(certs)}}, nil
}

func holds(certs []pki.Certificate, want pki.Thumbprint) bool {
	for _, c := range certs {
		if c.Thumbprint == want && c.HasKey {
			return true
		}
	}
	return false
}

// certificateLines is the certificate in PEM.
func certificateLines(der []byte) []string {
	text := base64.StdEncoding.EncodeToString(der)
	lines := []string{"-----BEGIN CERTIFICATE-----"}
	for ; len(text) > 64; text = text[64:] {
		lines = append(lines, text[:64])
	}
	return append(lines, text, "-----END CERTIFICATE-----")
}

// writeFile writes a file of requestFolder anew, in as many command lines as it takes.
func (m *Machine) writeFile(ctx context.Context, d *door, name string, lines []string) error {
	for _, line := range fileLines(name, lines) {
		if _, err := d.must(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// dropRequestFolder leaves no file behind. Nothing in it is secret: the key never was.
func (m *Machine) dropRequestFolder(ctx context.Context, d *door) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	if _, err := d.run(ctx, dropFolderLine); err != nil {
		m.cfg.Log.Warn("remove the folder of the request", "host", m.host.ID, "err", err)
	}
}
