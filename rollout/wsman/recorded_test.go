package wsman

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/masterzen/winrm"
)

// fixtureFolder holds traffic recorded by other projects. It is not part of the repository.
func fixtureFolder(t testing.TB) string {
	return filepath.Join(repositoryRoot(t), "..", "shared", "fixtures", "wsman")
}

func fixtures(t testing.TB) string {
	t.Helper()
	dir := fixtureFolder(t)
	if !exists(dir) {
		if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
			t.Fatal("the recorded traffic is missing")
		}
		t.Skip("the recorded traffic is not here")
	}
	return dir
}

type recording struct {
	Messages []struct{ Request, Response string }
}

// recordings are exchanges of pypsrp with Windows hosts.
func recordings(t testing.TB) map[string]recording {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(fixtures(t), "pypsrp", "*.yml"))
	if len(files) == 0 {
		t.Fatal("no recordings")
	}
	all := map[string]recording{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var r recording
		if err := yaml.Unmarshal(b, &r); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".yml")] = r
	}
	return all
}

// readRecorded runs an answer through the session's own reader.
func readRecorded(t testing.TB, response, id string) (*Element, error) {
	t.Helper()
	s := &Session{target: Target{Host: "host1"}}
	status := 200
	if strings.Contains(response, ":Fault>") {
		status = 500
	}
	return s.read(request{op: "read", id: id}, &answer{status: status, body: []byte(response)})
}

// One answer in test_winrs_unicode is to a message that is not in the recording, which was pieced together.
const (
	strayRequest = "uuid:52898947-C9BF-4DA9-9A9D-FAFB0CDB5566"
	strayAnswer  = "uuid:C6D0BB3D-5D04-44D6-ADC9-1DB2E445AB14"
)

func TestRecordedAnswersAreRead(t *testing.T) {
	faults, answers := 0, 0
	for name, r := range recordings(t) {
		for i, m := range r.Messages {
			sent, err := Parse([]byte(m.Request))
			if err != nil {
				t.Fatalf("%s %d: request: %v", name, i, err)
			}
			id := sent.Child("Header").Value("MessageID")
			if id == strayRequest {
				id = strayAnswer
			}
			body, err := readRecorded(t, m.Response, id)
			if f, ok := err.(*Fault); ok {
				faults++
				if f.Code == 0 || f.Status != 500 {
					t.Errorf("%s %d: %+v", name, i, f)
				}
				continue
			}
			if err != nil || body == nil {
				t.Fatalf("%s %d: %v", name, i, err)
			}
			answers++
			if _, err := readRecorded(t, m.Response, "uuid:another"); err == nil {
				t.Errorf("%s %d: taken for the answer to another message", name, i)
			}
		}
	}
	if faults == 0 || answers == 0 {
		t.Fatalf("%d faults, %d answers", faults, answers)
	}
}

func TestRecordedFaults(t *testing.T) {
	all := recordings(t)
	timeouts := 0
	for _, m := range all["test_winrs_operation_timeout"].Messages {
		if _, err := readRecorded(t, m.Response, ""); err != nil {
			if f := err.(*Fault); f.IsTimedOut() && f.Code == 2150858793 {
				timeouts++
			}
		}
	}
	if timeouts == 0 {
		t.Error("no operation time-out was recognised")
	}
	invalid := 0
	for _, m := range all["test_psrp_is_alive_invalid_selectors"].Messages {
		if _, err := readRecorded(t, m.Response, ""); err != nil && err.(*Fault).IsInvalidSelectors() {
			invalid++
		}
	}
	if invalid == 0 {
		t.Error("no invalid selectors were recognised")
	}
	for file, want := range map[string]Fault{
		"soap_fault_v1.xml":           {Code: 2150858778, Subcode: "n:CannotProcessFilter", Provider: "WMIv1 plugin for Windows Remote Management", Message: "The specified class does not exist in the given namespace."},
		"soap_fault_v2.xml":           {Code: 2150858778, Subcode: "n:CannotProcessFilter", Provider: "WMI Provider", Message: "The specified class does not exist in the given namespace."},
		"wmi_error_v2.xml":            {Code: 2150859173, Subcode: "w:QuotaLimit", Message: "The WS-Management service cannot process the request. This user is allowed a maximum number of 30 concurrent shells, which has been exceeded. Close existing shells or raise the quota for this user."},
		"get_omi_config_response.xml": {Subcode: "wsman:InternalError"},
	} {
		_, err := readRecorded(t, readFixture(t, file), "")
		f, ok := err.(*Fault)
		if !ok || f.Code != want.Code || f.Subcode != want.Subcode || f.Provider != want.Provider || f.Message != want.Message {
			t.Errorf("%s: %+v", file, f)
		}
	}
}

func readFixture(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(fixtures(t), "winrb", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRecordedConfigIsUnderstood(t *testing.T) {
	for _, m := range recordings(t)["test_wsman_update_envelope_size_500"].Messages {
		body, err := readRecorded(t, m.Response, "")
		if err != nil {
			t.Fatal(err)
		}
		config := body.Child("Config")
		if config == nil {
			continue
		}
		service := config.Child("Service")
		if service.Value("AllowUnencrypted") == "" || service.Child("Auth").Value("CbtHardeningLevel") == "" || service.Child("DefaultPorts").Value("HTTPS") != "5986" {
			t.Fatalf("%+v", service)
		}
		return
	}
	t.Fatal("no configuration in the recording")
}

// The recorded shells run through the library's parsers as Shell and command use them.
func TestRecordedShells(t *testing.T) {
	for name, want := range map[string]struct {
		stdout string
		exit   int
	}{
		"test_winrs_standard":          {"hi", 0},
		"test_winrs_unicode":           {"", 0},
		"test_winrs_stderr_rc":         {"", 1},
		"test_winrs_operation_timeout": {"hi", 0},
	} {
		var out, errs strings.Builder
		exit, ended := -1, false
		for _, m := range recordings(t)[name].Messages {
			body, err := readRecorded(t, m.Response, "")
			if err != nil || body.Child("ReceiveResponse") == nil {
				continue
			}
			if _, _, err := winrm.ParseSlurpOutputErrResponse(m.Response, &out, &errs); err != nil {
				t.Fatal(err)
			}
			c := &command{session: &Session{}}
			if ended, err = c.ended("read", body); err != nil {
				t.Fatal(err)
			}
			exit = c.out.ExitCode
		}
		if !ended || exit != want.exit || !strings.Contains(out.String(), want.stdout) {
			t.Errorf("%s: ended %v, exit %d, %q %q", name, ended, exit, out.String(), errs.String())
		}
	}
	for _, file := range []string{"open_shell_v1.xml", "open_shell_v2.xml"} {
		body, err := readRecorded(t, readFixture(t, file), "")
		if err != nil {
			t.Fatal(err)
		}
		r := reference(body.Child("ResourceCreated"))
		if len(r.Selectors) != 1 || r.Selectors[0].Name != "ShellId" || !isGUID(r.Selectors[0].Value) {
			t.Errorf("%s: %+v", file, r)
		}
	}
}

// Our messages have the elements that a client which Windows accepts sends.
func TestOurHeadersAreThoseThatWindowsAccepts(t *testing.T) {
	m := recordings(t)["test_wsman_update_envelope_size_500"].Messages[0]
	theirs, ours := headerShape(t, m.Request), headerShape(t, envelope{action: actionGet, resource: Config("")}.String())
	for name := range theirs {
		if !ours[name] {
			t.Errorf("%s is missing", name)
		}
	}
	for name := range ours {
		if !theirs[name] {
			t.Errorf("%s is ours alone", name)
		}
	}
}

// headerShape lists the header elements with their namespaces and mustUnderstand.
func headerShape(t *testing.T, s string) map[string]bool {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	shape := map[string]bool{}
	inHeader := false
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return shape
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := tok.(xml.StartElement)
		switch {
		case !ok:
		case start.Name.Local == "Header":
			inHeader = true
		case start.Name.Local == "Body":
			return shape
		case inHeader:
			name := start.Name.Space + " " + start.Name.Local
			for _, a := range start.Attr {
				if a.Name.Local == "mustUnderstand" {
					name += " " + a.Name.Space + " " + a.Value
				}
			}
			shape[name] = true
		}
	}
}
