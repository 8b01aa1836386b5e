package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"wavelock/rollout/web"
)

// axe runs the accessibility checks of WCAG 2.2 AA and answers with what is wrong.
const axe = `axe.run(document, {runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}).then(r =>
	r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.target + " " + n.failureSummary.replace(/\s+/g, " "))).concat(r.violations.length || r.passes.length > 8 ? [] : ["axe looked at nothing"]))`

func awaited(p *cdpruntime.EvaluateParams) *cdpruntime.EvaluateParams {
	return p.WithAwaitPromise(true)
}

// accessible holds the page that is open against axe-core.
func (b *browser) accessible(t *testing.T, page, script string) {
	t.Helper()
	var wrong []string
	b.do(t, "check "+page, chromedp.Evaluate(script, nil), chromedp.Evaluate(axe, &wrong, awaited))
	for _, w := range wrong {
		t.Errorf("%s is not accessible: %s", page, w)
	}
}

func (b *browser) open(t *testing.T, address string) {
	t.Helper()
	b.do(t, "open "+address, chromedp.Navigate(address), chromedp.WaitVisible("#main", chromedp.ByQuery))
}

func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.bad)
}

func (b *browser) scheme(t *testing.T, name string) {
	t.Helper()
	b.do(t, name+" mode", emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}))
}

// crawl finds the dashboard's pages by following links: one of each kind.
func (b *browser) crawl(t *testing.T, address string) []string {
	t.Helper()
	kinds, queue, pages := map[string]bool{}, []string{"/"}, []string{}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		path, query, _ := strings.Cut(p, "?")
		kind := strings.Join(strings.Split(path, "/")[:min(2, strings.Count(path, "/")+1)], "/") + fmt.Sprint(strings.Count(path, "/"), query != "")
		if kinds[kind] || strings.HasSuffix(path, ".csv") {
			continue
		}
		kinds[kind] = true
		pages = append(pages, p)
		var links []string
		b.open(t, address+strings.TrimPrefix(p, "/"))
		b.do(t, "read the links", chromedp.Evaluate(`[...document.querySelectorAll("a[href^='/']")].map(a => a.getAttribute("href"))`, &links))
		queue = append(queue, links...)
	}
	return pages
}

// TestEveryPageInABrowser does a campaign's paperwork in a browser, as somebody who
// may approve and operate, and then looks at every page in light, dark and on a phone.
func TestEveryPageInABrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	script, err := os.ReadFile(filepath.Join("..", "..", "testdata", "axe", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	dir, plan := prepare(t, 9, "--fault", "enroll-denied:1", "--fault", "gpo-listener:1", "--fault", "http-client:1")
	hash, err := web.HashPassword("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, filepath.Join(dir, "wavelock.yaml"), func(s string) string {
		return s + "dashboard:\n  users:\n    - {name: olga, hash: '" + hash + "', roles: [viewer, operator, approver]}\n"
	})
	if err := program(dir, "run", plan).Run(); err == nil {
		t.Fatal("a run without an approval ended well")
	}
	address := startDashboard(t, dir)
	b.do(t, "listen", log.Enable(), chromedp.EmulateViewport(1280, 900))

	b.open(t, address+"campaign/spring")
	b.accessible(t, "the login", string(script))
	b.shoot(t, "login")
	b.do(t, "log in", chromedp.SendKeys("#name", "olga"), chromedp.SendKeys("#password", "correct horse battery"), chromedp.Click("form.login button"), chromedp.WaitVisible(".board"))
	b.waitText(t, "not approved")
	b.do(t, "approve", chromedp.Click(`//summary[contains(., "Approve the plan")]`), chromedp.SendKeys(`details[open] input[name=why]`, "CHG0042"))
	b.shoot(t, "approving")
	b.do(t, "send", chromedp.Click(`details[open] form button`), chromedp.WaitVisible(`.callout.good`))
	b.waitText(t, "approved by olga")
	run := program(dir, "run", plan, "--quiet")
	if out, _ := run.CombinedOutput(); run.ProcessState.ExitCode() == exitWaiting && strings.Contains(string(out), "approval") {
		t.Fatalf("the approval was not heard: %s", out)
	}

	pages := b.crawl(t, address)
	t.Logf("%d kinds of pages: %s", len(pages), strings.Join(pages, " "))
	for _, want := range []string{"/", "/campaigns", "/hosts", "/findings", "/certificates", "/journal", "/clients", "/campaign/spring", "/journal/spring"} {
		if !slices.Contains(pages, want) {
			t.Errorf("no link leads to %s", want)
		}
	}
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(t, scheme)
		for _, p := range pages {
			b.open(t, address+strings.TrimPrefix(p, "/"))
			b.accessible(t, scheme+" "+p, string(script))
			b.shoot(t, "page-"+scheme+"-"+fileName(p))
		}
	}
	b.do(t, "as on a phone", chromedp.EmulateViewport(390, 844))
	for _, p := range pages {
		b.open(t, address+strings.TrimPrefix(p, "/"))
		var wide int
		b.do(t, "measure "+p, chromedp.Evaluate(`document.documentElement.scrollWidth`, &wide))
		if wide > 390 {
			t.Errorf("on a phone %s is %d pixels wide", p, wide)
		}
		b.shoot(t, "page-phone-"+fileName(p))
	}
	if bad := b.complaints(); len(bad) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(bad, "\n"))
	}
}

func fileName(path string) string {
	name, _, _ := strings.Cut(strings.Trim(path, "/"), "?")
	if name == "" {
		return "overview"
	}
	return strings.ReplaceAll(name, "/", "-")
}
