#!/bin/sh
# Makes the certificates of this folder with OpenSSL, so that what is read here was
# written by somebody else. Run it inside this folder; the keys are thrown away.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/c" <<'END'
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
[v2]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth
subjectAltName=DNS:web01.corp.example
1.3.6.1.4.1.311.21.7=ASN1:SEQUENCE:template
1.3.6.1.4.1.311.25.2=ASN1:SEQUENCE:security
[template]
id=OID:1.3.6.1.4.1.311.21.8.15138236.9336878.10046135.12217240.13184102.84.2871655.6422463
major=INTEGER:100
minor=INTEGER:7
[security]
other=IMPLICIT:0,SEQUENCE:othername
[othername]
id=OID:1.3.6.1.4.1.311.25.2.1
value=EXPLICIT:0,FORMAT:ASCII,OCT:S-1-5-21-1004336348-1177238915-682003330-1105
[v1]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=clientAuth,serverAuth
subjectAltName=DNS:web01.corp.example,DNS:WEB01
1.3.6.1.4.1.311.20.2=ASN1:BMPSTRING:Machine
[noeku]
basicConstraints=critical,CA:FALSE
subjectAltName=DNS:web01.corp.example
[client]
extendedKeyUsage=clientAuth
subjectAltName=DNS:web01.corp.example
END
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/$1.key" 2>/dev/null; }
sign() { # name subject section parent digest
	key "$1"
	openssl req -new -key "$dir/$1.key" -subj "$2" -out "$dir/$1.csr"
	openssl x509 -req -in "$dir/$1.csr" -CA "$4.pem" -CAkey "$dir/$4.key" -days 3650 "-$5" -extfile "$dir/c" -extensions "$3" -out "$1.pem" 2>/dev/null
}
key root
openssl req -x509 -new -key "$dir/root.key" -subj '/DC=example/DC=corp/CN=CORP Root CA' -days 7300 -sha256 -config "$dir/c" -extensions ca -out root.pem
sign issuing '/DC=example/DC=corp/CN=CORP-CA01-CA' ca root sha256
sign sha1ca '/DC=example/DC=corp/CN=CORP-OLD-CA' ca root sha1
sign v2 '/CN=web01.corp.example' v2 issuing sha256
sign v1 '/C=DE/O=Corp, Inc. \+ Co/OU=#1/CN=web01.corp.example' v1 issuing sha256
sign noeku '/CN=web01.corp.example' noeku issuing sha256
sign client '/CN=web01.corp.example' client issuing sha256
sign sha1leaf '/CN=web01.corp.example' v1 issuing sha1
sign below-sha1 '/CN=web01.corp.example' v1 sha1ca sha256
openssl crl2pkcs7 -nocrl -certfile root.pem -certfile v2.pem -certfile issuing.pem -out chain.p7b
