package exchange

import (
	"strings"
	"sync"

	"golang.org/x/text/language"
)

// renamed are codes that look-up tables and people use for a country whose code is another.
var renamed = map[string]string{"UK": "GB", "EL": "GR"}

// countries has the codes that name a country or an autonomous area.
var countries = sync.OnceValue(func() map[string]bool {
	m := make(map[string]bool)
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			if r, err := language.ParseRegion(code); err == nil && r.IsCountry() && renamed[code] == "" {
				m[code] = true
			}
		}
	}
	delete(m, "UN") // the United Nations and the euro area are no countries
	delete(m, "EZ")
	return m
})

// ValidCountry tells whether s is the code of a country in ISO 3166-1 alpha-2, in upper case, or XK, which many use for
// Kosovo.
func ValidCountry(s string) bool { return len(s) == 2 && countries()[s] }

// Country returns the country that a code in any case means: itself, or another one's for UK and EL; "" where it means
// none, as ZZ, XX, AP, EU and A1 do in look-up tables.
func Country(s string) string {
	s = strings.ToUpper(s)
	if to := renamed[s]; to != "" {
		return to
	}
	if ValidCountry(s) {
		return s
	}
	return ""
}
