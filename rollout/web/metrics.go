package web

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"wavelock/rollout"
)

// metrics draws the numbers from the journal when they are asked for: a restart
// loses nothing, and what another process runs is counted, too.
type metrics struct {
	s *server

	up, hosts, blocked, newest, clients                        *prometheus.Desc
	certificates, nextEnd, initiators, entry                   *prometheus.Desc
	done, planned, inFlight, failures, limit, status, troubles *prometheus.Desc
}

// newMetrics is the handler of /metrics, and counts requests on the way.
func (s *server) newMetrics() (http.Handler, func(http.Handler) http.Handler) {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("wavelock_"+name, help, labels, nil)
	}
	m := &metrics{s: s,
		up:           d("journal_up", "Whether the journal could be read, 1 or 0."),
		hosts:        d("hosts", "Known hosts by class of coverage.", "class"),
		blocked:      d("findings", "Hosts with a finding that is not waived, by reason and severity.", "reason", "severity"),
		newest:       d("observation_newest_timestamp_seconds", "When a host was last looked at."),
		clients:      d("http_clients", "Addresses that still use HTTP, as last seen."),
		certificates: d("certificates", "HTTPS listeners by the days that their certificate is still valid.", "left"),
		nextEnd:      d("certificate_next_expiry_timestamp_seconds", "When the next certificate of an HTTPS listener ends."),
		initiators:   d("initiators", "Computers that can start a remote connection to some host, by its firewall rules."),
		entry:        d("hosts_by_entry", "Hosts that were looked at by whom they let in: everybody, some or unknown.", "entry"),
		planned:      d("campaign_hosts", "Hosts of the plan.", "campaign"),
		done:         d("campaign_hosts_done", "Hosts that reached the goal.", "campaign"),
		inFlight:     d("campaign_in_flight", "Hosts that are being worked on.", "campaign"),
		failures:     d("campaign_failures", "Failures counted against the error budget.", "campaign"),
		limit:        d("campaign_failure_limit", "Failures at which the campaign stops.", "campaign"),
		status:       d("campaign_status", "1 for the status that the campaign is in.", "campaign", "status"),
		troubles:     d("campaign_hosts_by_status", "Hosts by where they stand.", "campaign", "status"),
	}
	reg := prometheus.NewRegistry()
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "wavelock_http_request_duration_seconds", Help: "How long the dashboard took to answer.",
		Buckets: []float64{.005, .02, .05, .1, .3, 1, 5}}, []string{"code", "method"})
	viewers := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wavelock_live_viewers", Help: "Open live streams."}, func() float64 { return float64(s.live.count()) })
	reg.MustRegister(m, seconds, viewers, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	count := func(next http.Handler) http.Handler {
		timed := promhttp.InstrumentHandlerDuration(seconds, next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/live" { // lasts as long as somebody looks
				next.ServeHTTP(w, r)
				return
			}
			timed.ServeHTTP(w, r)
		})
	}
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{Timeout: 20 * time.Second, MaxRequestsInFlight: 4}), count
}

func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.up, m.hosts, m.blocked, m.newest, m.clients, m.certificates, m.nextEnd, m.initiators, m.entry, m.done, m.planned, m.inFlight, m.failures, m.limit, m.status, m.troubles} {
		ch <- d
	}
}

// Collect says that the journal cannot be read rather than nothing.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	f, err := m.s.fleet.await(ctx)
	var campaigns []Campaign
	if err == nil {
		campaigns, err = m.s.allCampaigns(ctx)
	}
	if err != nil {
		m.s.Log.Warn("collect metrics", "err", err)
		gauge(m.up, 0)
		return
	}
	gauge(m.up, 1)
	m.fleet(ctx, f, gauge)
	for _, c := range campaigns {
		m.campaign(c, gauge)
	}
}

func (m *metrics) fleet(ctx context.Context, f *fleet, gauge func(*prometheus.Desc, float64, ...string)) {
	for _, c := range rollout.Classes() {
		gauge(m.hosts, float64(f.total.Classes[c]), string(c))
	}
	for _, k := range f.kinds {
		gauge(m.blocked, float64(k.Hosts-k.Waived), string(k.Reason), string(k.Severity))
	}
	for _, d := range f.days {
		gauge(m.certificates, float64(d.Hosts), d.Key)
	}
	gauge(m.initiators, float64(f.starts.Can))
	for entry, hosts := range map[string]int{"everybody": f.starts.Open, "some": f.starts.Scoped, "unknown": f.starts.Unknown} {
		gauge(m.entry, float64(hosts), entry)
	}
	if !f.total.Newest.IsZero() {
		gauge(m.newest, float64(f.total.Newest.Unix()))
	}
	if clients, err := m.s.httpClients(ctx, f); err == nil {
		gauge(m.clients, float64(len(clients.Clients)))
	}
	var next time.Time
	for _, h := range f.hosts {
		if c := h.Certificate; c != nil && !c.NotAfter.IsZero() && (next.IsZero() || c.NotAfter.Before(next)) {
			next = c.NotAfter
		}
	}
	if !next.IsZero() {
		gauge(m.nextEnd, float64(next.Unix()))
	}
}

func (m *metrics) campaign(c Campaign, gauge func(*prometheus.Desc, float64, ...string)) {
	id := string(c.Campaign)
	gauge(m.planned, float64(c.Hosts), id)
	gauge(m.done, float64(c.Done), id)
	gauge(m.inFlight, float64(c.InFlight), id)
	gauge(m.failures, float64(c.Failures), id)
	gauge(m.limit, float64(c.Limit), id)
	gauge(m.status, 1, id, c.Status)
	for status, n := range c.Counts {
		gauge(m.troubles, float64(n), id, status)
	}
}
