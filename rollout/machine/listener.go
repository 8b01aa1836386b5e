package machine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/wsman"
)

// listenerOf is winrm/config/listener of a transport on every address.
func listenerOf(t rollout.Transport) wsman.Resource {
	return wsman.Config("listener", wsman.Selector{Name: "Address", Value: "*"}, wsman.Selector{Name: "Transport", Value: string(t)})
}

func readListeners(ctx context.Context, s *wsman.Session) ([]rollout.Listener, error) {
	list := []rollout.Listener{}
	for e, err := range s.Enumerate(ctx, wsman.Config("listener"), wsman.Query{}) {
		if err != nil {
			return nil, err
		}
		l := rollout.Listener{Address: e.Value("Address"), Transport: rollout.Transport(strings.ToUpper(e.Value("Transport"))), Hostname: e.Value("Hostname"),
			Enabled: e.Value("Enabled") != "false", URLPrefix: e.Value("URLPrefix"), Thumbprint: pki.ParseThumbprint(e.Value("CertificateThumbprint")),
			ListeningOn: e.Values("ListeningOn"), Source: rollout.Source(e.Attr("Source"))}
		if l.Port, err = strconv.Atoi(e.Value("Port")); err != nil {
			return nil, fmt.Errorf("read a listener: the port %q is no number", e.Value("Port"))
		}
		list = append(list, l)
	}
	return list, nil
}

func readService(ctx context.Context, s *wsman.Session) (rollout.Service, error) {
	e, err := s.Get(ctx, wsman.Config("service"))
	if err != nil {
		return rollout.Service{}, err
	}
	on := func(e *wsman.Element, name string) bool { return strings.EqualFold(e.Value(name), "true") }
	auth := e.Child("Auth")
	svc := rollout.Service{AllowUnencrypted: on(e, "AllowUnencrypted"), Basic: on(auth, "Basic"), Kerberos: on(auth, "Kerberos"), Negotiate: on(auth, "Negotiate"),
		Certificate: on(auth, "Certificate"), CredSSP: on(auth, "CredSSP"), CbtHardening: auth.Value("CbtHardeningLevel"),
		IPv4Filter: e.Value("IPv4Filter"), IPv6Filter: e.Value("IPv6Filter"), CompatHTTP: on(e, "EnableCompatibilityHttpListener"),
		CompatHTTPS: on(e, "EnableCompatibilityHttpsListener"), AllowRemoteAccess: on(e, "AllowRemoteAccess"), RootSDDL: e.Value("RootSDDL")}
	for _, parent := range []*wsman.Element{e, auth} {
		if parent == nil {
			continue
		}
		for _, c := range parent.Children {
			if c.Attr("Source") == string(rollout.SourceGPO) {
				svc.FromPolicy = append(svc.FromPolicy, c.Name)
			}
		}
	}
	return svc, nil
}

// listen makes the HTTPS listener that of the step: created, or rebound when there is one.
func (m *Machine) listen(ctx context.Context, step rollout.Step) (rollout.Result, error) {
	d, err := m.any(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	instance := wsman.NewElement("Listener",
		wsman.Field{Name: "Port", Value: strconv.Itoa(step.Port)},
		wsman.Field{Name: "Hostname", Value: step.Hostname},
		wsman.Field{Name: "Enabled", Value: "true"},
		wsman.Field{Name: "URLPrefix", Value: "wsman"},
		wsman.Field{Name: "CertificateThumbprint", Value: string(step.Thumbprint)})
	if step.Mark != "" { // what is rebound may be the only door, and a restart since the undo was armed would have fired it
		if err := m.stillArmed(ctx, d, step); err != nil {
			return rollout.Result{}, err
		}
	}
	if err := m.putPinned(ctx, d, step, instance); err != nil {
		return rollout.Result{}, err
	}
	var part rollout.Observation
	ls, err := readListeners(ctx, d.session)
	if err != nil {
		return rollout.Result{}, err
	}
	part.Listeners = rollout.Saw(ls)
	bound, err := readBound(ctx, d.session, step.Port)
	if err != nil {
		return rollout.Result{}, err
	}
	part.Bindings = rollout.Saw(replaceBinding(m.seen.Bindings.Value, step.Port, bound))
	return rollout.Result{Seen: &part}, nil
}

// putPinned is putListener; where an undo is counted on, over no other connection than the one that has just shown it.
func (m *Machine) putPinned(ctx context.Context, d *door, step rollout.Step, instance *wsman.Element) error {
	if step.Mark != "" {
		defer d.session.Pin(d.session.Connections())()
	}
	return m.putListener(ctx, d, instance)
}

// putListener creates the HTTPS listener, or rebinds the one that is there. Where
// the service refuses to rebind, it is deleted and created, over HTTP only: the
// connection must not be the one that goes.
func (m *Machine) putListener(ctx context.Context, d *door, instance *wsman.Element) error {
	_, err := d.session.Create(ctx, listenerOf(rollout.HTTPS), instance)
	var fault *wsman.Fault
	if err == nil || !errors.As(err, &fault) || !fault.IsExists() {
		return err
	}
	have, err := d.session.Get(ctx, listenerOf(rollout.HTTPS))
	if err != nil {
		return err
	}
	have.Remove("ListeningOn") // computed: it cannot be set
	was := listenerFields(have)
	for _, name := range []string{"Port", "Hostname", "Enabled", "CertificateThumbprint"} {
		have.Set(name, instance.Value(name))
	}
	_, err = d.session.Put(ctx, listenerOf(rollout.HTTPS), have)
	if err == nil || !errors.As(err, &fault) || !fault.IsJudgement() || fault.IsGPOControlled() || d.session.Secure() {
		return err
	}
	if err := d.session.Delete(ctx, listenerOf(rollout.HTTPS)); err != nil {
		return err
	}
	if _, err = d.session.Create(ctx, listenerOf(rollout.HTTPS), instance); err == nil {
		return nil
	}
	if _, again := d.session.Create(ctx, listenerOf(rollout.HTTPS), wsman.NewElement("Listener", was...)); again != nil {
		return fmt.Errorf("%w; the listener that had been there could not be made again: %w", err, again)
	}
	return err
}

// listenerFields are those of a listener that can be set.
func listenerFields(e *wsman.Element) (all []wsman.Field) {
	for _, name := range []string{"Port", "Hostname", "Enabled", "URLPrefix", "CertificateThumbprint"} {
		all = append(all, wsman.Field{Name: name, Value: e.Value(name)})
	}
	return all
}

func bindingPath(port int) string {
	return fmt.Sprintf(`SYSTEM\CurrentControlSet\Services\HTTP\Parameters\SslBindingInfo\0.0.0.0:%d`, port)
}

// readBound is the certificate that http.sys has for the port; empty when there is none.
func readBound(ctx context.Context, s *wsman.Session, port int) (pki.Thumbprint, error) {
	out, err := registry(ctx, s, "GetBinaryValue", bindingPath(port), "SslCertHash")
	if err != nil {
		return "", err
	}
	var hex strings.Builder
	for _, v := range out.Values("uValue") {
		n, err := strconv.ParseUint(v, 10, 8)
		if err != nil {
			return "", fmt.Errorf("read the TLS binding: %q is no byte", v)
		}
		fmt.Fprintf(&hex, "%02X", n)
	}
	return pki.ParseThumbprint(hex.String()), nil
}

func replaceBinding(list []rollout.Binding, port int, bound pki.Thumbprint) []rollout.Binding {
	endpoint := fmt.Sprintf("0.0.0.0:%d", port)
	var out []rollout.Binding
	for _, b := range list {
		if b.Endpoint != endpoint {
			out = append(out, b)
		}
	}
	if bound != "" {
		out = append(out, rollout.Binding{Endpoint: endpoint, Thumbprint: bound, AppID: rollout.WinRMAppID, Store: "MY"})
	}
	return out
}

const hklm = "2147483650" // HKEY_LOCAL_MACHINE, 0x80000002

// registry calls StdRegProv. Its own errors come as ReturnValue: 1 and 2 are a key or
// value that is not there, and no error here.
func registry(ctx context.Context, s *wsman.Session, method, path, name string, in ...wsman.Field) (*wsman.Element, error) {
	fields := []wsman.Field{{Name: "hDefKey", Value: hklm}, {Name: "sSubKeyName", Value: path}}
	if name != "" {
		fields = append(fields, wsman.Field{Name: "sValueName", Value: name})
	}
	out, err := s.Invoke(ctx, wsman.WMI("root/default", "StdRegProv"), method, append(fields, in...)...)
	if err != nil {
		return nil, err
	}
	switch code := out.Value("ReturnValue"); code {
	case "0", "1", "2":
		return out, nil
	default:
		return nil, fmt.Errorf("%s of %s: the registry answered %s", method, path, code)
	}
}
