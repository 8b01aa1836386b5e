"""The multipart/encrypted messages of WinRM ([MS-WSMV] 2.2.9.1) on a context of MIT's GSSAPI or gss-ntlmssp."""
import re
import struct

import gssapi
from gssapi.raw import IOV, IOVBufferType, unwrap_iov, wrap_iov

oid = gssapi.OID.from_int_seq
KRB5 = oid('1.2.840.113554.1.2.2')
NTLM = oid('1.3.6.1.4.1.311.2.2.10')
SPNEGO = oid('1.3.6.1.5.5.2')

SOAP = 'application/soap+xml;charset=UTF-8'
BOUNDARY = b'--Encrypted Boundary'
STREAM = b'application/octet-stream\r\n'


def is_ntlm(ctx):
    return ctx.mech.dotted_form == NTLM.dotted_form


def seal(ctx, msg, protocol):
    """The body and its content type."""
    if is_ntlm(ctx):
        token = ctx.wrap(msg, True).message
        header, data, length = token[:16], token[16:], len(msg)
    else:
        iov = IOV((IOVBufferType.header, True, None), (IOVBufferType.data, False, msg), (IOVBufferType.padding, True, None), std_layout=False)
        wrap_iov(ctx, iov, confidential=True)
        padding = iov[2].value or b''
        header, data, length = iov[0].value, iov[1].value + padding, len(msg) + len(padding)
    head = '\r\n\tContent-Type: %s\r\n\tOriginalContent: type=%s;Length=%d\r\n' % (protocol, SOAP, length)
    body = BOUNDARY + head.encode() + BOUNDARY + b'\r\n\tContent-Type: ' + STREAM + struct.pack('<I', len(header)) + header + data + BOUNDARY + b'--\r\n'
    return body, 'multipart/encrypted;protocol="%s";boundary="Encrypted Boundary"' % protocol


def unseal(ctx, body):
    """The message; its length must be the one that is declared."""
    length = int(re.search(rb'Length=(\d+)', body).group(1))
    blob = body[body.index(STREAM) + len(STREAM):body.rindex(BOUNDARY + b'--')]
    size = struct.unpack('<I', blob[:4])[0]
    header, data = blob[4:4 + size], blob[4 + size:]
    if is_ntlm(ctx):
        msg = ctx.unwrap(header + data).message
    else:
        iov = IOV((IOVBufferType.header, False, header), (IOVBufferType.data, False, data), (IOVBufferType.padding, False, b''), std_layout=False)
        unwrap_iov(ctx, iov)
        msg = iov[1].value
    if len(msg) != length:
        raise ValueError('%d bytes, %d were declared' % (len(msg), length))
    return msg, size
