package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"wavelock/rollout"
)

// An exported chain is text, one event a line:
//
//	{"hash":"<64 digits>","event":<the stored bytes>}
//
// The hash is SHA-256 over the hash before it (32 bytes, none for the first) and the stored bytes, so that the chain
// can be checked with nothing but a SHA-256 program.
const (
	lineHead  = `{"hash":"`
	lineEvent = `","event":`
)

// Export writes a campaign's chain, checked link by link. What comes before a link that does not fit is written.
func (j *Journal) Export(ctx context.Context, id rollout.CampaignID, to io.Writer) error {
	if _, _, err := j.Position(ctx, id); err != nil {
		return err
	}
	out := bufio.NewWriter(to)
	w, err := from(ctx, j.read, id, 0)
	for err == nil {
		var links []link
		links, err = w.page(ctx, pageSize)
		for _, l := range links {
			if bytes.ContainsAny(l.body, "\n\r") {
				return errors.Join(&ChainError{id, l.seq, "it is not written as one line"}, out.Flush())
			}
			fmt.Fprintf(out, "%s%x%s%s}\n", lineHead, l.hash, lineEvent, l.body) // the error is kept for Flush
		}
		if len(links) < pageSize {
			break
		}
	}
	return errors.Join(err, out.Flush())
}

// maxLine bounds a line of an exported chain. The plan of 200,000 hosts is the longest.
const maxLine = 512 << 20

// VerifyExport walks an exported chain and answers the campaign, its last event's Seq and hash. The first line that is
// not what was written is a *ChainError.
func VerifyExport(from io.Reader) (id rollout.CampaignID, seq int64, head string, err error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	var w walker
	for lines.Scan() {
		l, e, err := parseLine(lines.Bytes(), w.campaign, w.seq+1)
		if err != nil {
			return w.campaign, w.seq, hex.EncodeToString(w.hash), err
		}
		if w.campaign == "" {
			w.campaign = e.Campaign
		}
		l.campaign = w.campaign
		l.host = e.Host // the file has no other place for it
		if err := w.step(l); err != nil {
			return w.campaign, w.seq, hex.EncodeToString(w.hash), err
		}
		if _, err := l.decode(); err != nil {
			return w.campaign, w.seq, hex.EncodeToString(w.hash), err
		}
	}
	switch {
	case lines.Err() != nil:
		return w.campaign, w.seq, "", fmt.Errorf("read an exported journal: %w", lines.Err())
	case w.seq == 0:
		return "", 0, "", &ChainError{"", 1, "there is no event"}
	}
	return w.campaign, w.seq, hex.EncodeToString(w.hash), nil
}

func parseLine(line []byte, id rollout.CampaignID, seq int64) (link, rollout.Event, error) {
	var e rollout.Event
	bad := &ChainError{id, seq, "the line is not like an exported event"}
	rest, ok := bytes.CutPrefix(line, []byte(lineHead))
	if !ok || len(rest) < 64 {
		return link{}, e, bad
	}
	hash, err := hex.DecodeString(string(rest[:64]))
	if err != nil {
		return link{}, e, bad
	}
	body, ok := bytes.CutPrefix(rest[64:], []byte(lineEvent))
	if !ok || !bytes.HasSuffix(body, []byte("}")) {
		return link{}, e, bad
	}
	body = bytes.Clone(body[:len(body)-1])
	if json.Unmarshal(body, &e) != nil {
		return link{}, e, bad
	}
	return link{seq: e.Seq, body: body, hash: hash}, e, nil
}
