"""An independent client of [MS-ICPR]: impacket has the DCE/RPC and NTLM runtime, the stub of CertServerRequest is
packed here by hand from the IDL (NDR20, little endian).
usage: icpr.py PORT MAPPER
"""
import os, struct, subprocess, sys, tempfile
from impacket.dcerpc.v5 import epm, rpcrt, transport
from impacket.uuid import uuidtup_to_bin

ICPR = uuidtup_to_bin(("91ae6020-9e3c-11cf-8d7c-00aa00c091be", "0.0"))
PRIVACY, INTEGRITY = rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY, rpcrt.RPC_C_AUTHN_LEVEL_PKT_INTEGRITY


def pad4(b):
    return b + b"\0" * (-len(b) % 4)


def unique_string(s):
    n = len(s) + 1
    return pad4(struct.pack("<IIII", 0x20000, n, 0, n) + (s + "\0").encode("utf-16le"))


def blob(b, referent):
    return pad4(struct.pack("<III", len(b), referent, len(b)) + b) if b else struct.pack("<II", 0, 0)


def stub(ca, attribs, csr, request_id=0):
    at = (attribs + "\0").encode("utf-16le") if attribs else b""
    return struct.pack("<I", 0) + unique_string(ca) + struct.pack("<I", request_id) + blob(at, 0x20004) + blob(csr, 0x20008)


def unstub(b):
    request_id, disposition = struct.unpack_from("<II", b)
    at, blobs = 8, []
    for _ in range(3):
        _, referent = struct.unpack_from("<II", b, at)
        at += 8
        if not referent:
            blobs.append(b"")
            continue
        n, = struct.unpack_from("<I", b, at)
        blobs.append(b[at + 4:at + 4 + n])
        at += 4 + n + (-n % 4)
    assert struct.unpack_from("<I", b, at)[0] == 0, "return value"
    return request_id, disposition, blobs


def connect(port, password, level):
    t = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:127.0.0.1[{port}]")
    t.set_credentials("alice", password, "CORP")
    d = t.get_dce_rpc()
    if level:
        d.set_auth_level(level)
    d.connect()
    d.bind(ICPR)
    return d


def request(d, attribs, csr, request_id=0, ca="CORP-CA01-CA"):
    d.call(0, stub(ca, attribs, csr, request_id))
    return unstub(d.recv())


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, check=True, capture_output=True).stdout


def main(port, mapper):
    d = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:127.0.0.1[{mapper}]").get_dce_rpc()
    d.connect()
    print("mapped", epm.hept_map("127.0.0.1", ICPR, protocol="ncacn_ip_tcp", dce=d) == f"ncacn_ip_tcp:127.0.0.1[{port}]")
    with tempfile.TemporaryDirectory() as tmp:
        csr = openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", os.path.join(tmp, "k.pem"), "-subj", "/CN=srv02.corp.example",
                      "-addext", "subjectAltName=DNS:srv02.corp.example", "-outform", "DER")
    rpc = connect(port, "S3cret!pw", PRIVACY)
    _, disp, (chain, cert, _) = request(rpc, "CertificateTemplate:WinRMHTTPS", csr)
    print("issued", hex(disp))
    print(openssl("x509", "-inform", "DER", "-noout", "-subject", data=cert).decode().strip())
    print("chain of", openssl("pkcs7", "-inform", "DER", "-print_certs", "-noout", data=chain).decode().count("subject="))
    rid, disp, _ = request(rpc, "CertificateTemplate:Pending", csr)
    print("pending", hex(disp))
    print("still pending", hex(request(rpc, "", b"", rid)[1]))
    print("not there", hex(request(rpc, "CertificateTemplate:Bad", csr)[1]))
    print("wrong CA", hex(request(rpc, "CertificateTemplate:WinRMHTTPS", csr, ca="CORP-CA02-CA")[1]))
    for what, password, level in (("integrity only", "S3cret!pw", INTEGRITY), ("no authentication", "S3cret!pw", None), ("bad password", "nope", PRIVACY)):
        try:
            request(connect(port, password, level), "CertificateTemplate:WinRMHTTPS", csr)
            print(what, "ACCEPTED")
        except rpcrt.DCERPCException as e:
            print(what, "refused" if "rpc_s_access_denied" in str(e) else e)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
