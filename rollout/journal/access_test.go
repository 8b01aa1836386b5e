package journal

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"wavelock/rollout"
)

func TestAccessesAreKeptAndChained(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	if some, err := j.Accesses(t.Context(), 0, 10); err != nil || len(some) != 0 {
		t.Fatalf("nobody came: %v, %v", some, err)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 5 {
		if err := j.Witness(t.Context(), rollout.Access{At: at, Kind: rollout.AccessLogin, Who: fmt.Sprint("user ", i), From: "192.0.2.1"}); err != nil {
			t.Fatal(err)
		}
	}
	some, err := j.Accesses(t.Context(), 0, 2)
	if err != nil || len(some) != 2 || some[0].Who != "user 4" || some[0].N != 5 || !some[0].At.Equal(at) {
		t.Fatalf("the newest: %+v, %v", some, err)
	}
	if some, err = j.Accesses(t.Context(), some[1].N, 10); err != nil || len(some) != 3 || some[2].N != 1 {
		t.Fatalf("the older: %+v, %v", some, err)
	}
	for _, query := range []string{"UPDATE access SET body = 'x'", "DELETE FROM access"} {
		if _, err := j.write.ExecContext(t.Context(), query); err == nil {
			t.Errorf("%s is allowed", query)
		}
	}
	n, head, err := j.AccessHead(t.Context())
	if err != nil || n != 5 || len(head) != 64 {
		t.Errorf("head %d %s, %v", n, head, err)
	}
}

// TestAccessesThatWereChangedAreNotBelieved tampers as somebody would who holds the file.
func TestAccessesThatWereChangedAreNotBelieved(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"a name":        `UPDATE access SET body = CAST(replace(CAST(body AS TEXT), 'user 2', 'user 9') AS BLOB) WHERE n = 3`,
		"the last name": `UPDATE access SET body = CAST(replace(CAST(body AS TEXT), 'user 4', 'user 9') AS BLOB) WHERE n = 5`,
		"the first":     `UPDATE access SET body = CAST(replace(CAST(body AS TEXT), 'user 0', 'user 9') AS BLOB) WHERE n = 1`,
		"a line":        `DELETE FROM access WHERE n = 3`,
		"the beginning": `DELETE FROM access WHERE n = 1`,
		"no JSON":       `UPDATE access SET body = CAST('x' AS BLOB) WHERE n = 2`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJournal(t)
			for i := range 5 {
				if err := j.Witness(t.Context(), rollout.Access{Kind: rollout.AccessLogin, Who: fmt.Sprint("user ", i)}); err != nil {
					t.Fatal(err)
				}
			}
			j.exec(t, "DROP TRIGGER access_is_not_changed")
			j.exec(t, "DROP TRIGGER access_is_not_removed")
			j.exec(t, query)
			_, err := j.Accesses(t.Context(), 0, 10)
			var broken *AccessError
			if !errors.As(err, &broken) {
				t.Errorf("nobody sees it: %v", err)
			}
		})
	}
}
