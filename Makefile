# The project's commands. `make` lists them.

GO        ?= go
TIMEOUT   ?= 20m
BENCH     ?= .

.PHONY: help
help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: ## everything that a change must pass: formatting, vet, generated code, all tests under -race, on real servers
	@scripts/setup.sh
	@scripts/check.sh
	scripts/test.sh -timeout $(TIMEOUT) ./...

.PHONY: soak
soak: ## the same tests at full counts; the result goes to docs/soak/
	@scripts/setup.sh
	scripts/soak.sh

.PHONY: bench
bench: ## benchmarks beside their baselines; the table goes to bench/results/
	scripts/bench.sh '$(BENCH)'

.PHONY: lint
lint: ## golangci-lint, as pinned in tools/go.mod
	cd tools && $(GO) build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	bin/golangci-lint run ./...

.PHONY: generate
generate: ## write generated code again
	$(GO) generate ./...

.PHONY: cover
cover: ## coverage of all packages by all tests, in coverage.html
	$(GO) test -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -html=coverage.out -o coverage.html
	$(GO) tool cover -func=coverage.out | tail -n 1
