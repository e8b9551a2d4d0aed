# Everything here needs Go and make alone. `make help` lists the targets.

GO ?= go
BIN := bin

# Arguments of targets, such as make run BENCHFLAGS="--duration 5s".
BENCHFLAGS ?=
COMPRESSFLAGS ?=
TLSFLAGS ?=
FANOUTFLAGS ?=
RACEFLAGS ?=
FUZZTIME ?= 10s
BENCH ?= .
TESTTIMEOUT ?= 600s

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# The packages with benchmarks of their hot paths.
KERNELS := ./mask ./internal/utf8x ./frame ./deflate ./internal/handshake ./internal/wheel ./pool ./engine

# Modules of their own: what they depend on, the engine does not.
NESTED := backplane/nats/natstest bench/compression bench/fanout bench/interop bench/masking bench/peers bench/race bench/tls

# The race detector needs a C compiler.
RACE := $(shell test "$$($(GO) env CGO_ENABLED)" = 1 && command -v "$$($(GO) env CC | cut -d' ' -f1)" >/dev/null && echo -race)

REVISION := $(shell git describe --always --dirty --abbrev=12 2>/dev/null)

.PHONY: help build run test race bench pgo bench-mask bench-compress bench-tls bench-fanout fuzz lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/zeroframe
	$(GO) build -buildvcs=false -ldflags "-X zeroframe/bench.revision=$(REVISION)" -o $(BIN)/zeroframe ./cmd/zeroframe

run: build ## load a server over real sockets for about 10 seconds, and report (BENCHFLAGS)
	$(BIN)/zeroframe bench $(BENCHFLAGS)

test: ## run all tests with the race detector
	@test -n "$(RACE)" || echo "no C compiler: the tests run WITHOUT the race detector"
	$(GO) test $(RACE) -pgo=off -timeout $(TESTTIMEOUT) ./...
	cd bench/interop && $(GO) test $(RACE) -count=1 -timeout $(TESTTIMEOUT) ./... # go does not see what it starts: browsers, a chat
	cd bench/peers && $(GO) test $(RACE) -timeout $(TESTTIMEOUT) ./...
	cd bench/peers && $(GO) test -timeout $(TESTTIMEOUT) -run '/nbio' ./... # the race detector cannot see how nbio synchronises
	cd bench/compression && $(GO) test $(RACE) -timeout $(TESTTIMEOUT) ./...
	cd bench/fanout && $(GO) test $(RACE) -timeout $(TESTTIMEOUT) ./...
	cd backplane/nats/natstest && $(GO) test $(RACE) -count=1 -timeout $(TESTTIMEOUT) ./... # nor a NATS server
	cd bench/tls && $(GO) test -timeout $(TESTTIMEOUT) ./... # nbio again
	cd bench/race && $(GO) test $(RACE) -timeout $(TESTTIMEOUT) ./...

race: ## measure servers beside each other in all scenarios, 25 minutes, and write bin/race/race.html (RACEFLAGS="--quick": 2 minutes)
	cd bench/race && $(GO) build -ldflags "-X zeroframe/bench.revision=$(REVISION)" -o ../../$(BIN)/race/race .
	$(BIN)/race/race $(RACEFLAGS)

bench: ## run the benchmarks of the hot paths (BENCH is a pattern)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 1800s $(KERNELS)

bench-mask: ## print masking speeds beside copy and other libraries, and what it takes to unmask and validate text
	cd bench/masking && $(GO) run .

bench-compress: ## print compressed echoes beside other libraries, 6 minutes (COMPRESSFLAGS)
	cd bench/compression && $(GO) build -ldflags "-X zeroframe/bench.revision=$(REVISION)" -o ../../$(BIN)/compression . && ../../$(BIN)/compression $(COMPRESSFLAGS)

bench-tls: ## print echoes, idle connections and handshakes over TLS beside other libraries, 5 minutes (TLSFLAGS)
	cd bench/tls && $(GO) build -ldflags "-X zeroframe/bench.revision=$(REVISION)" -o ../../$(BIN)/tls . && ../../$(BIN)/tls $(TLSFLAGS)

bench-fanout: ## print what it costs to send a message to all, beside other libraries and bare writes, 8 minutes (FANOUTFLAGS)
	cd bench/fanout && $(GO) build -ldflags "-X zeroframe/bench.revision=$(REVISION)" -o ../../$(BIN)/fanout . && ../../$(BIN)/fanout $(FANOUTFLAGS)

# What the binary is optimised for: every kind of message that goes through the engine's own code.
PGOROWS := 100:32:1 1000:32:16 1000:1KiB:1 100:16KiB:1 10:1MiB:1 100:32:1:/send 100:32:1:/session 1000:1KiB:16,text,cjk fanout:1000:32:8

pgo: ## record the profile that the binary is built with, one minute
	rm -rf $(BIN)/pgo && mkdir -p $(BIN)/pgo
	$(GO) build -buildvcs=false -pgo=off -o $(BIN)/pgo/zeroframe ./cmd/zeroframe
	$(BIN)/pgo/zeroframe bench --duration 5s --profile $(BIN)/pgo $(PGOROWS:%=--row %)
	$(GO) tool pprof -proto $(BIN)/pgo/zeroframe $(BIN)/pgo/row-*.pprof >$(BIN)/pgo/merged.pgo
	mv $(BIN)/pgo/merged.pgo cmd/zeroframe/default.pgo

fuzz: ## run each fuzz target for FUZZTIME
	@set -e; for f in $$($(GO) test -list '^Fuzz' ./fuzz | grep '^Fuzz'); do GO="$(GO)" fuzz/run.sh $$f $(FUZZTIME); done

lint: ## check the format, vet, and run staticcheck, in the nested modules too
	@list="$$(gofmt -l .)"; test -z "$$list" || { echo "not formatted by gofmt:"; echo "$$list"; exit 1; }
	@set -e; for m in . $(NESTED); do echo "vet, staticcheck: $$m"; (cd $$m && $(GO) vet ./... && $(GO) run $(STATICCHECK) ./...); done

clean: ## remove what was built
	rm -rf $(BIN)
