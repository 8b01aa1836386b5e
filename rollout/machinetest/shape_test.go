package machinetest

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// Traffic that other projects recorded from Windows is not part of the repository:
// it is read where it lies. See its README for where it comes from.
func fixtures(t *testing.T, glob string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "fixtures", "wsman", glob))
	if err != nil || len(files) == 0 {
		if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
			t.Fatalf("the recorded traffic %s is missing", glob)
		}
		t.Skip("the recorded traffic is not here")
	}
	return files
}

type exchange struct{ Request, Response string }

// recorded is one exchange of a recording, the first whose request has the text.
func recorded(t *testing.T, file, request, response string) exchange {
	t.Helper()
	b, err := os.ReadFile(fixtures(t, "pypsrp/"+file+".yml")[0])
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Messages []exchange }
	if err := yaml.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Messages {
		if strings.Contains(m.Request, request) && strings.Contains(m.Response, response) {
			return m
		}
	}
	t.Fatalf("%s has no exchange with %s and %s", file, request, response)
	return exchange{}
}

// shape lists a document's elements with their depth and namespace, in order, and
// their attributes without values. Namespaces of WMI errors differ between
// generations of Windows; texts are not looked at.
func shape(t *testing.T, doc string) []string {
	t.Helper()
	var root node
	if err := xml.Unmarshal([]byte(doc), &root); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	var out []string
	var walk func(n *node, depth int)
	walk = func(n *node, depth int) {
		var attrs []string
		for _, a := range n.Attrs {
			if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
				attrs = append(attrs, a.Name.Local)
			}
		}
		slices.Sort(attrs)
		line := fmt.Sprintf("%s{%s}%s %s", strings.Repeat(" ", depth), n.XMLName.Space, n.XMLName.Local, strings.Join(attrs, ","))
		out = append(out, strings.TrimRight(line, " "))
		for i := range n.Nodes {
			walk(&n.Nodes[i], depth+1)
		}
	}
	walk(&root, 0)
	return out
}

// sameShape compares two documents line by line. Without says which recorded lines
// depend on the version or on the account, and need not be there.
func sameShape(t *testing.T, ours, theirs string, without ...string) {
	t.Helper()
	drop := func(l string) bool {
		return slices.ContainsFunc(without, func(w string) bool { return strings.HasSuffix(l, "}"+w) })
	}
	a, b := slices.DeleteFunc(shape(t, ours), drop), slices.DeleteFunc(shape(t, theirs), drop)
	if slices.Equal(a, b) {
		return
	}
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			t.Errorf("line %d: ours %q, recorded %q", i+1, x, y)
			return
		}
	}
}

// replay sends a recorded request to a computer of ours, with the ids that our
// computer gave out in place of the recorded ones.
func replay(t *testing.T, h *Host, request string, ids ...string) string {
	t.Helper()
	_, out, reset := h.soap(as("admin"), []byte(strings.NewReplacer(ids...).Replace(request)))
	if reset {
		t.Fatal("the connection was reset")
	}
	return out
}

// idIn is the text of the first element of that name.
func idIn(t *testing.T, doc, element string) string {
	t.Helper()
	_, rest, ok := strings.Cut(doc, ":"+element+">")
	id, _, ok2 := strings.Cut(rest, "<")
	if !ok || !ok2 {
		t.Fatalf("no %s in %s", element, doc)
	}
	return id
}

// Recorded requests of a client of Windows, played to our computer: its answers
// have the elements, order and namespaces of Windows' answers.
func TestAShellHasTheRecordedShape(t *testing.T) {
	t.Parallel()
	const file = "test_winrs_standard"
	h := newHost(t)
	var ids []string
	for _, step := range []string{"transfer/Create<", "shell/Command<", "shell/Receive<", "shell/Signal<", "transfer/Delete<"} {
		m := recorded(t, file, step, "")
		out := replay(t, h, m.Request, ids...)
		sameShape(t, out, m.Response)
		switch step {
		case "transfer/Create<":
			ids = append(ids, idIn(t, m.Response, "ShellId"), idIn(t, out, "ShellId"))
		case "shell/Command<":
			ids = append(ids, idIn(t, m.Response, "CommandId"), idIn(t, out, "CommandId"))
		}
		if t.Failed() {
			t.Fatalf("%s\nours: %s\nrecorded: %s", step, out, m.Response)
		}
	}
}

func TestACommandThatFailsHasTheRecordedShape(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	create := recorded(t, "test_winrs_stderr_rc", "transfer/Create<", "")
	shell := replay(t, h, create.Request)
	ids := []string{idIn(t, create.Response, "ShellId"), idIn(t, shell, "ShellId")}
	command := recorded(t, "test_winrs_stderr_rc", "shell/Command<", "")
	// The recording starts PowerShell; a command that fails with a text on stderr does it here.
	_, rest, _ := strings.Cut(command.Request, "<rsp:CommandLine>")
	line, _, _ := strings.Cut(rest, "</rsp:CommandLine>")
	out := replay(t, h, strings.Replace(command.Request, line, "<rsp:Command>unknown-program</rsp:Command>", 1), ids...)
	ids = append(ids, idIn(t, command.Response, "CommandId"), idIn(t, out, "CommandId"))
	receive := recorded(t, "test_winrs_stderr_rc", "shell/Receive<", "CommandState/Done")
	got := replay(t, h, receive.Request, ids...)
	// How many pieces the output comes in is chance.
	sameShape(t, got, receive.Response, "Stream CommandId,Name")
	if !strings.Contains(got, `<rsp:Stream Name="stderr" CommandId="`+ids[3]+`">`) {
		t.Errorf("nothing on stderr: %s", got)
	}
}

func TestFaultsHaveTheRecordedShape(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	t.Run("a shell that is gone", func(t *testing.T) {
		m := recorded(t, "test_psrp_is_alive_invalid_selectors", "transfer/Get<", ":Fault>")
		sameShape(t, replay(t, h, m.Request), m.Response)
	})
	t.Run("an operation without news", func(t *testing.T) {
		m := recorded(t, "test_winrs_operation_timeout", "shell/Receive<", ":Fault>")
		created := recorded(t, "test_winrs_operation_timeout", "transfer/Create<", "")
		shell := replay(t, h, created.Request)
		ids := []string{idIn(t, created.Response, "ShellId"), idIn(t, shell, "ShellId")}
		command := recorded(t, "test_winrs_operation_timeout", "shell/Command<", "")
		_, rest, _ := strings.Cut(command.Request, "<rsp:CommandLine>")
		line, _, _ := strings.Cut(rest, "</rsp:CommandLine>")
		out := replay(t, h, strings.Replace(command.Request, line, `<rsp:Command>findstr x</rsp:Command>`, 1), ids...)
		ids = append(ids, idIn(t, command.Response, "CommandId"), idIn(t, out, "CommandId"), "PT10S", "PT0.1S")
		sameShape(t, replay(t, h, m.Request, ids...), m.Response)
	})
	t.Run("too many shells", func(t *testing.T) {
		theirs, err := os.ReadFile(fixtures(t, "winrb/wmi_error_v2.xml")[0])
		if err != nil {
			t.Fatal(err)
		}
		h.Set(Quota)
		m := recorded(t, "test_winrs_standard", "transfer/Create<", "")
		sameShape(t, replay(t, h, m.Request), string(theirs), "RelatesTo") // the recording was shortened
	})
	t.Run("a class that does not exist", func(t *testing.T) {
		theirs, err := os.ReadFile(fixtures(t, "winrb/soap_fault_v2.xml")[0])
		if err != nil {
			t.Fatal(err)
		}
		c := client{t: t, h: h}
		_, out := c.raw("enumeration/Enumerate", nsWMI+"root/cimv2/*", nil, fmt.Sprintf(enumerateBody, `<w:Filter Dialect="http://schemas.microsoft.com/wbem/wsman/1/WQL">Select * from Win32_Processa where name="sshd.exe"</w:Filter>`))
		sameShape(t, out, string(theirs))
	})
}

func TestTheConfigurationHasTheRecordedShape(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	m := recorded(t, "test_wsman_update_envelope_size_500", "transfer/Get<", "cfg:Config")
	ours := replay(t, h, m.Request)
	sameShape(t, ours, m.Response)
	// Read by itself, the service has the same elements in a namespace of its own.
	c := client{t: t, h: h}
	_, alone := c.raw("transfer/Get", nsConfig+"/service", nil, "")
	cut := func(doc string) string {
		i, j := strings.Index(doc, "<cfg:Service"), strings.Index(doc, "</cfg:Service>")
		if i < 0 || j < 0 {
			t.Fatalf("no service in %s", doc)
		}
		return strings.ReplaceAll(doc[i:j], nsConfig+"/service", nsConfig) + "</cfg:Service>"
	}
	theirs := strings.Replace(cut(m.Response), "<cfg:Service>", `<cfg:Service xmlns:cfg="`+nsConfig+`" xml:lang="en-US">`, 1)
	sameShape(t, cut(alone), theirs)
}
