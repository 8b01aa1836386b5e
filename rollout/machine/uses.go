package machine

import (
	"strings"

	"wavelock/rollout"
)

const (
	subscriptionsKey = `SOFTWARE\Microsoft\Windows\CurrentVersion\EventCollector\Subscriptions`
	nameKey          = `SYSTEM\CurrentControlSet\Control\ComputerName`
	forwardingKey    = `SOFTWARE\Policies\Microsoft\Windows\EventLog\EventForwarding\SubscriptionManager`
)

// configured is printed where the local configuration manager has a configuration.
const configured = "#wavelock-configured"

// configuredLine asks for its files, without reading them: they are encrypted anyway.
func configuredLine() string {
	const folder = `%SystemRoot%\System32\Configuration\`
	line := `echo ` + section
	for _, file := range []string{"Current.mof", "Pending.mof"} { // in groups: what follows an if belongs to it
		line += `& (if exist "` + folder + file + `" echo ` + configured + `)`
	}
	return line
}

// uses reads what other programs on the host do with WinRM.
func uses(subscriptions, forwarding, names []regKey, text string) rollout.Uses {
	u := rollout.Uses{Rename: pendingName(names), DSC: strings.Contains(text, configured), Forwards: forwards(forwarding)}
	at := map[string]int{}
	const above = subscriptionsKey + `\`
	for _, k := range subscriptions {
		if len(k.path) <= len(above) || !strings.EqualFold(k.path[:len(above)], above) {
			continue
		}
		name, below, ok := strings.Cut(k.path[len(above):], `\`)
		i, known := at[strings.ToLower(name)]
		if !known {
			i = len(u.Subscriptions)
			at[strings.ToLower(name)] = i
			u.Subscriptions = append(u.Subscriptions, rollout.Subscription{Name: strings.Clone(name), Enabled: true})
		}
		s := &u.Subscriptions[i]
		if source, is := strings.CutPrefix(strings.ToLower(below), `eventsources\`); ok && is && !strings.Contains(source, `\`) {
			s.Sources = append(s.Sources, strings.Clone(source))
			continue
		}
		if !ok {
			subscription(k, s)
		}
	}
	return u
}

// subscription reads a subscription's own values. What is not there has its default:
// enabled, over HTTP, and the sources come by themselves.
func subscription(k regKey, s *rollout.Subscription) {
	if v, ok := k.value("Enabled"); ok {
		n, number := v.number()
		s.Enabled = !number || n != 0
	}
	s.HTTPS = strings.EqualFold(k.text("TransportName"), "https")
	switch kind := k.text("SubscriptionType"); {
	case strings.EqualFold(kind, "CollectorInitiated"), kind == "0x1", kind == "1":
		s.Fetches = true
	}
}

// pendingName is the name that the computer gets at its next restart; empty when it keeps its own.
func pendingName(keys []regKey) string {
	var active, next string
	for _, k := range keys {
		switch strings.ToLower(k.last()) {
		case "activecomputername":
			active = k.text("ComputerName")
		case "computername":
			if v := k.text("ComputerName"); v != "" { // the key above has the same name, and no value
				next = v
			}
		}
	}
	if active == "" || next == "" || strings.EqualFold(active, next) {
		return ""
	}
	return next
}
