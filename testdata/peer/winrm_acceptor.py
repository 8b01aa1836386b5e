#!/usr/bin/python3
"""A WinRM listener on MIT's GSSAPI and gss-ntlmssp: a peer for the client, that shares no code with it.

usage: winrm_acceptor.py PORT [--tls CERT KEY]

NTLM_USER_FILE, NETBIOS_DOMAIN_NAME and KRB5_KTNAME are read by the libraries. CBT names the DER certificate to which a
logon has to be bound; without TLS, clear messages are refused. BASIC=1 takes any password by Basic. It knows listeners,
Identify and a shell that repeats its command line. What happens is told on stderr.
"""
import base64
import hashlib
import html
import os
import re
import ssl
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gssapi
from gssapi.raw import ChannelBindings

import sealed

LISTENER = 'http://schemas.microsoft.com/wbem/wsman/1/config/listener'
SHELL = 'http://schemas.microsoft.com/wbem/wsman/1/windows/shell'
TRANSFER = 'http://schemas.xmlsoap.org/ws/2004/09/transfer'
FIELDS = ('Port', 'Hostname', 'CertificateThumbprint')

listeners = {('*', 'HTTP'): {'Port': '5985'}}
commands = {}


def log(*words):
    print(*words, file=sys.stderr, flush=True)


def element(xml, name):
    m = re.search(r'<(?:\w+:)?%s(?:\s[^>]*)?>(.*?)</(?:\w+:)?%s>' % (name, name), xml, re.S)
    return m.group(1).strip() if m else ''


def envelope(action, relates, body):
    return ('<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
            'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration" '
            'xmlns:x="%s" xmlns:rsp="%s" xml:lang="en-US"><s:Header><a:Action>%s</a:Action><a:MessageID>uuid:%s</a:MessageID>'
            '<a:RelatesTo>%s</a:RelatesTo></s:Header><s:Body>%s</s:Body></s:Envelope>' % (TRANSFER, SHELL, action, uuid.uuid4(), relates, body))


def fault(relates, subcode, code):
    return 500, envelope('http://schemas.dmtf.org/wbem/wsman/1/wsman/fault', relates,
                         '<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>%s</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">no</s:Text></s:Reason>'
                         '<s:Detail><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="%d" Machine="peer"><f:Message>no</f:Message></f:WSManFault></s:Detail></s:Fault>' % (subcode, code))


def listener(key):
    fields = ''.join('<c:%s>%s</c:%s>' % (f, listeners[key].get(f, ''), f) for f in FIELDS)
    return '<c:Listener xmlns:c="%s"><c:Address>%s</c:Address><c:Transport>%s</c:Transport>%s<c:ListeningOn>127.0.0.1</c:ListeningOn></c:Listener>' % (LISTENER, *key, fields)


def selectors(uri, pairs):
    return '<w:ResourceURI>%s</w:ResourceURI><w:SelectorSet>%s</w:SelectorSet>' % (uri, ''.join('<w:Selector Name="%s">%s</w:Selector>' % p for p in pairs.items()))


def answer(xml):
    if 'wsmanidentity' in xml:
        return 200, ('<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body><i:IdentifyResponse xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
                     '<i:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</i:ProtocolVersion><i:ProductVendor>Microsoft Corporation</i:ProductVendor>'
                     '<i:ProductVersion>OS: 0.0.0 SP: 0.0 Stack: 3.0</i:ProductVersion></i:IdentifyResponse></s:Body></s:Envelope>')
    action, relates, uri = (element(xml, n) for n in ('Action', 'MessageID', 'ResourceURI'))
    selected = dict(re.findall(r'<\w+:Selector Name="(\w+)"[^>]*>([^<]*)<', xml))
    status, body = resource(action.rsplit('/', 1)[-1], uri, selected, xml)
    if status != 200:
        return fault(relates, *body)
    return 200, envelope(action + 'Response', relates, body)


def resource(verb, uri, selected, xml):
    if uri.startswith(SHELL):
        return shell(verb, uri, selected, xml)
    key = (selected.get('Address'), selected.get('Transport'))
    fields = {f: element(xml, f) for f in FIELDS if element(xml, f)}
    if uri != LISTENER:
        return 500, ('w:InvalidResourceURI', 2150858752)
    if verb == 'Enumerate':
        return 200, '<n:EnumerateResponse><n:EnumerationContext/><w:Items>%s</w:Items><w:EndOfSequence/></n:EnumerateResponse>' % ''.join(map(listener, listeners))
    if verb == 'Create':
        listeners[key] = fields
        return 200, '<x:ResourceCreated><a:Address>here</a:Address><a:ReferenceParameters>%s</a:ReferenceParameters></x:ResourceCreated>' % selectors(uri, selected)
    if key not in listeners:
        return 500, ('w:InvalidSelectors', 2150858752)
    if verb == 'Delete':
        del listeners[key]
        return 200, ''
    if verb == 'Put':
        listeners[key].update(fields)
    return 200, listener(key)


def shell(verb, uri, selected, xml):
    m = re.search(r'CommandId="([^"]+)"', xml)
    command = m.group(1) if m else str(uuid.uuid4()).upper()
    if verb == 'Create':
        return 200, '<x:ResourceCreated><a:ReferenceParameters>%s</a:ReferenceParameters></x:ResourceCreated><rsp:Shell><rsp:ShellId>%s</rsp:ShellId></rsp:Shell>' % (
            selectors(uri, {'ShellId': command}), command)
    if verb == 'Command':
        text = element(xml, 'Command')
        commands[command] = text[9:-3] if text.startswith('<![CDATA[') else html.unescape(text)
        return 200, '<rsp:CommandResponse><rsp:CommandId>%s</rsp:CommandId></rsp:CommandResponse>' % command
    if verb == 'Receive':
        said = base64.b64encode(('ran: %s\r\n' % commands.get(command, '?')).encode()).decode()
        return 200, ('<rsp:ReceiveResponse><rsp:Stream Name="stdout" CommandId="%s">%s</rsp:Stream><rsp:CommandState CommandId="%s" State="%s/CommandState/Done">'
                     '<rsp:ExitCode>0</rsp:ExitCode></rsp:CommandState></rsp:ReceiveResponse>' % (command, said, command, SHELL))
    return 200, '<rsp:%sResponse/>' % verb if verb in ('Send', 'Signal') else ''


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    wbufsize = -1
    timeout = 60

    def setup(self):
        super().setup()
        self.context, self.done = None, False

    def log_message(self, *_):
        pass

    def reply(self, status, body=b'', headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def challenge(self, scheme='', token=None):
        if token is not None:
            return self.reply(401, b'', [('WWW-Authenticate', scheme + ' ' + base64.b64encode(token).decode())])
        self.reply(401, b'', [('WWW-Authenticate', s) for s in ('Negotiate', 'Kerberos', 'Basic realm="WSMAN"')])

    def accept(self, token):
        bindings = None
        if 'CBT' in os.environ:
            with open(os.environ['CBT'], 'rb') as f:
                bindings = ChannelBindings(application_data=b'tls-server-end-point:' + hashlib.sha256(f.read()).digest())
        mechs = [sealed.NTLM] if token.startswith(b'NTLMSSP\0') else None
        return gssapi.SecurityContext(usage='accept', creds=gssapi.Credentials(usage='accept', mechs=mechs), channel_bindings=bindings)

    def authenticate(self, header):
        """True when the account is known; else the answer has been sent. The token that goes with the answer is kept."""
        scheme, _, value = header.partition(' ')
        if scheme == 'Basic':
            self.done = os.environ.get('BASIC') == '1'
            return self.done or self.challenge()
        try:
            token = base64.b64decode(value)
            if self.context is None or self.done:
                self.context, self.done = self.accept(token), False
            out = self.context.step(token)
        except (gssapi.exceptions.GSSError, ValueError) as e:
            log('REFUSED', e)
            self.context = None
            return self.challenge()
        if not self.context.complete:
            return self.challenge(scheme, out or b'')
        self.done = True
        log('LOGON', scheme, 'mech', self.context.mech.dotted_form, 'user', self.context.initiator_name, 'flags', *[f.name for f in self.context.actual_flags])
        if out:
            self.token = [('WWW-Authenticate', scheme + ' ' + base64.b64encode(out).decode())]
        return True

    def do_POST(self):
        self.token = []
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        header = self.headers.get('Authorization')
        if header and not self.authenticate(header):
            return None
        if not self.done:
            return self.challenge()
        if not body:
            return self.reply(200, b'', self.token)
        kind = self.headers.get('Content-Type') or ''
        if 'multipart/encrypted' not in kind:
            if not isinstance(self.connection, ssl.SSLSocket):
                log('IN CLEAR', len(body))
                return self.reply(500)
            status, out = answer(body.decode())
            return self.reply(status, out.encode(), [('Content-Type', sealed.SOAP)])
        try:
            message, size = sealed.unseal(self.context, body)
        except Exception as e:  # whatever the libraries make of foreign bytes
            log('UNREADABLE', repr(e))
            return self.reply(400)
        log('SEALED', kind, 'header of', size)
        status, out = answer(message.decode())
        out, kind = sealed.seal(self.context, out.encode(), re.search(r'protocol="([^"]+)"', kind).group(1))
        self.reply(status, out, [('Content-Type', kind)])


def main():
    server = ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler)
    if '--tls' in sys.argv:
        at = sys.argv.index('--tls')
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[at + 1], sys.argv[at + 2])
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == '__main__':
    main()
