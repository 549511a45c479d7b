// Comparisons with third-party code, which the framework itself does not
// import.
module github.com/troupe-go/troupe/bench/compare

go 1.26.0

replace github.com/troupe-go/troupe => ../..

require (
	github.com/go-json-experiment/json v1.27.2
	github.com/goccy/go-json v0.12.0
	github.com/stretchr/testify v1.12.1
	github.com/troupe-go/troupe v0.0.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
