//go:build !windows

package machinetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/masterzen/winrm"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout/wsman"
)

// BenchmarkClients measures the CPU time of a client, which is another process, for one host: to connect, to log on, and
// to list the listeners or to run one command. Others run the same command on the same computer, in the same run.
//
//	go test ./rollout/machinetest -run - -bench Clients -benchtime 1x
//
// The command goes over HTTPS with NTLM: sealing over HTTP is what not all of them can do.
func BenchmarkClients(b *testing.B) {
	s := newStage(b)
	krb := "" // Kerberos with the cache that stage made
	for _, v := range s.env {
		if conf, ok := strings.CutPrefix(v, "KRB5_CONFIG="); ok {
			krb = conf
		}
	}
	vars := append(s.env, "WAVELOCK_COST_CONF="+krb, "WAVELOCK_COST_CCACHE="+s.dir+"/ccache", "WAVELOCK_COST_CA="+s.cert,
		"WAVELOCK_COST_HTTP="+s.h.Address(5985), "WAVELOCK_COST_HTTPS="+s.h.Address(5986))
	measure := func(b *testing.B, client string, times int) float64 {
		b.Helper()
		return max(0, costOf(b, vars, client, times)-costOf(b, vars, client, 0)) / float64(times)
	}
	for client, most := range map[string]float64{"list-ntlm-http": 3, "list-ntlm-https": 6, "list-kerberos-http": 3, "list-kerberos-https": 6} {
		b.Run(client, func(b *testing.B) {
			for b.Loop() {
				cost := measure(b, client, 200)
				b.ReportMetric(cost, "cpu-ms/host")
				if cost > most {
					b.Errorf("%.1f ms, the budget is %v", cost, most)
				}
			}
		})
	}
	var ours float64
	b.Run("command", func(b *testing.B) {
		for b.Loop() {
			ours = measure(b, "cmd-wavelock", 200)
			b.ReportMetric(ours, "cpu-ms/host")
		}
	})
	b.Run("command by masterzen's client", func(b *testing.B) {
		for b.Loop() {
			theirs := measure(b, "cmd-masterzen", 100)
			b.ReportMetric(theirs, "cpu-ms/host")
			b.ReportMetric(theirs/ours, "times-ours")
		}
	})
	b.Run("command by Ansible's raw", func(b *testing.B) {
		if _, err := exec.LookPath("ansible"); err != nil {
			b.Skip(err)
		}
		for b.Loop() {
			theirs := ansibleCost(b, s, 10)
			b.ReportMetric(theirs, "cpu-ms/host")
			b.ReportMetric(theirs/ours, "times-ours")
			if theirs < 20*ours {
				b.Errorf("only %.1f times what we need", theirs/ours)
			}
		}
	})
}

// costOf runs TestClient in another process and answers its CPU time in milliseconds.
func costOf(b *testing.B, env []string, client string, times int) float64 {
	b.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestClient$")
	c.Env = append(env, "WAVELOCK_COST_CLIENT="+client, "WAVELOCK_COST_TIMES="+strconv.Itoa(times))
	if out, err := c.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v %s", client, err, out)
	}
	return cpu(c.ProcessState)
}

func cpu(p *os.ProcessState) float64 {
	return float64((p.UserTime() + p.SystemTime()).Microseconds()) / 1000
}

// ansibleCost is for one of so many hosts, that are all the same computer.
func ansibleCost(b *testing.B, s *stage, hosts int) float64 {
	b.Helper()
	var names strings.Builder
	for i := range hosts {
		fmt.Fprintf(&names, "h%d,", i)
	}
	vars := fmt.Sprintf(`{"ansible_connection":"winrm","ansible_host":%q,"ansible_port":%d,"ansible_winrm_scheme":"https","ansible_winrm_transport":"ntlm",`+
		`"ansible_user":"CORP\\admin","ansible_password":%q,"ansible_winrm_server_cert_validation":"ignore","ansible_shell_type":"powershell"}`, s.h.cfg.Address, s.h.cfg.HTTPSPort, testPassword)
	c := exec.Command("ansible", "all", "-f", "2", "-i", names.String(), "-m", "raw", "-a", "hostname", "-e", vars)
	c.Env, c.Dir = s.env, s.dir
	out, err := c.CombinedOutput()
	if err != nil || strings.Count(string(out), "web01") < hosts {
		b.Fatalf("%v %s", err, out)
	}
	return cpu(c.ProcessState) / float64(hosts)
}

// TestClient is the other process of BenchmarkClients.
func TestClient(t *testing.T) {
	client := os.Getenv("WAVELOCK_COST_CLIENT")
	if client == "" {
		t.Skip("it is a part of BenchmarkClients")
	}
	once, end := costClient(t, client)
	defer end()
	times, err := strconv.Atoi(os.Getenv("WAVELOCK_COST_TIMES"))
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		if err := once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// costClient is what one client does for one host.
func costClient(t *testing.T, client string) (once func(context.Context) error, end func() error) {
	t.Helper()
	end = func() error { return nil }
	if client == "cmd-masterzen" {
		return masterzenCommand, end
	}
	target := wsman.Target{Host: testFQDN, Address: os.Getenv("WAVELOCK_COST_HTTP"), Login: logon.NTLM("CORP", "admin", testPassword), Timeout: 10 * time.Second}
	if strings.Contains(client, "kerberos") {
		conf, err := os.ReadFile(os.Getenv("WAVELOCK_COST_CONF"))
		if err != nil {
			t.Fatal(err)
		}
		k, err := logon.Kerberos(logon.KerberosConfig{CCache: os.Getenv("WAVELOCK_COST_CCACHE"), Conf: string(conf)})
		if err != nil {
			t.Fatal(err)
		}
		target.Login, end = k, k.Close
	}
	if strings.HasSuffix(client, "https") || client == "cmd-wavelock" {
		target.Address, target.TLS = os.Getenv("WAVELOCK_COST_HTTPS"), &tls.Config{RootCAs: costRoots(t)}
	}
	return func(ctx context.Context) error {
		s, err := wsman.Open(ctx, target)
		if err != nil {
			return err
		}
		defer s.Close()
		if client == "cmd-wavelock" {
			return runHostname(ctx, s)
		}
		n := 0
		for _, err := range s.Enumerate(ctx, wsman.Config("listener"), wsman.Query{}) {
			if err != nil {
				return err
			}
			n++
		}
		if n != 2 {
			return fmt.Errorf("%d listeners", n)
		}
		return nil
	}, end
}

func costRoots(t *testing.T) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(os.Getenv("WAVELOCK_COST_CA"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

func runHostname(ctx context.Context, s *wsman.Session) error {
	sh, err := s.Shell(ctx)
	if err != nil {
		return err
	}
	res, err := sh.Run(ctx, "hostname", nil)
	if err != nil || strings.TrimSpace(string(res.Stdout)) != "web01" {
		return fmt.Errorf("%q: %w", res.Stdout, errors.Join(err, errors.New("not the host's name")))
	}
	return sh.Close(ctx)
}

func masterzenCommand(ctx context.Context) error {
	host, port, _ := strings.Cut(os.Getenv("WAVELOCK_COST_HTTPS"), ":")
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	params := *winrm.DefaultParameters
	params.TransportDecorator = func() winrm.Transporter { return &winrm.ClientNTLM{} }
	c, err := winrm.NewClientWithParameters(winrm.NewEndpoint(host, n, true, true, nil, nil, nil, 10*time.Second), `CORP\admin`, testPassword, &params)
	if err != nil {
		return err
	}
	out, _, code, err := c.RunWithContextWithString(ctx, "hostname", "")
	if err != nil || code != 0 || strings.TrimSpace(out) != "web01" {
		return fmt.Errorf("%q %d: %w", out, code, errors.Join(err, errors.New("not the host's name")))
	}
	return nil
}
