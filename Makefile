# Sallyport: `make run` shows it at work, `make test` proves it. `make help` tells the rest.

GO      ?= go
BIN     := bin/sallyport
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# How long each fuzz target runs, and which benchmarks: make fuzz FUZZTIME=5m, make bench BENCH=Relay COUNT=10
FUZZTIME ?= 20s
BENCH    ?= .
COUNT    ?= 1

.DEFAULT_GOAL := help
.PHONY: help run build test lint fuzz bench soak clean tools

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build, then show everything at work on loopback; Ctrl-C stops it
	@$(BIN) demo

build: ## build bin/sallyport, one static binary
	@test -x $(BIN) || echo "building $(BIN): the first time takes a minute or two"
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sallyport

test: lint ## formatting, vet, staticcheck, then every test with the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 10m ./...

lint: tools ## formatting, vet and staticcheck only
	@unformatted=$$(gofmt -l cmd gateway sta tunnel splitdns certs bench); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags soak ./...
	$(GO) tool staticcheck -tags soak ./...

fuzz: ## run every fuzz target for FUZZTIME (20s)
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
	  done; \
	done

bench: ## run the benchmarks, each beside its baseline; BENCH=pattern COUNT=n
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

soak: tools ## the long tests: many large transfers at once (about 10 minutes)
	CGO_ENABLED=1 $(GO) test -race -tags soak -run Soak -timeout 60m -v ./cmd/sallyport

clean: ## remove what make built
	rm -rf bin

# What the tests need beyond Go. The race detector needs a C compiler.
PACKAGES := gcc libc6-dev curl
tools:
	@missing=$$(for p in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || echo $$p; done); \
	if [ -z "$$missing" ] || ! command -v dpkg-query >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ]; then \
	  echo "installing what the tests need:" $$missing; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	else \
	  echo "the tests need packages that are not installed. Type:"; \
	  echo "  sudo apt-get install -y" $$missing; exit 1; \
	fi
	@command -v gcc >/dev/null && command -v curl >/dev/null || { echo "the tests need gcc and curl on the PATH"; exit 1; }
