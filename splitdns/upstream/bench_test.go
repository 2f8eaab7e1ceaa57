package upstream

import (
	"testing"

	"github.com/miekg/dns"
)

// What the checks and the freedom to ask another server cost, beside the
// library's own client with the same server, which opens a socket for every
// query too, and looks at the id alone. The server is in the process and takes
// its share of the time.
//
//	go test -run '^$' -bench Ask -benchmem -count 10 ./splitdns/upstream | benchstat -col /client -
func BenchmarkAsk(b *testing.B) {
	server := serve(b, honest, honest)
	for _, network := range []string{"udp", "tcp"} {
		b.Run("over="+network+"/client=pool", func(b *testing.B) {
			p := pool(b, Config{Servers: []Server{server.over(network)}})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Ask(b.Context(), mailA); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("over="+network+"/client=library", func(b *testing.B) {
			client := dns.Client{Net: network}
			addr := server.addr().String()
			b.ReportAllocs()
			for b.Loop() {
				query := new(dns.Msg)
				query.SetQuestion(mailA.Name+".", mailA.Type)
				query.SetEdns0(ednsSize, false)
				if _, _, err := client.ExchangeContext(b.Context(), query, addr); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// As above, with sixteen questions under way per processor.
func BenchmarkAskParallel(b *testing.B) {
	server := serve(b, honest, honest)
	for _, network := range []string{"udp", "tcp"} {
		b.Run("over="+network, func(b *testing.B) {
			p := pool(b, Config{Servers: []Server{server.over(network)}})
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := p.Ask(b.Context(), mailA); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
