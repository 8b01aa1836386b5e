package machine

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"

	"wavelock/rollout"
)

// What reportLine prints before each list, and in the place of one that is too large.
const (
	listMark = "#wavelock-list"
	tooLarge = "#wavelock-large"
	maxList  = 64 << 10 // bytes; a server takes some 120
	maxNames = 2000     // of all lists together
)

// serverLists reads the lists of Server Manager, each after its mark. They are files of users, who may write in them what
// they like, marks too: they are believed nothing but names of computers. One list that is no list does not hide the others.
func serverLists(text string) rollout.ServerLists {
	var all rollout.ServerLists
	lists := strings.Split(text, listMark)
	for _, list := range lists[1:] {
		names, ok := serverNames(list)
		if !ok {
			all.Unread++
		}
		all.Names = append(all.Names, names...)
	}
	slices.Sort(all.Names)
	if all.Names = slices.Compact(all.Names); len(all.Names) > maxNames {
		all.Names = all.Names[:maxNames]
		all.Unread++
	}
	return all
}

// serverNames are the computers of a list:
//
//	<ServerList localhostName="a.corp.example" xmlns="urn:serverpool-schema"><ServerInfo name="b.corp.example" status="1" .../></ServerList>
//
// That is what scripts write that add servers to it; it is documented nowhere. ok is false when it is not well-formed, not
// such a list, or too large. What was read until then counts.
func serverNames(list string) (names []string, ok bool) {
	list = strings.TrimPrefix(strings.TrimLeft(list, " \r\n"), "\ufeff")
	if len(list) > 2*maxList { // in UTF-8 it may be more than on the disk
		return nil, false
	}
	d := xml.NewDecoder(strings.NewReader(list))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // type has turned it into ours
	for {
		token, err := d.Token()
		if err != nil {
			return names, ok && errors.Is(err, io.EOF)
		}
		e, is := token.(xml.StartElement)
		switch {
		case is && e.Name.Local == "ServerList":
			ok = true
		case is && ok && e.Name.Local == "ServerInfo":
			for _, a := range e.Attr {
				if name := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(a.Value)), "."); a.Name.Local == "name" && isComputerName(name) {
					names = append(names, strings.Clone(name))
				}
			}
		}
	}
}
