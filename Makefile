# Sallyport: `make run` shows it at work, `make test` proves it. `make help` tells the rest.

GO      ?= go
BIN     := bin/sallyport
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# How long each fuzz target runs, and what is measured: make fuzz FUZZTIME=5m,
# make bench HOTPATH='-only idle', make bench BENCH=Relay COUNT=10
FUZZTIME ?= 20s
HOTPATH  ?=
BENCH    ?=
COUNT    ?= 1

.DEFAULT_GOAL := help
.PHONY: help run build test lint fuzz bench bench-baseline soak clean tools

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build, then show everything at work on loopback; Ctrl-C stops it
	@$(BIN) demo

build: ## build bin/sallyport, one static binary
	@test -x $(BIN) || echo "building $(BIN): the first time takes a minute or two"
	@CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sallyport

test: tools lint ## formatting, vet, staticcheck, then every test with the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 10m ./...

lint: ## formatting, vet and staticcheck only
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l cmd gateway sta tunnel splitdns certs bench) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags soak ./...
	$(GO) tool staticcheck -tags soak ./...

fuzz: ## run every fuzz target for FUZZTIME (20s)
	@set -e; for package in $$($(GO) list ./...); do \
	  targets=$$($(GO) test -list '^Fuzz' $$package); \
	  for target in $$(echo "$$targets" | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
	  done; \
	done

bench: build ## what a tunnel costs beside a naive gateway, against goals and this machine's baseline (15 minutes); BENCH=pattern COUNT=n runs Go's benchmarks instead
ifeq ($(BENCH),)
	@$(GO) build -buildvcs=false -o bin/hotpath ./bench/hotpath
	@bin/hotpath -sallyport $(BIN) $(HOTPATH)
else
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...
endif

bench-baseline: ## keep what make bench measures as what it compares with on machines like this one: a quiet one
	@$(MAKE) bench HOTPATH='$(HOTPATH) -save-baseline bench/hotpath/baselines'

soak: NEEDED += chromium
soak: tools ## the long tests: large transfers, failovers and restarts, thousands of tunnels idle, busy and revoked (25 minutes)
	CGO_ENABLED=1 $(GO) test -race -tags soak -run 'Soak$$|SoakFailovers' -timeout 60m -v ./cmd/sallyport
	CGO_ENABLED=0 $(GO) test -tags soak -run SoakTunnels -timeout 30m -v ./cmd/sallyport
	CGO_ENABLED=1 $(GO) test -race -tags soak -run Soak -timeout 30m -v ./tunnel
	$(GO) test -tags soak -run SoakChromium -timeout 5m -v ./cmd/sallyport/internal/node

clean: ## remove what make built
	rm -rf bin

# What the tests need beyond Go: programs, each with its Debian package if that
# has another name, and for the race detector a C compiler with libc's headers.
NEEDED := curl dig=bind9-dnsutils redis-server unbound duk=duktape gcc ip=iproute2 openssl gnutls-cli=gnutls-bin gtlsclient=ngtcp2-client

tools:
	@missing=; PATH=$$PATH:/usr/sbin:/sbin; \
	for needed in $(NEEDED); do \
	  command -v $${needed%%=*} >/dev/null || missing="$$missing $${needed##*=}"; \
	done; \
	echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1 || missing="$$missing libc6-dev"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing what the tests need:$$missing"; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	else \
	  echo "the tests need what is not installed. On Debian, type:"; \
	  echo "  sudo apt-get update && sudo apt-get install -y$$missing"; exit 1; \
	fi
