package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

// The headers of a post.
const (
	HeaderOn        = "X-Wavelock-On"
	HeaderID        = "X-Wavelock-Delivery"  // the same when it is sent again
	HeaderTimestamp = "X-Wavelock-Timestamp" // of the try, in seconds since 1970; refuse what is older than a few minutes
	HeaderSignature = "X-Wavelock-Signature" // see Sign
)

// Sign is the signature of a post: sha256= and HMAC-SHA256, in hexadecimal, over the time stamp, a full stop and the body.
func Sign(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// webhook posts each message. 2xx is a yes, 4xx a no; anything else is tried again.
type webhook struct {
	Config
	client *http.Client
	host   string
}

func newWebhook(c Config) (webhook, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return webhook{}, errors.New("url: it is no web address") // it may have a secret in it
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return webhook{}, fmt.Errorf("read the roots of a hook: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return webhook{}, fmt.Errorf("%s has no certificate in PEM", c.CAFile)
		}
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return webhook{c, &http.Client{Transport: t, CheckRedirect: noRedirect}, u.Host}, nil
}

func (w webhook) name() string { return w.host } // a path may be a secret

func (w webhook) send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("it is no web address")
	}
	stamp := strconv.FormatInt(w.Now().Unix(), 10) // of this try: what waited its turn, or is sent again, is not an old post
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "wavelock")
	req.Header.Set(HeaderOn, m.On)
	req.Header.Set(HeaderID, m.ID)
	req.Header.Set(HeaderTimestamp, stamp)
	req.Header.Set(HeaderSignature, Sign(w.Secret, stamp, body))
	resp, err := w.client.Do(req)
	if err != nil {
		var u *url.Error // its text has the whole address
		if errors.As(err, &u) {
			err = u.Err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no answer within %v", w.Timeout)
		}
		return err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // the status has said what counts
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusRequestTimeout && resp.StatusCode != http.StatusTooManyRequests:
		why := fmt.Sprintf("it said no (%d)", resp.StatusCode)
		if first := firstLine(string(said)); first != "" {
			why += ": " + first
		}
		return &RefusedError{Hook: w.name(), On: m.On, Why: why}
	}
	return fmt.Errorf("it answered %s", resp.Status)
}
