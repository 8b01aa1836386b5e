package hook

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/rollout"
)

// TestMain lets this binary be the program of a hook.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "as-hook" {
		os.Exit(play(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func play(role, dir string) int {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 9
	}
	switch role {
	case "yes":
		env := strings.Join(os.Environ(), "\n")
		if os.WriteFile(filepath.Join(dir, "body"), body, 0o600) != nil || os.WriteFile(filepath.Join(dir, "env"), []byte(env), 0o600) != nil {
			return 9
		}
		return 0
	case "no":
		os.Stderr.WriteString("\n\x1b[31mfreeze until Monday\x1b[0m\nmore\n")
		return 3
	case "silent":
		select {}
	}
	return 9
}

func asHook(on, role, dir string) Config {
	return Config{On: []string{on}, Command: []string{os.Args[0], "as-hook", role, dir}, Timeout: 20 * time.Second}
}

var message = Message{ID: "spring-7", On: WaveStart, Campaign: "spring", Plan: "abc", At: time.Unix(1_800_000_000, 0).UTC(), Wave: 2}

func ask(t *testing.T, c Config, m Message) error {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	h, err := New([]Config{c})
	if err != nil {
		t.Fatal(err)
	}
	return h.Ask(t.Context(), m)
}

func TestCommandSaysYes(t *testing.T) {
	t.Setenv("WAVELOCK_PASSWORD", "geheim")
	dir := t.TempDir()
	if err := ask(t, asHook(WaveStart, "yes", dir), message); err != nil {
		t.Fatal(err)
	}
	var got Message
	body, err := os.ReadFile(filepath.Join(dir, "body"))
	if err != nil || json.Unmarshal(body, &got) != nil || got.Wave != 2 || got.Campaign != "spring" || !got.At.Equal(message.At) {
		t.Errorf("it was told %s, %v", body, err)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil || strings.Contains(string(env), "geheim") || !strings.Contains(string(env), "WAVELOCK_ON=wave-start") {
		t.Errorf("its environment is %s, %v", env, err)
	}
}

func TestCommandSaysNo(t *testing.T) {
	t.Parallel()
	var no *RefusedError
	if err := ask(t, asHook(WaveStart, "no", ""), message); !errors.As(err, &no) || !strings.Contains(no.Why, "freeze until Monday") || strings.ContainsAny(no.Why, "\x1b\n") || no.Hint() == "" {
		t.Errorf("got %v", err)
	}
	if err := ask(t, asHook(CampaignStart, "no", ""), message); err != nil {
		t.Errorf("a hook of another occasion was asked: %v", err)
	}
}

func TestSilenceIsANo(t *testing.T) {
	t.Parallel()
	c := asHook(WaveStart, "silent", "")
	c.Timeout = 200 * time.Millisecond
	var no *RefusedError
	if err := ask(t, c, message); !errors.As(err, &no) || !strings.Contains(no.Why, "no answer within") {
		t.Errorf("got %v", err)
	}
	c.Command = []string{filepath.Join(t.TempDir(), "nothing")}
	if err := ask(t, c, message); !errors.As(err, &no) {
		t.Errorf("a program that is not there: %v", err)
	}
}

// posted is a server that answers as it is told, and checks what it gets.
func posted(t *testing.T, answers ...int) (Config, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	secret := []byte("shared secret")
	late := message.At.Add(time.Hour) // it has waited for others before it
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s, %v", r.Method, err)
		}
		if got := r.Header.Get(HeaderSignature); got != Sign(secret, r.Header.Get(HeaderTimestamp), body) || r.Header.Get(HeaderID) != message.ID {
			t.Errorf("signed %q, delivery %q", got, r.Header.Get(HeaderID))
		}
		if got := r.Header.Get(HeaderTimestamp); got != fmt.Sprint(late.Unix()) {
			t.Errorf("the time stamp is %s, and the post is made at %d", got, late.Unix())
		}
		i := min(int(n.Add(1)), len(answers)) - 1
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(answers[i])
		io.WriteString(w, "freeze until Monday\n")
	}))
	t.Cleanup(s.Close)
	roots := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(roots, pemOf(s.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{On: []string{WaveStart}, URL: s.URL + "/hook?key=geheim", Secret: secret, Timeout: 20 * time.Second, CAFile: roots, Retries: 1, Now: func() time.Time { return late }}, &n
}

func TestPosts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []int
		posts   int64
		want    string // empty: a yes
	}{
		"yes":                   {[]int{204}, 1, ""},
		"yes at the second try": {[]int{503, 200}, 2, ""},
		"no":                    {[]int{403}, 1, "it said no (403): freeze until Monday"},
		"never":                 {[]int{500}, 2, "it did not answer: it answered 500"},
		"too many, then yes":    {[]int{429, 200}, 2, ""},
		"elsewhere":             {[]int{307}, 2, "it answered 307"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, n := posted(t, c.answers...)
			err := ask(t, cfg, message)
			var no *RefusedError
			if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &no) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "geheim")) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if n.Load() != c.posts {
				t.Errorf("posted %d times, want %d", n.Load(), c.posts)
			}
		})
	}
}

func TestServerThatNobodyKnowsIsNotAsked(t *testing.T) {
	t.Parallel()
	cfg, n := posted(t, 200)
	cfg.CAFile, cfg.Retries = "", 0
	var no *RefusedError
	if err := ask(t, cfg, message); !errors.As(err, &no) || n.Load() != 0 || strings.Contains(err.Error(), "geheim") {
		t.Errorf("%v after %d posts", err, n.Load())
	}
}

func TestHooksThatCannotBe(t *testing.T) {
	t.Parallel()
	good := Config{On: []string{WaveStart}, URL: "https://siem.example/hook", Secret: []byte("x"), Timeout: time.Second}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"no occasion":        func(c *Config) { c.On = nil },
		`"lunch" is none of`: func(c *Config) { c.On = []string{"lunch"} },
		"and not both":       func(c *Config) { c.Command = []string{"x"} },
		"a command or a url": func(c *Config) { c.URL = "" },
		"timeout":            func(c *Config) { c.Timeout = 0 },
		"retries":            func(c *Config) { c.Retries = 99 },
		"over https only":    func(c *Config) { c.URL = "http://siem.example/hook" },
		"no web address":     func(c *Config) { c.URL = "https://" },
		"is signed":          func(c *Config) { c.Secret = nil },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestTellerTellsInOrderAndWaitsForNobody(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string
	let := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-let
		var m Message
		if json.NewDecoder(r.Body).Decode(&m) != nil {
			t.Error("no message")
		}
		mu.Lock()
		defer mu.Unlock()
		if m.On == EveryEvent && (m.Event == nil || m.Event.Data != nil) {
			t.Errorf("told %+v", m)
		}
		got = append(got, m.ID)
	}))
	defer s.Close()
	h, err := New([]Config{{On: []string{EveryEvent, WaveDone, CampaignDone}, URL: s.URL, Secret: []byte("x"), Timeout: 20 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	teller := NewTeller(h, "abc", slog.New(slog.DiscardHandler))
	for i, kind := range []rollout.EventKind{rollout.EvStarted, rollout.EvWavePassed, rollout.EvFinished} {
		teller.Event(rollout.Event{Seq: int64(i + 1), Campaign: "spring", Kind: kind, Data: []byte("{}")})
	}
	close(let)
	teller.Close(time.Minute)
	if want := "spring-1-event spring-2-event spring-2-wave-done spring-3-event spring-3-campaign-done"; strings.Join(got, " ") != want {
		t.Errorf("told %v", got)
	}
	teller.Event(rollout.Event{Kind: rollout.EvFinished}) // after the end: harmless
}

func TestTellerGivesUpOnTheSilent(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-ctx.Done() }))
	defer s.Close()
	defer cancel()
	h, err := New([]Config{{On: []string{EveryEvent}, URL: s.URL, Secret: []byte("x"), Timeout: time.Minute, Retries: 10}})
	if err != nil {
		t.Fatal(err)
	}
	teller := NewTeller(h, "abc", slog.New(slog.DiscardHandler))
	for range 3 {
		teller.Event(rollout.Event{Kind: rollout.EvStarted})
	}
	teller.Close(100 * time.Millisecond) // hangs if it does not
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
