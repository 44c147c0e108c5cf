package api

import "github.com/tocsin-exchange/tocsin/stix/lint"

// maxLint bounds what is looked through for problems: it is read whole.
const maxLint = 8 << 20

// lint says what is wrong with STIX 2.1 objects: POST /v1/lint.
func (a *API) lint(r *request) (any, error) {
	text, err := r.body()
	if err != nil {
		return nil, err
	}
	return append([]lint.Problem{}, lint.Check(text)...), nil
}
