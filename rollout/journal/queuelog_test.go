package journal

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestQueueIsQuietAboutAServerThatIsGone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		level slog.Level
		key   string
		err   string
		heard bool
	}{
		{slog.LevelError, "err", "failed to connect to `user=w`: dial tcp 127.0.0.1:5: connect: connection refused", false},
		{slog.LevelError, "error", "FATAL: terminating connection due to administrator command (SQLSTATE 57P01)", false},
		{slog.LevelError, "err", "syntax error at or near \"SELEC\" (SQLSTATE 42601)", true},
		{slog.LevelWarn, "jobs", "connection refused", true},
		{slog.LevelInfo, "err", "anything", false},
	} {
		for _, with := range []bool{false, true} {
			var out bytes.Buffer
			log := riverLog(slog.New(slog.NewTextHandler(&out, nil)))
			if with {
				log = log.With("client", "x").WithGroup("g")
			}
			log.Log(t.Context(), c.level, "producer: Error fetching jobs", c.key, c.err)
			if heard := strings.Contains(out.String(), "fetching"); heard != c.heard {
				t.Errorf("%+v: heard %v", c, heard)
			}
		}
	}
}
