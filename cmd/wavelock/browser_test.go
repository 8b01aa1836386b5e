package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a headless Chromium and what it complained about.
type browser struct {
	ctx context.Context
	mu  sync.Mutex
	bad []string
}

// openBrowser starts Chromium. Without one the test is skipped, but not in CI.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
			t.Fatal("chromium is not installed")
		}
		t.Skip("chromium is not installed")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WSURLReadTimeout(time.Minute))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, stop := chromedp.NewContext(alloc)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(stop)
	b := &browser{ctx: ctx}
	chromedp.ListenTarget(ctx, func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch ev := ev.(type) {
		case *cdpruntime.EventConsoleAPICalled:
			if ev.Type == cdpruntime.APITypeError || ev.Type == cdpruntime.APITypeWarning {
				b.bad = append(b.bad, fmt.Sprint("console: ", ev.Args))
			}
		case *cdpruntime.EventExceptionThrown:
			b.bad = append(b.bad, ev.ExceptionDetails.Error())
		case *log.EventEntryAdded: // violations of the content security policy come here
			if ev.Entry.Level == log.LevelError || ev.Entry.Level == log.LevelWarning {
				b.bad = append(b.bad, "log: "+ev.Entry.Text+" "+ev.Entry.URL)
			}
		}
	})
	return b
}

func (b *browser) do(t *testing.T, what string, acts ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(b.ctx, acts...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// waitText waits until the page shows a text, without loading it again. (chromedp's
// own Poll compiles code in the page, which the page's policy rightly forbids.)
func (b *browser) waitText(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(b.text(t), text) {
		select {
		case <-b.ctx.Done():
			t.Fatalf("the page never says %q", text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (b *browser) text(t *testing.T) (s string) {
	t.Helper()
	b.do(t, "read the page", chromedp.Evaluate(`document.body.innerText`, &s))
	return s
}

// shoot keeps a picture for people, where WAVELOCK_SCREENSHOTS names a folder.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("WAVELOCK_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	b.do(t, "take a picture", chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		t.Error(err)
	}
}

// startDashboard serves the lab's database and answers the address.
func startDashboard(t *testing.T, dir string) string {
	t.Helper()
	c := program(dir, "serve", "--listen", "127.0.0.1:0")
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	address := regexp.MustCompile(`http://[^/]+/`)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if a := address.FindString(lines.Text()); a != "" {
			go func() { // or the pipe fills and the server waits
				for lines.Scan() {
				}
			}()
			awaitFleet(t, a)
			return a
		}
	}
	t.Fatal("the dashboard does not say where it is")
	return ""
}

// awaitFleet waits until the pages have more to say than that the fleet is being read.
func awaitFleet(t *testing.T, address string) {
	t.Helper()
	for {
		r, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusServiceUnavailable {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the fleet is never read")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestDashboardIsLive watches a campaign in a browser: coverage, wave by wave,
// and a failure with its reason, all without loading the page again.
func TestDashboardIsLive(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	dir, plan := prepare(t, 12, "--fault", "enroll-denied:1", "--latency", "20ms")
	address := startDashboard(t, dir)
	run := program(dir, "run", plan, "--yes", "--quiet")
	if err := program(dir, "run", plan).Run(); err == nil { // registers the plan; nobody is there to approve it
		t.Fatal("a run without an approval ended well")
	}

	b.do(t, "open the overview", log.Enable(), chromedp.Navigate(address), chromedp.WaitVisible("[data-live]"), chromedp.Evaluate(`window.loadedOnce = true`, nil))
	first := b.text(t)
	if !strings.Contains(first, "HTTP only") || !strings.Contains(first, "12") {
		t.Errorf("the overview does not show the coverage:\n%s", first)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	defer run.Wait()
	b.do(t, "open the campaign", chromedp.Navigate(address+"campaign/spring"), chromedp.WaitVisible("[data-live]"), chromedp.Evaluate(`window.loadedOnce = true`, nil))
	b.shoot(t, "campaign-running")
	b.waitText(t, "the CA denied the request")
	if err := run.Wait(); run.ProcessState.ExitCode() != exitHalted && run.ProcessState.ExitCode() != exitOK {
		t.Fatalf("run: %v", err)
	}
	b.waitText(t, "put back")
	var still bool
	b.do(t, "look whether it was loaded again", chromedp.Evaluate(`window.loadedOnce === true`, &still))
	if !still {
		t.Error("the page was loaded again")
	}
	page := b.text(t)
	for _, want := range []string{"canary", "rest", "halted"} {
		if !strings.Contains(page, want) {
			t.Errorf("the campaign's page does not say %q:\n%s", want, page)
		}
	}
	b.shoot(t, "campaign-halted")
	b.do(t, "open the overview again", chromedp.Navigate(address), chromedp.WaitVisible("[data-live]"))
	b.shoot(t, "overview")
	b.do(t, "as on a phone", chromedp.EmulateViewport(390, 844), chromedp.Navigate(address+"campaign/spring"), chromedp.WaitVisible("[data-live]"))
	var wide int
	b.do(t, "measure", chromedp.Evaluate(`document.documentElement.scrollWidth`, &wide))
	if wide > 390 {
		t.Errorf("on a phone the page is %d pixels wide", wide)
	}
	b.shoot(t, "campaign-phone")
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.bad) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(b.bad, "\n"))
	}
}
