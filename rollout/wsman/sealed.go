package wsman

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"mime"
	"strconv"
	"strings"

	"wavelock/ldapdisco/logon"
)

// The parts of an encrypted message, [MS-WSMV] 2.2.9.1.1.
const (
	soapType      = "application/soap+xml;charset=UTF-8"
	encryptedType = "multipart/encrypted"
	boundary      = "--Encrypted Boundary"
)

// sealMessage makes the body and its content type of an encrypted message.
func sealMessage(msg []byte, protocol string, s logon.Sealer) (body []byte, contentType string, err error) {
	header, data, err := s.Seal(msg)
	if err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	b.Grow(len(header) + len(data) + 300)
	fmt.Fprintf(&b, boundary+"\r\n\tContent-Type: %s\r\n\tOriginalContent: type=%s;Length=%d\r\n"+boundary+"\r\n\tContent-Type: application/octet-stream\r\n", protocol, soapType, len(msg))
	b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(header))))
	b.Write(header)
	b.Write(data)
	b.WriteString(boundary + "--\r\n")
	return b.Bytes(), fmt.Sprintf(`%s;protocol="%s";boundary="Encrypted Boundary"`, encryptedType, protocol), nil
}

// isSealed tells if an answer claims to be encrypted.
func isSealed(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == encryptedType
}

// sealedPart is where the pieces of an encrypted message lie.
type sealedPart struct {
	header, data []byte
}

// openMessage takes the pieces by their lengths alone: ciphertext may hold any bytes, also a boundary.
func openMessage(body []byte, s logon.Sealer) ([]byte, error) {
	part, err := parseSealed(body)
	if err != nil {
		return nil, err
	}
	msg, err := s.Open(part.header, part.data)
	if err != nil {
		return nil, fmt.Errorf("open the sealed answer: %w", err)
	}
	return msg, nil
}

func parseSealed(body []byte) (sealedPart, error) {
	head, rest, err := parseHead(body)
	if err != nil {
		return sealedPart{}, err
	}
	length, err := originalLength(head["originalcontent"])
	if err != nil {
		return sealedPart{}, err
	}
	parts, rest, err := parseHead(rest)
	if err != nil {
		return sealedPart{}, err
	}
	if !strings.EqualFold(parts["content-type"], "application/octet-stream") {
		return sealedPart{}, errors.New("the sealed answer has no octet stream")
	}
	if len(rest) < 4 {
		return sealedPart{}, errors.New("the sealed answer is cut off")
	}
	size := int64(binary.LittleEndian.Uint32(rest))
	rest = rest[4:]
	if size+length > int64(len(rest)) {
		return sealedPart{}, errors.New("the sealed answer is shorter than it says")
	}
	part := sealedPart{header: rest[:size:size], data: rest[size : size+length : size+length]}
	if end := string(rest[size+length:]); end != boundary+"--\r\n" && end != boundary+"--" {
		return sealedPart{}, errors.New("the sealed answer does not end where it should")
	}
	return part, nil
}

// maxHeadLine is far above any line of a part's head.
const maxHeadLine = 1024

// parseHead reads a boundary line and the header lines after it. [MS-WSMV] has no empty line after them: the head of
// the first part ends before the next boundary, that of the second after its only line.
func parseHead(b []byte) (fields map[string]string, rest []byte, err error) {
	line, rest, err := cutLine(b)
	if err != nil {
		return nil, nil, err
	}
	if strings.ReplaceAll(line, " ", "") != strings.ReplaceAll(boundary, " ", "") { // some hosts write a blank after the dashes
		return nil, nil, errors.New("the sealed answer has no boundary")
	}
	fields = map[string]string{}
	for {
		if line, rest, err = cutLine(rest); err != nil {
			return nil, nil, err
		}
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			return nil, nil, errors.New("the sealed answer has a malformed head")
		}
		fields[strings.ToLower(name)] = strings.TrimSpace(value)
		if _, ok := fields["originalcontent"]; ok && len(fields) == 2 || strings.EqualFold(fields["content-type"], "application/octet-stream") {
			return fields, rest, nil
		}
		if len(fields) > 2 {
			return nil, nil, errors.New("the sealed answer has too many headers")
		}
	}
}

func cutLine(b []byte) (string, []byte, error) {
	i := bytes.Index(b[:min(len(b), maxHeadLine)], []byte("\r\n"))
	if i < 0 {
		return "", nil, errors.New("the sealed answer is cut off")
	}
	return string(b[:i]), b[i+2:], nil
}

// originalLength reads type=application/soap+xml;charset=UTF-8;Length=1234.
func originalLength(content string) (int64, error) {
	for _, p := range strings.Split(content, ";") {
		if name, value, ok := strings.Cut(p, "="); ok && strings.EqualFold(strings.TrimSpace(name), "Length") {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil || n < 0 || n > math.MaxInt32 {
				return 0, errors.New("the sealed answer has a wrong length")
			}
			return n, nil
		}
	}
	return 0, errors.New("the sealed answer does not tell its length")
}
