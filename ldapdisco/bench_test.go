package ldapdisco_test

import (
	"fmt"
	"runtime"
	"testing"

	"wavelock/ldapdisco"
)

// BenchmarkComputers lists a whole domain: server, sealing and client in one process.
func BenchmarkComputers(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := emptyDomain(b)
			fleet(b, s, n)
			for name, cfg := range map[string]ldapdisco.Config{"ntlm-sealed": sealed(s), "simple-ldaps": simple(s)} {
				b.Run(name, func(b *testing.B) {
					d := dial(b, cfg)
					b.ReportAllocs()
					for b.Loop() {
						got, err := count(b.Context(), d, ldapdisco.Query{StaleAfter: 90 * day, Now: now})
						if err != nil || got != n+1 {
							b.Fatalf("%d computers, %v", got, err)
						}
					}
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "computers/s")
					b.ReportMetric(float64(m.HeapInuse)/(1<<20), "heap-MiB")
				})
			}
		})
	}
}
