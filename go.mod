module github.com/tocsin-exchange/tocsin

go 1.26.0

require (
	github.com/TcM1911/stix2 v0.9.0
	github.com/gaissmai/bart v0.30.0
	github.com/go-json-experiment/json v1.27.2
	github.com/google/go-cmp v0.7.0
	github.com/google/uuid v1.6.0
	github.com/klauspost/compress v1.20.3
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
	pgregory.net/rapid v1.3.0
)

require (
	github.com/stretchr/testify v1.12.1 // indirect
	github.com/ugorji/go/codec v1.2.7 // indirect
	golang.org/x/text v0.14.0 // indirect
)
