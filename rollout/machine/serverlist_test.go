package machine

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"wavelock/rollout"
)

// aList is a list as Server Manager 2016 keeps it, on one line.
const aList = `<?xml version="1.0" encoding="utf-8"?><ServerList xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" localhostName="ADMIN1.corp.example" xmlns="urn:serverpool-schema">` +
	`<ServerInfo name="ADMIN1.corp.example" status="1" lastUpdateTime="2024-05-06T10:00:00.123+02:00" locale="en-US" /><ServerInfo name="web1.corp.example" status="2" lastUpdateTime="0001-01-01T00:00:00" locale="en-US" /></ServerList>`

func TestServerLists(t *testing.T) {
	t.Parallel()
	one := func(list string) string { return "\r\n" + listMark + "\r\n" + list }
	both := []string{"admin1.corp.example", "web1.corp.example"}
	for name, tc := range map[string]struct {
		text string
		want rollout.ServerLists
	}{
		"nobody has one":             {section + "\r\n", rollout.ServerLists{}},
		"one":                        {one(aList), rollout.ServerLists{Names: both}},
		"with a mark of its order":   {one("\ufeff" + aList), rollout.ServerLists{Names: both}},
		"that says it is UTF-16":     {one(strings.Replace(aList, "utf-8", "utf-16", 1)), rollout.ServerLists{Names: both}},
		"two of the same":            {one(aList) + one(aList), rollout.ServerLists{Names: both}},
		"one that may not be read":   {one("") + one(aList), rollout.ServerLists{Names: both, Unread: 1}},
		"one that is too large":      {one(tooLarge+"\r\n") + one(aList), rollout.ServerLists{Names: both, Unread: 1}},
		"one that breaks off":        {one(aList[:len(aList)-10]), rollout.ServerLists{Names: both, Unread: 1}},
		"another document":           {one(`<Servers><ServerInfo name="a"/></Servers>`), rollout.ServerLists{Unread: 1}},
		"names that are none":        {one(`<ServerList><ServerInfo name="a&amp; calc"/><ServerInfo name=""/><ServerInfo/><ServerInfo name=" Web2. "/></ServerList>`), rollout.ServerLists{Names: []string{"web2"}}},
		"an entity":                  {one(`<!DOCTYPE x [<!ENTITY a "b">]><ServerList><ServerInfo name="&a;"/></ServerList>`), rollout.ServerLists{Unread: 1}},
		"a user who writes sections": {one(section+"\r\n"+section) + one(aList), rollout.ServerLists{Names: both, Unread: 1}},
		"far too much":               {one("<ServerList>" + strings.Repeat(" ", 2*maxList) + "</ServerList>"), rollout.ServerLists{Unread: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := serverLists(tc.text); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// Whatever users write in their lists, the sections before stay what they are.
func TestListsAreTheLastSection(t *testing.T) {
	t.Parallel()
	text := strings.Repeat(section+"\r\n", len(postureKeys))
	evil := section + "\r\n" + listMark + section + section
	at := nthSection(text+evil, len(postureKeys))
	if text != (text + evil)[:at] {
		t.Errorf("the keys end at %d of %d", at, len(text))
	}
	if at := nthSection(text, len(postureKeys)); at != len(text) {
		t.Errorf("a section that is not there begins at %d", at)
	}
}

// FuzzServerLists: what comes out is names of computers, each once, and a list that is added makes them no fewer.
func FuzzServerLists(f *testing.F) {
	f.Add(listMark + aList)
	f.Add(listMark + tooLarge + listMark + `<ServerList><ServerInfo name="a"/>`)
	f.Add(listMark + `<?xml version="1.0" encoding="x"?><ServerList xmlns="&#x0;"><a:ServerInfo b:name="A"`)
	f.Fuzz(func(t *testing.T, text string) {
		got := serverLists(text)
		for i, name := range got.Names {
			if !isComputerName(name) || i > 0 && got.Names[i-1] >= name || !strings.Contains(strings.ToLower(text), name) && !strings.Contains(text, "&") {
				t.Fatalf("%q", got.Names)
			}
		}
		if got.Unread > strings.Count(text, listMark) {
			t.Fatalf("%d of %d lists", got.Unread, strings.Count(text, listMark))
		}
		more := serverLists(text + listMark + aList)
		for _, name := range append(got.Names, "web1.corp.example") {
			if !slices.Contains(more.Names, name) {
				t.Fatalf("%s was lost: %q", name, more.Names)
			}
		}
	})
}

func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range maxNames + 1 {
		if i%1000 == 0 {
			b.WriteString(listMark + "<ServerList>")
		}
		b.WriteString(`<ServerInfo name="` + strings.Repeat("x", 1+i%50) + strings.Repeat("y", 1+i/50) + `"/>`)
		if i%1000 == 999 || i == maxNames {
			b.WriteString("</ServerList>")
		}
	}
	if got := serverLists(b.String()); len(got.Names) != maxNames || got.Unread != 1 {
		t.Errorf("%d names, %d unread", len(got.Names), got.Unread)
	}
}
