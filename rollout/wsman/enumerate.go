package wsman

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
)

// Query says what to enumerate, all instances when empty.
type Query struct {
	WQL string // select ..., on a resource WMI(namespace, "*")
	// EPR lists items that hold the instance and its endpoint reference; see Element.Reference.
	EPR         bool
	MaxElements int // in one answer; 32000 when zero
}

const (
	defaultMaxElements = 32000
	wqlDialect         = "http://schemas.microsoft.com/wbem/wsman/1/WQL"

	// A host that never ends its sequence is left after these.
	maxPulls      = 1000
	maxEmptyPulls = 10
	maxItems      = 200_000

	releaseTimeout = 5 * time.Second
)

// Enumerate lists instances. The host sends them in portions, which are fetched as they are needed; when the caller
// stops early, the host is told. An error ends the sequence.
func (s *Session) Enumerate(ctx context.Context, r Resource, q Query) iter.Seq2[*Element, error] {
	return func(yield func(*Element, error) bool) {
		e := &enumeration{session: s, resource: r, query: q, op: "enumerate " + r.String()}
		if q.WQL != "" {
			e.op += " " + strconv.Quote(q.WQL)
		}
		for {
			items, err := e.next(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					e.release(ctx)
					return
				}
			}
			if e.ended {
				return
			}
		}
	}
}

// enumeration is an open sequence on the host.
type enumeration struct {
	session  *Session
	resource Resource
	query    Query
	op       string

	context             string
	begun, ended        bool
	pulls, empty, items int
}

// next fetches a portion.
func (e *enumeration) next(ctx context.Context) ([]*Element, error) {
	action, request := actionEnumerate, e.enumerateBody()
	if e.begun {
		action, request = actionPull, e.pullBody()
	}
	// Enumerate may be asked twice; a portion that was pulled is gone.
	body, err := e.session.do(ctx, e.session.request(e.op, action, e.keyless(), request, !e.begun))
	var fault *Fault
	if errors.As(err, &fault) && e.begun && fault.IsTimedOut() {
		return nil, e.count(nil) // nothing yet, the sequence stays open
	}
	if err != nil {
		return nil, err
	}
	return e.take(body)
}

// take reads one portion.
func (e *enumeration) take(body *Element) ([]*Element, error) {
	name := "EnumerateResponse"
	if e.begun {
		name = "PullResponse"
	}
	e.begun = true
	resp := body.Child(name)
	if resp == nil {
		return nil, e.session.malformed(e.op, "no "+name)
	}
	e.ended = resp.Child("EndOfSequence") != nil
	if c := resp.Child("EnumerationContext"); c != nil {
		e.context = c.Text
	}
	if !e.ended && strings.TrimSpace(e.context) == "" {
		return nil, e.session.malformed(e.op, "neither an end nor a way to go on")
	}
	var items []*Element
	if list := resp.Child("Items"); list != nil {
		items = list.Children
	}
	return items, e.count(items)
}

// count stops a host that never ends.
func (e *enumeration) count(items []*Element) error {
	e.pulls++
	e.items += len(items)
	if e.empty++; len(items) > 0 {
		e.empty = 0
	}
	if !e.ended && (e.pulls > maxPulls || e.empty > maxEmptyPulls) || e.items > maxItems {
		return &ProtocolError{Host: e.session.target.Host, Op: e.op, Err: fmt.Errorf("the list does not end: %d answers with %d items", e.pulls, e.items)}
	}
	return nil
}

// keyless: an enumeration is of a class, not of an instance.
func (e *enumeration) keyless() Resource { return Resource{URI: e.resource.URI} }

func (e *enumeration) enumerateBody() string {
	var b strings.Builder
	b.WriteString("<n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>" + e.maxElements() + "</w:MaxElements>")
	if e.query.EPR {
		b.WriteString("<w:EnumerationMode>EnumerateObjectAndEPR</w:EnumerationMode>")
	}
	if e.query.WQL != "" {
		b.WriteString(`<w:Filter Dialect="` + wqlDialect + `">` + escape(e.query.WQL) + "</w:Filter>")
	}
	b.WriteString("</n:Enumerate>")
	return b.String()
}

func (e *enumeration) pullBody() string {
	return "<n:Pull><n:EnumerationContext>" + escape(e.context) + "</n:EnumerationContext><n:MaxElements>" + e.maxElements() + "</n:MaxElements></n:Pull>"
}

func (e *enumeration) maxElements() string {
	if e.query.MaxElements > 0 {
		return strconv.Itoa(e.query.MaxElements)
	}
	return strconv.Itoa(defaultMaxElements)
}

// release frees the host's side of a sequence that is not read to its end; a failure costs the host a time-out only.
func (e *enumeration) release(ctx context.Context) {
	if e.ended || e.context == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	body := "<n:Release><n:EnumerationContext>" + escape(e.context) + "</n:EnumerationContext></n:Release>"
	_, _ = e.session.do(ctx, e.session.request(e.op, actionRelease, e.keyless(), body, false))
}
