// Package rustock is the case that the exchange is built from, as data: the 21
// teams of 2011, a publisher, three network owners, and a synthetic log of the
// sinkhole with the published totals.
//
// No real host is named: addresses come from 240.0.0.0/4, which is never routed,
// and 2001:db8::/32, AS numbers from the private range. The counts of the
// world, India and the United States are those published for 26 March 2011;
// the others are made up so that the sums hold. Counting addresses is not counting
// machines: dynamic addresses count one machine several times, NAT counts many
// once.
package rustock

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"
)

// World is how many addresses called the sinkhole by 26 March 2011.
const World = 1_601_619

// Feed is the feed that the log is published on.
const Feed = "rustock"

// Register is the register of the case, for `tocsin apply`.
//
//go:embed register.yaml
var Register []byte

// Country is one country's share of the log.
type Country struct {
	Code string
	// Hosts is its count out of World.
	Hosts int
	// Team is the member that is responsible for it, "" where none does.
	Team string
}

// Countries lists all shares; they sum to World. India and the United States
// are as published, the others are made up.
var Countries = []Country{
	{"IN", 322_566, ""},
	{"US", 86_375, ""},
	{"RU", 133_000, ""},
	{"TR", 104_500, ""},
	{"BR", 98_000, "cert-br"},
	{"FR", 74_600, ""},
	{"UA", 66_400, "cert-ua"},
	{"CA", 61_300, "ccirc"},
	{"MY", 48_700, "mycert"},
	{"DE", 46_900, "bsi"},
	{"PK", 44_200, "pisa-cert"},
	{"TH", 41_500, "thaicert"},
	{"IT", 40_800, ""},
	{"ES", 38_600, "inteco-cert"},
	{"GB", 36_700, "govcertuk"},
	{"AR", 33_900, "arcert"},
	{"SA", 31_800, "cert-sa"},
	{"TW", 29_400, "twcert-cc"},
	{"VN", 28_700, ""},
	{"ID", 27_300, ""},
	{"PL", 26_100, ""},
	{"MX", 24_800, ""},
	{"CO", 21_500, ""},
	{"JP", 19_700, "jpcert-cc"},
	{"NL", 15_300, "govcert-nl"},
	{"CN", 14_600, "cncert"},
	{"HK", 11_900, "hkcert"},
	{"BE", 11_200, "cert-be"},
	{"AT", 9_800, "cert-at"},
	{"FI", 5_400, "cert-fi"},
	{"LV", 4_700, "cert-lv"},
	{"EE", 3_600, "cert-ee"},
	{"CL", 20_400, ""},
	{"DK", 9_300, ""},
	{"NO", 8_078, ""},
}

// Host is one infected address of the log.
type Host struct {
	Address netip.Addr
	Country int // index into Countries
	// Owner is the network owner that its network belongs to, "" for none.
	Owner string
	ASN   uint32
	index int // within its country
}

// Sinkhole is where all hosts called; it is in no country's block.
var Sinkhole = netip.MustParseAddr("250.0.0.1")

// Start is when the log begins.
var Start = time.Date(2011, 3, 26, 0, 0, 0, 0, time.UTC)

// Sample is a log of some number of hosts.
type Sample struct {
	Hosts int
	n     []int // by country
	base  []int // of the numbers of its hosts
}

// NewSample splits a number of hosts over the countries: exactly as above for
// World, in proportion for any other.
func NewSample(hosts int) *Sample {
	s := &Sample{Hosts: hosts, n: make([]int, len(Countries)), base: make([]int, len(Countries))}
	left := hosts
	for i, c := range Countries {
		s.n[i] = int(int64(hosts) * int64(c.Hosts) / World)
		left -= s.n[i]
	}
	for i := 0; left > 0; i, left = (i+1)%len(s.n), left-1 {
		s.n[i]++
	}
	for i := 1; i < len(s.n); i++ {
		s.base[i] = s.base[i-1] + s.n[i-1]
	}
	return s
}

// Each country has a /13 of 240.0.0.0/4 and a /40 of 2001:db8::/32. 3 of 100
// hosts have IPv6 addresses.

// host makes the i-th host of a country.
func host(country, i int) Host {
	h := Host{Country: country, index: i}
	if i%100 < 97 {
		// An odd factor permutes the 19 bits: neighbours in the log are not
		// neighbours in the network, and no address comes twice.
		bits := uint32(i) * 0x9e371 & (1<<19 - 1)
		v := uint32(240)<<24 + uint32(country)<<19 + bits
		h.Address = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, v)))
	} else {
		var a [16]byte
		copy(a[:], []byte{0x20, 0x01, 0x0d, 0xb8, byte(country)})
		binary.BigEndian.PutUint32(a[12:], uint32(i))
		h.Address = netip.AddrFrom16(a)
	}
	h.ASN = 4_200_000_000 + uint32(country)*100 + 10 + uint32(i%7)
	switch Countries[country].Code {
	case "US": // the first 300 of 1000 hosts are one provider's, the next 200 another's
		switch p := i % 1000; {
		case p < 300:
			h.ASN, h.Owner = 4_200_000_101, "isp-one"
		case p < 500:
			h.ASN, h.Owner = 4_200_000_102, "isp-two"
		}
	case "AT":
		if campus.Contains(h.Address) {
			h.Owner = "campus"
		}
	}
	return h
}

var campus = netip.MustParsePrefix("240.224.0.0/15")

// Each calls each with every host, in the log's order: countries mixed, as they
// call. It stops when each returns false.
func (s *Sample) Each(each func(h Host) bool) {
	next := make([]int, len(s.n))
	// Weighted round robin: after k of the hosts, each country has had its
	// share of k, to within one or two.
	credit := make([]int, len(s.n))
	for range s.Hosts {
		best := -1
		for c := range s.n {
			credit[c] += s.n[c]
			if next[c] < s.n[c] && (best < 0 || credit[c] > credit[best]) {
				best = c
			}
		}
		credit[best] -= s.Hosts
		if !each(host(best, next[best])) {
			return
		}
		next[best]++
	}
}

// Log returns the sinkhole's log: a CSV, a row a host. One row in twenty leaves
// out country and AS number, which the networks table then has to tell.
func (s *Sample) Log() io.ReadCloser { return s.Part(Start, 0, s.Hosts) }

// Part is the log of the hosts from one up to another, as if it began at start.
func (s *Sample) Part(start time.Time, from, to int) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		buf := bytes.NewBufferString("timestamp,ip,port,asn,cc,protocol,malware,dst_ip,dst_port\n")
		i := -1
		s.Each(func(h Host) bool {
			if i++; i < from || i >= to {
				return i < to
			}
			buf.Write(row(nil, h, start, i))
			if buf.Len() < 64<<10 {
				return true
			}
			_, err := buf.WriteTo(w)
			return err == nil
		})
		_, err := buf.WriteTo(w)
		_ = w.CloseWithError(err) // nil ends it with io.EOF
	}()
	return r
}

func row(b []byte, h Host, start time.Time, i int) []byte {
	at := start.Add(time.Duration(i) * 50 * time.Millisecond)
	b = at.AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, ',')
	b = h.Address.AppendTo(b)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(1024+i*7919%64000), 10)
	if i%20 == 19 && h.Owner == "" {
		b = append(b, ",,"...)
	} else {
		b = append(b, ',')
		b = strconv.AppendUint(b, uint64(h.ASN), 10)
		b = append(b, ',')
		b = append(b, Countries[h.Country].Code...)
	}
	b = append(b, ",tcp http,rustock,"...)
	b = Sinkhole.AppendTo(b)
	return append(b, ",80\n"...)
}

// Find is the reverse of the generator: the host with the address, and false
// for any other address. It knows nothing of how the exchange routes.
func (s *Sample) Find(a netip.Addr) (Host, bool) {
	var c, i int
	if a.Is4() {
		v := binary.BigEndian.Uint32(a.AsSlice())
		c, i = int(v>>19&0x1ff), int(v*inverse&(1<<19-1))
	} else {
		b := a.As16()
		c, i = int(b[4]), int(binary.BigEndian.Uint32(b[12:]))
	}
	if c >= len(s.n) || i >= s.n[c] {
		return Host{}, false
	}
	h := host(c, i)
	return h, h.Address == a
}

// Index numbers the hosts from 0, in another order than the log's.
func (s *Sample) Index(h Host) int { return s.base[h.Country] + h.index }

// inverse undoes the factor of host modulo 2^19.
var inverse = func() uint32 {
	x := uint32(1)
	for range 5 { // Newton's method doubles the good bits
		x *= 2 - 0x9e371*x
	}
	return x
}()

// Collections names the collections of the exchange that the host belongs in,
// the feed's own left out.
func (h Host) Collections() []string {
	var list []string
	if team := Countries[h.Country].Team; team != "" {
		list = append(list, team)
	}
	if h.Owner != "" {
		list = append(list, h.Owner)
	}
	if len(list) == 0 {
		list = []string{"unclaimed"}
	}
	return list
}

// Networks is the networks table of the case, as CSV, an AS number a country: where the rows that say
// nothing of country and AS number are.
func Networks() []byte {
	var b bytes.Buffer
	b.WriteString("prefix,asn,cc\n")
	for c, country := range Countries {
		v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 240<<24+uint32(c)<<19))), 13)
		v6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(c)}), 40)
		for _, p := range []netip.Prefix{v4, v6} {
			fmt.Fprintf(&b, "%s,%d,%s\n", p, 4_200_000_000+c*100+10, country.Code)
		}
	}
	return b.Bytes()
}
