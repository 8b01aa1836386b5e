package ldaptest

import (
	"encoding/binary"
	"errors"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// handleBind is RFC 4511 4.2 as [MS-ADTS] 5.1.1.1 narrows it.
func (c *conn) handleBind(q *request) error {
	c.server.Binds.Add(1)
	c.user = ""
	if len(q.op.Children) != 3 {
		return c.reply(q, opBindResponse, resultBody(errMalformed), nil)
	}
	name, auth := q.op.Children[1].Data.String(), q.op.Children[2]
	switch {
	case auth.ClassType == ber.ClassContext && auth.Tag == 0:
		return c.reply(q, opBindResponse, resultBody(c.bindSimple(name, auth.Data.String())), nil)
	case auth.ClassType == ber.ClassContext && auth.Tag == 3 && len(auth.Children) > 0:
		var token []byte
		if len(auth.Children) > 1 {
			token = auth.Children[1].Data.Bytes()
		}
		return c.bindSASL(q, auth.Children[0].Data.String(), token)
	}
	return c.reply(q, opBindResponse, resultBody(errMechanism), nil)
}

func (c *conn) bindSimple(name, password string) error {
	if password == "" {
		return nil // anonymous, whatever the name: RFC 4513 5.1.2
	}
	if !c.tls && !c.server.cfg.AllowPlain {
		return errNeedsSeal
	}
	if strings.Contains(name, "=") {
		if e := c.server.store.find(normal(name)); e != nil {
			name = e.First("sAMAccountName")
		}
	}
	d := c.server.cfg.Directory
	user := bareName(name)
	state := c.server.logonState(user)
	if !d.Check(name, password) && state != AccountLockedOut {
		return badCredentials("80090308", "52e")
	}
	if state != LogonAllowed {
		return badCredentials("80090308", string(state))
	}
	c.user = d.NetBIOS() + `\` + user
	return nil
}

// bareName is the user of CORP\user or user@corp.example.
func bareName(name string) string {
	if _, user, ok := strings.Cut(name, `\`); ok {
		return user
	}
	user, _, _ := strings.Cut(name, "@")
	return user
}

func (c *conn) bindSASL(q *request, mech string, token []byte) error {
	switch mech {
	case "GSS-SPNEGO":
		return c.bindSPNEGO(q, token)
	case "GSSAPI":
		return c.bindGSSAPI(q, token)
	}
	return c.reply(q, opBindResponse, resultBody(errMechanism), nil)
}

// step carries one token to the acceptor.
func (c *conn) step(token []byte) (out []byte, done bool, err error) {
	if c.logon == nil || c.logon.Done() {
		c.logon = c.server.host.Accept(c.bind, c.server.cfg.Binding)
	}
	out, done, err = c.logon.Step(token)
	if err != nil {
		c.logon = nil
		if strings.Contains(err.Error(), "channel binding") {
			return nil, false, badCredentials("80090346", badBindings)
		}
		return nil, false, badCredentials("8009030C", "52e")
	}
	if !done {
		return out, false, nil
	}
	if state := c.server.logonState(bareName(c.logon.User())); state != LogonAllowed {
		c.logon = nil
		return nil, false, badCredentials("8009030C", string(state))
	}
	return out, true, nil
}

const badBindings = "35b" // SEC_E_BAD_BINDINGS as AD writes it

func (c *conn) bindSPNEGO(q *request, token []byte) error {
	out, done, err := c.step(token)
	if err == nil && done {
		err = c.checkLayer(c.logon.WantsLayer())
	}
	if err != nil {
		return c.reply(q, opBindResponse, resultBody(err), nil)
	}
	if !done {
		return c.reply(q, opBindResponse, withToken(&refusal{code: saslBindInProgress}, out), nil)
	}
	return c.established(q, out, c.logon.WantsLayer())
}

// checkLayer refuses sealing inside TLS, and its absence outside.
func (c *conn) checkLayer(wanted bool) error {
	switch {
	case c.tls && wanted:
		return errSealInTLS
	case !c.tls && !wanted && !c.server.cfg.AllowPlain:
		return errNeedsSeal
	}
	return nil
}

// established answers success, and seals all that comes after.
func (c *conn) established(q *request, token []byte, layer bool) error {
	c.user = c.logon.User()
	if err := c.reply(q, opBindResponse, withToken(nil, token), nil); err != nil {
		return err
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	if layer {
		s := &sealed{raw: c.raw, logon: c.logon}
		c.stream = s
		if !c.server.faults.Load().ClearAfterBind {
			c.out.Reset(s)
		}
	}
	return nil
}

// withToken adds serverSaslCreds.
func withToken(r *refusal, token []byte) []byte {
	var err error
	if r != nil {
		err = r
	}
	b := resultBody(err)
	if token != nil {
		b = appendTLV(b, 0x87, token)
	}
	return b
}

// gssapi is the state of a bind with the mechanism GSSAPI (RFC 4752 3.2) after the context is complete.
type gssapi struct{ offered bool }

// Security layers, RFC 4752 3.3.
const (
	layerNone = 1
	layerSeal = 4
	maxBuffer = 0xffffff
)

func (c *conn) bindGSSAPI(q *request, token []byte) error {
	if c.gssapi == nil {
		out, done, err := c.step(token)
		if err != nil {
			return c.reply(q, opBindResponse, resultBody(err), nil)
		}
		if done {
			c.gssapi = &gssapi{}
			if out == nil { // nothing to prove to the client: the offer follows at once, RFC 4752 3.2
				c.gssapi.offered = true
				return c.offerLayers(q)
			}
		}
		return c.reply(q, opBindResponse, withToken(&refusal{code: saslBindInProgress}, out), nil)
	}
	g := c.gssapi
	if !g.offered {
		g.offered = true
		return c.offerLayers(q)
	}
	c.gssapi = nil
	layer, err := c.chosenLayer(token)
	if err == nil {
		err = c.checkLayer(layer == layerSeal)
	}
	if err != nil {
		c.logon = nil
		return c.reply(q, opBindResponse, resultBody(err), nil)
	}
	return c.established(q, nil, layer == layerSeal)
}

func (c *conn) offerLayers(q *request) error {
	layers := uint32(layerSeal)
	if c.tls || c.server.cfg.AllowPlain {
		layers = layerNone
	}
	offer, err := c.logon.Wrap(binary.BigEndian.AppendUint32(nil, layers<<24|maxBuffer), false)
	if err != nil {
		return c.reply(q, opBindResponse, resultBody(badCredentials("8009030C", "52e")), nil)
	}
	return c.reply(q, opBindResponse, withToken(&refusal{code: saslBindInProgress}, offer), nil)
}

func (c *conn) chosenLayer(token []byte) (byte, error) {
	choice, _, err := c.logon.Unwrap(token)
	if err != nil || len(choice) < 4 || choice[0] != layerNone && choice[0] != layerSeal {
		return 0, errors.Join(badCredentials("8009030C", "57"), err)
	}
	return choice[0], nil
}
