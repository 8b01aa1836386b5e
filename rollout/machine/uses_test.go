package machine

import (
	"reflect"
	"testing"

	"wavelock/rollout"
)

func TestUses(t *testing.T) {
	t.Parallel()
	const sub = hive + subscriptionsKey
	for name, tc := range map[string]struct {
		subscriptions, names, text string
		want                       rollout.Uses
	}{
		"nothing": {},
		"a collector whose sources come by themselves": {
			"\r\n" + sub + "\r\n\r\n" + sub + "\\Logons\r\n    Query    REG_SZ    <QueryList/>\r\n    Enabled    REG_DWORD    0x1\r\n" +
				sub + "\\Logons\\EventSources\\WEB01.corp.example\r\n    LastHeartBeatTime    REG_QWORD    0x1\r\n", "", "",
			rollout.Uses{Subscriptions: []rollout.Subscription{{Name: "Logons", Enabled: true, Sources: []string{"web01.corp.example"}}}}},
		"one that fetches, over HTTPS, and one that is off": {
			sub + "\\A b\r\n    SubscriptionType    REG_SZ    CollectorInitiated\r\n    TransportName    REG_SZ    HTTPS\r\n" +
				sub + "\\Off\r\n    SubscriptionType    REG_DWORD    0x1\r\n    Enabled    REG_DWORD    0x0\r\n", "", "",
			rollout.Uses{Subscriptions: []rollout.Subscription{{Name: "A b", Enabled: true, HTTPS: true, Fetches: true}, {Name: "Off", Fetches: true}}}},
		"a source's own settings are not the subscription's": {
			sub + "\\A\r\n    Enabled    REG_DWORD    0x1\r\n" + sub + "\\A\\EventSources\\x.corp.example\\Bookmark\r\n    Enabled    REG_DWORD    0x0\r\n", "", "",
			rollout.Uses{Subscriptions: []rollout.Subscription{{Name: "A", Enabled: true}}}},
		"a new name": {"", hive + nameKey + "\\ActiveComputerName\r\n    ComputerName    REG_SZ    WEB01\r\n" +
			hive + nameKey + "\\ComputerName\r\n    (Default)    REG_SZ    mnmsrvc\r\n    ComputerName    REG_SZ    WEB09\r\n", "", rollout.Uses{Rename: "WEB09"}},
		"the same name in other letters": {"", hive + nameKey + "\\ActiveComputerName\r\n    ComputerName    REG_SZ    WEB01\r\n" +
			hive + nameKey + "\\ComputerName\r\n    ComputerName    REG_SZ    web01\r\n", "", rollout.Uses{}},
		"half a name":     {"", hive + nameKey + "\\ComputerName\r\n    ComputerName    REG_SZ    WEB09\r\n", "", rollout.Uses{}},
		"a configuration": {"", "", "\r\n" + configured + "\r\n", rollout.Uses{DSC: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := uses(parseRegQuery(tc.subscriptions), nil, parseRegQuery(tc.names), tc.text); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}
