#!/usr/bin/python3
"""A WinRM client on MIT's GSSAPI and gss-ntlmssp: a peer for the simulated computer, that shares no code with it.

usage: winrm_initiator.py URL krb5|spnego|ntlm|ntlm-spnego [--cbt] [--clear] [--user DOMAIN\\\\NAME --password ...] OPERATION

OPERATION: get URI [SELECTOR=..]... | enum URI | create|put URI [SELECTOR=..]... / FIELD=.. | cmd LINE

The status and the answer are printed; of cmd the exit code and the output.
"""
import argparse
import base64
import hashlib
import html
import http.client
import re
import ssl
import sys
import uuid
from urllib.parse import urlsplit

import gssapi
from gssapi.raw import ChannelBindings

import sealed

MECHS = {'krb5': sealed.KRB5, 'spnego': sealed.SPNEGO, 'ntlm': sealed.NTLM, 'ntlm-spnego': sealed.SPNEGO}
WS = 'http://schemas.xmlsoap.org/ws/2004/09/'
SHELL = 'http://schemas.microsoft.com/wbem/wsman/1/windows/shell'


def escape(s):
    return html.escape(s, quote=True)


class Client:
    def __init__(self, args):
        self.args, url = args, urlsplit(args.url)
        self.path, bindings = url.path, None
        if url.scheme == 'https':
            tls = ssl.create_default_context()
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
            self.http = http.client.HTTPSConnection(url.hostname, url.port, context=tls, timeout=20)
        else:
            self.http = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
        self.http.connect()
        if args.cbt:
            bindings = ChannelBindings(application_data=b'tls-server-end-point:' + hashlib.sha256(self.http.sock.getpeercert(True)).digest())
        self.context = gssapi.SecurityContext(name=gssapi.Name('HTTP@' + url.hostname, gssapi.NameType.hostbased_service), mech=MECHS[args.auth], creds=self.credentials(),
                                              usage='initiate', flags=self.flags(), channel_bindings=bindings)
        self.log_on()

    def credentials(self):
        if not self.args.user:
            return None
        name = gssapi.Name(self.args.user, gssapi.NameType.user)
        mech = MECHS[self.args.auth]
        creds = gssapi.Credentials(base=gssapi.raw.acquire_cred_with_password(name, self.args.password.encode(), mechs=[mech]).creds)
        if mech == sealed.SPNEGO:
            gssapi.raw.set_neg_mechs(creds, [sealed.NTLM])
        return creds

    def flags(self):
        flags = [gssapi.RequirementFlag.confidentiality, gssapi.RequirementFlag.integrity]
        if not self.args.user:
            flags += [gssapi.RequirementFlag.mutual_authentication, gssapi.RequirementFlag.out_of_sequence_detection]
        return flags

    def log_on(self):
        token = self.context.step()
        for _ in range(5):
            self.http.request('POST', self.path, b'', {'Authorization': 'Negotiate ' + base64.b64encode(token).decode(), 'Content-Type': sealed.SOAP, 'Content-Length': '0'})
            response = self.http.getresponse()
            response.read()
            offered = [v.split(' ', 1)[1] for v in response.headers.get_all('WWW-Authenticate') or [] if v.startswith('Negotiate ')]
            if offered:
                token = self.context.step(base64.b64decode(offered[0]))
            elif response.status == 401:
                sys.exit('401')
            if response.status == 200:
                break
        if not self.context.complete:
            sys.exit('the context is not complete')

    def call(self, action, uri, body='', selectors=(), options=''):
        chosen = ''.join('<w:Selector Name="%s">%s</w:Selector>' % (escape(k), escape(v)) for k, v in selectors)
        if chosen:
            chosen = '<w:SelectorSet>%s</w:SelectorSet>' % chosen
        text = ('<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
                'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="%s"><s:Header><a:To>%s</a:To><a:Action s:mustUnderstand="true">%s</a:Action>'
                '<w:ResourceURI s:mustUnderstand="true">%s</w:ResourceURI><a:MessageID>uuid:%s</a:MessageID><a:ReplyTo><a:Address s:mustUnderstand="true">'
                'http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo><w:MaxEnvelopeSize s:mustUnderstand="true">153600</w:MaxEnvelopeSize>'
                '<w:OperationTimeout>PT60S</w:OperationTimeout>%s%s</s:Header><s:Body>%s</s:Body></s:Envelope>' % (SHELL, self.args.url, action, uri, uuid.uuid4(), chosen, options, body))
        data, kind = text.encode(), sealed.SOAP
        if not self.args.clear:
            data, kind = sealed.seal(self.context, data, 'application/HTTP-SPNEGO-session-encrypted')
        self.http.request('POST', self.path, data, {'Content-Type': kind})
        response = self.http.getresponse()
        data = response.read()
        if 'multipart/encrypted' in (response.headers.get('Content-Type') or ''):
            data, _ = sealed.unseal(self.context, data)
        return response.status, data.decode()

    def cmd(self, line):
        uri = SHELL + '/cmd'
        status, text = self.call(WS + 'transfer/Create', uri, '<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>',
                                 options='<w:OptionSet><w:Option Name="WINRS_CODEPAGE">65001</w:Option></w:OptionSet>')
        if status != 200:
            sys.exit('%d %s' % (status, text))
        shell = [('ShellId', re.search(r'Name="ShellId">([^<]+)<', text).group(1))]
        _, text = self.call(SHELL + '/Command', uri, '<rsp:CommandLine><rsp:Command>%s</rsp:Command></rsp:CommandLine>' % escape(line), shell)
        command, out = re.search(r'CommandId>([^<]+)<', text).group(1), b''
        while 'CommandState/Done' not in text:
            _, text = self.call(SHELL + '/Receive', uri, '<rsp:Receive><rsp:DesiredStream CommandId="%s">stdout stderr</rsp:DesiredStream></rsp:Receive>' % command, shell)
            out += b''.join(base64.b64decode(b) for b in re.findall(r'<rsp:Stream[^>]*>([^<]+)<', text))
        code = re.search(r'ExitCode>(\d+)', text).group(1)
        self.call(SHELL + '/Signal', uri, '<rsp:Signal CommandId="%s"><rsp:Code>%s/signal/terminate</rsp:Code></rsp:Signal>' % (command, SHELL), shell)
        self.call(WS + 'transfer/Delete', uri, '', shell)
        return code, out.decode()

    def run(self, verb, uri, *rest):
        if verb == 'cmd':
            return self.cmd(uri)
        if verb == 'enum':
            return self.call(WS + 'enumeration/Enumerate', uri, '<n:Enumerate xmlns:n="%senumeration"><w:OptimizeEnumeration/><w:MaxElements>32000</w:MaxElements></n:Enumerate>' % WS)
        pairs = [p.split('=', 1) for p in rest if p != '/']
        if verb == 'get':
            return self.call(WS + 'transfer/Get', uri, '', pairs)
        at = rest.index('/')
        name = uri.rsplit('/', 1)[-1].capitalize()
        body = '<c:%s xmlns:c="%s">%s</c:%s>' % (name, uri, ''.join('<c:%s>%s</c:%s>' % (k, escape(v), k) for k, v in pairs[at:]), name)
        return self.call(WS + 'transfer/' + verb.capitalize(), uri, body, pairs[:at])


def main():
    p = argparse.ArgumentParser()
    p.add_argument('url')
    p.add_argument('auth', choices=MECHS)
    p.add_argument('--cbt', action='store_true')
    p.add_argument('--clear', action='store_true')
    p.add_argument('--user')
    p.add_argument('--password')
    p.add_argument('operation', nargs='+')
    args = p.parse_args()
    print(*Client(args).run(*args.operation))


if __name__ == '__main__':
    main()
