package rustock_test

import (
	"bufio"
	"testing"

	"github.com/tocsin-exchange/tocsin/examples/rustock"
)

func TestCountsAreThePublishedOnes(t *testing.T) {
	s := rustock.NewSample(rustock.World)
	byCountry, total := map[string]int{}, 0
	s.Each(func(h rustock.Host) bool {
		byCountry[rustock.Countries[h.Country].Code]++
		total++
		return true
	})
	if total != 1_601_619 || byCountry["IN"] != 322_566 || byCountry["US"] != 86_375 {
		t.Errorf("world %d, India %d, United States %d", total, byCountry["IN"], byCountry["US"])
	}
}

func TestEveryAddressIsFoundAgainAndOnce(t *testing.T) {
	for _, hosts := range []int{1, 34, 5000, 200_000} {
		s := rustock.NewSample(hosts)
		seen := make([]bool, hosts)
		v6 := 0
		s.Each(func(h rustock.Host) bool {
			back, ok := s.Find(h.Address)
			i := s.Index(h)
			if !ok || back != h || seen[i] {
				t.Fatalf("%v: found %v %v, index %d", h, back, ok, i)
			}
			seen[i] = true
			if h.Address.Is6() {
				v6++
			}
			return true
		})
		if hosts >= 5000 && (v6*100 < hosts*2 || v6*100 > hosts*4) {
			t.Errorf("%d of %d are IPv6", v6, hosts)
		}
	}
	if _, ok := rustock.NewSample(1000).Find(rustock.Sinkhole); ok {
		t.Error("the sinkhole is one of the hosts")
	}
}

func TestLogHasARowAHost(t *testing.T) {
	n := 0
	log := bufio.NewScanner(rustock.NewSample(1234).Log())
	for log.Scan() {
		n++
	}
	if n != 1235 {
		t.Errorf("%d lines", n)
	}
}
