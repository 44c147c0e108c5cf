package exchange

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Accounts is where the keys of accounts are: 100::/8 is reserved by the IETF (RFC 4291,
// IANA's registry of IPv6 address space), so that nobody has an address of it.
var Accounts = netip.MustParsePrefix("100::/8")

// AccountKey is what stands for an account, which has no address, wherever a host is known
// by its own: 120 bits of the account's SHA-256 in 100::/8. account is as ParseAccount
// returns it.
func AccountKey(account string) netip.Addr {
	sum := sha256.Sum256([]byte(account))
	raw := [16]byte(sum[:16])
	raw[0] = 1
	return netip.AddrFrom16(raw)
}

// IsAccount tells whether an address is the key of an account.
func IsAccount(a netip.Addr) bool { return Accounts.Contains(a) }

// domains maps names as browsers do, and takes those with underscores and hyphens anywhere,
// which mail servers have.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false), idna.StrictDomainName(false))

// DomainName returns a domain as the DNS has it (RFC 5890), without dots around it.
func DomainName(text string) (string, error) {
	name, err := domains.ToASCII(strings.Trim(text, "."))
	if name = strings.Trim(name, "."); err == nil && name == "" {
		err = errors.New("it has no domain")
	}
	return name, err
}

// Suffix returns a domain suffix of the register in the form that names are compared in.
func Suffix(text string) string {
	if name, err := DomainName(text); err == nil {
		return name
	}
	return strings.ToLower(strings.Trim(text, "."))
}

// ParseAccount reads an e-mail address, bare, and returns it in lower case with its domain, which
// says who is responsible for it, in the form that the DNS has it (RFC 5890).
func ParseAccount(text string) (account, domain string, err error) {
	a, err := mail.ParseAddress(text)
	if err != nil || a.Name != "" || a.Address != text || len(text) > 254 || strings.ContainsAny(text, " \t\r\n") {
		return "", "", fmt.Errorf("%.80q is not an e-mail address", text)
	}
	at := strings.LastIndexByte(text, '@')
	if strings.ContainsFunc(text[:at], func(r rune) bool { return r > 0x7e }) {
		return "", "", fmt.Errorf("%.80q has other letters than ASCII before the @, which an e-mail address of RFC 5322 has not", text)
	}
	if domain, err = DomainName(text[at+1:]); err != nil {
		return "", "", fmt.Errorf("%.80q: its domain is no domain", text)
	}
	return strings.ToLower(text[:at]) + "@" + domain, domain, nil
}

// SetAccount makes an event one of an account: its key is in place of an address, and its
// domain of a host's name.
func (e *Event) SetAccount(text string) error {
	account, domain, err := ParseAccount(text)
	if err == nil {
		e.Account, e.Address, e.Hostname = account, AccountKey(account), domain
	}
	return err
}
