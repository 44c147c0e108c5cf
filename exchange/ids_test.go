package exchange_test

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// reference computes an identifier as the comment of exchange.IDs says, bit by bit.
func reference(t *rapid.T, secret []byte, typ string, recipe ...string) string {
	mac := func(purpose string, text []byte) []byte {
		key, err := hkdf.Key(sha256.New, secret, nil, purpose, 32)
		if err != nil {
			t.Fatal(err)
		}
		h := hmac.New(sha256.New, key)
		h.Write(text)
		return h.Sum(nil)
	}
	field := func(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }
	text := field(typ)
	for _, s := range recipe {
		text = append(text, field(s)...)
	}
	bits := func(b []byte, n int) string { return fmt.Sprintf("%0*b", 8*len(b), new(big.Int).SetBytes(b))[:n] }
	name := bits(mac("tocsin id name", text), 74)
	padded, _ := new(big.Int).SetString(name+"000000", 2)
	mark := bits(mac("tocsin id mark", append(field(typ), padded.FillBytes(make([]byte, 10))...)), 48)
	all, _ := new(big.Int).SetString(name[:48]+"0100"+name[48:60]+"10"+name[60:]+mark, 2)
	u := hex.EncodeToString(all.FillBytes(make([]byte, 16)))
	return typ + "--" + strings.Join([]string{u[:8], u[8:12], u[12:16], u[16:20], u[20:]}, "-")
}

func TestIDsAreAsTheirCommentSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "secret")
		typ := rapid.StringMatching("[a-z]{3,8}-[a-z]{1,5}").Draw(t, "type")
		recipe := rapid.SliceOfN(rapid.String(), 0, 8).Draw(t, "recipe")
		ids := exchange.NewIDs(secret)
		got := ids.Of(typ, recipe...)
		if want := reference(t, secret, typ, recipe...); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if !ids.Made(got) {
			t.Fatal("its own is not known again:", got)
		}
		if again := ids.Of(typ, recipe...); again != got {
			t.Fatal(got, again)
		}
	})
}

// Nothing but the same exchange, type and recipe gives an identifier that is taken for its own.
func TestIDsOfOthersAreNotTaken(t *testing.T) {
	ids, others := exchange.NewIDs([]byte("one")), exchange.NewIDs([]byte("another"))
	id := ids.Of("indicator", "address", "240.0.0.1")
	for name, other := range map[string]string{
		"another secret": others.Of("indicator", "address", "240.0.0.1"), "another type": "sighting" + strings.TrimPrefix(id, "indicator"),
		"another version": strings.Replace(id, "-4", "-5", 1), "no UUID": "indicator--x", "no type": strings.TrimPrefix(id, "indicator--"), "nothing": "",
		"in braces": "indicator--{" + strings.TrimPrefix(id, "indicator--") + "}",
	} {
		if other == id || ids.Made(other) {
			t.Errorf("%s: %s is taken for ours", name, other)
		}
	}
	digits := "0123456789abcdef"
	for i := len("indicator--"); i < len(id); i++ {
		if id[i] == '-' {
			continue
		}
		other := id[:i] + string(digits[(strings.IndexByte(digits, id[i])+1)%16]) + id[i+1:]
		if ids.Made(other) {
			t.Errorf("with another digit at %d it is taken for ours: %s", i, other)
		}
	}
	for _, recipe := range [][]string{{"address", "240.0.0.10"}, {"address240.0.0.1"}, {"address", "", "240.0.0.1"}, {"address", "240.0.0.1", ""}, {}} {
		if ids.Of("indicator", recipe...) == id {
			t.Errorf("%q gives the same", recipe)
		}
	}
}

func BenchmarkIDs(b *testing.B) {
	ids := exchange.NewIDs([]byte("secret"))
	b.ReportAllocs()
	for b.Loop() {
		ids.Of("observed-data", "address", "240.0.0.1", "day", "2026-03-19", "operation", "rustock", "publisher", "dcu", "country", "AT", "asn", "64500", "packaging", "1")
	}
}
