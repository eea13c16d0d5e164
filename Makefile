# Every target is a command or two that can be run by hand. `make help` lists them.

GO        ?= go
BUF       := $(GO) tool -modfile=tools/go.mod buf
LINT      := $(GO) tool -modfile=tools/lint/go.mod golangci-lint
INTEROP   := $(GO) test -count=1 -parallel 3 -vet=off
# With programs that are built once. What measures runs by itself; the other packages, which wait a lot, beside each other.
MEASURING := ./test/reliability/flood
SOAK      := ./test/reliability/soak
OTHERS    := $(filter-out $(MEASURING),$(wildcard ./test/reliability/*))
RELIABILITY := CONCENTRATOR_BIN=$(CURDIR)/bin $(GO) test -count=1 -vet=off
FUZZTIME  ?= 10s
# What make gen writes, as git names it.
GENERATED := api/gen ':(glob)internal/**/*_amd64.s' ':(glob)internal/**/*_amd64.go'

.DEFAULT_GOAL := help
.PHONY: help build run try test test-long unit race check gen accept gen-check fuzz corpus interop bench microbench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## the programs, into bin/
	$(GO) build -o bin/ ./cmd/...

run: build ## a concentrator with a demo tenant on this machine, state in run/ (root)
	tools/demo.sh

try: ## beside make run: simulated clients log in, and the API tells of them (root)
	tools/try.sh

test: ## installs what is needed, then unit, in-process and real-client tests (root)
	test/setup.sh
	CONCENTRATOR_REAL=1 $(GO) test -count=1 -shuffle=on -vet=off -p 3 ./... # they wait a lot; make check vets
	$(MAKE) interop

test-long: build ## real clients, the full matrix; kills, floods and an hour's soak, two hours in all (root)
	test/setup.sh
	$(RELIABILITY) -timeout 60m -tags=interop,interop_long $(MEASURING)
	$(INTEROP) -timeout 60m -tags=interop,interop_long ./test/interop
	$(RELIABILITY) -p 2 -parallel 3 -timeout 120m -tags=interop,interop_long $(SOAK) $(filter-out $(SOAK),$(OTHERS))

unit: ## unit and in-process tests
	$(GO) test -shuffle=on ./...

race: ## the same under the race detector
	$(GO) test -race -shuffle=on -vet=off -p 3 ./... # as in make test

check: ## format, vet, linters, import rules, go.mod, API lint
	$(LINT) run
	$(GO) test ./internal/archtest
	$(GO) mod tidy -diff
	tools/fetch-protos.sh
	$(BUF) lint
	$(BUF) format --diff --exit-code
	tools/breaking.sh

gen: ## api/gen from api/proto, the assembly from tools/asm
	tools/gen.sh

accept: ## the API as it is becomes what make check holds later changes against
	tools/breaking.sh accept

gen-check: gen ## fails if what is generated is not what make gen writes
	git diff --exit-code --stat -- $(GENERATED)
	test -z "$$(git ls-files --others --exclude-standard -- $(GENERATED))"

fuzz: ## every fuzz target for FUZZTIME (10s), two at once
	$(GO) run ./test/fuzz run -time $(FUZZTIME) $(FUZZFLAGS)

corpus: ## what fuzzing has found becomes the targets' testdata/corpus
	$(GO) run ./test/fuzz keep

interop: build ## real Linux clients in guests, and what may break it, in short (root, test/setup.sh)
	$(INTEROP) -timeout 10m -tags=interop ./test/interop
	$(RELIABILITY) -p 3 -timeout 5m -tags=interop $(OTHERS)
	$(RELIABILITY) -timeout 5m -tags=interop $(MEASURING)

bench: ## what a packet and a log-in cost, out/bench.json; about 20 minutes (root, test/setup.sh)
	test/setup.sh
	$(GO) run ./test/bench

microbench: ## go test -bench of every package
	$(GO) test -run='^$$' -bench=. -benchmem ./internal/...

clean: ## removes what the other targets build; run/ stays
	rm -rf bin build out
