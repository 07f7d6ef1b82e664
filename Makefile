# lastgood. `make run` measures this kernel; `make test` runs every test there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1.0-dev)
LDFLAGS := -s -w -X lastgood/internal/cli.Version=$(VERSION)
OUT     := .build
# Where `make run` keeps its history; the service's own is /var/lib/lastgood.
STATE   ?= $(OUT)/state
FUZZTIME ?= 30s
SOURCES := $(shell find bpf loader probes hw cmd internal -name '*.go' -o -name '*.o' 2>/dev/null)

.PHONY: help build run test deps test-unit test-kernel test-package test-vm test-cuts matrix generate check-generated lint fuzz bench package clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: lastgood ## build the static binary ./lastgood

lastgood: go.mod go.sum $(SOURCES)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/lastgood

run: build ## measure this kernel and compare it with the last good boot; the first run learns
	@mkdir -p $(OUT)
	./lastgood check --state-dir $(STATE)

test: deps lint test-kernel test-package check-generated ## run every test there is, installing what it needs where run as root

deps: # what the tests need from the distribution
	@.ci/deps

test-unit: ## the tests that need neither root nor a kernel of their own
	$(GO) test -short ./...

test-kernel: ## all tests with the race detector; as root they load programs into this kernel
	@mkdir -p $(OUT)
	@.ci/go-test

test-vm: deps ## the tests that boot stock Debian kernels, and a whole Debian, under QEMU
	LASTGOOD_REQUIRE=vm $(GO) test -count=1 -timeout 50m -run 'VM' -v ./internal/cli ./hw ./internal/systemvm

test-cuts: deps ## a whole Debian: the power goes at random instants, of another seed each time, and all of lastgood hangs
	LASTGOOD_REQUIRE=vm $(GO) test -count=1 -timeout 60m -run 'CutAtRandom|FailsOpen' -v ./internal/systemvm -cut-seed $$RANDOM -long

matrix: deps ## measure every kernel that Debian's archives offer and rewrite docs/kernels.md (half an hour)
	$(GO) test -count=1 -timeout 3h -run 'TestMatrix$$' -v ./internal/cli -matrix
	$(GO) test -count=1 -run 'TestKernelsPage' ./internal/cli -update

generate: ## rebuild the BPF objects under bpf/ and loader/testdata (needs clang-19)
	$(GO) generate ./bpf ./loader

check-generated: # the committed BPF objects are what the sources give
	@.ci/check-generated

lint: ## gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l bpf loader probes hw cmd internal deploy/grafana); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fuzz: ## run every fuzz target for FUZZTIME (30s) each
	@FUZZTIME=$(FUZZTIME) .ci/fuzz

bench: build ## the speed marks, beside their peers
	@.ci/bench

# The time of every file in a package: that of the commit, so that the same sources give the same bytes.
EPOCH    = $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

package: build ## the .deb, the .rpm and a tarball, under .build
	@mkdir -p $(OUT)
	cd deploy/package && SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$(EPOCH)} $(GO) run . -binary ../../lastgood -out ../../$(OUT) -version '$(VERSION)' -arch $$($(GO) env GOARCH)
	tar --sort=name --mtime=@$${SOURCE_DATE_EPOCH:-$(EPOCH)} --owner=0 --group=0 --transform 's,^,lastgood-$(VERSION)/,' -cf - lastgood README.md LICENSE CHANGELOG.md docs deploy | gzip -n9 > $(OUT)/lastgood-$(VERSION)-linux-$$($(GO) env GOARCH).tar.gz
	@ls -l $(OUT)/lastgood-$(VERSION)-linux-$$($(GO) env GOARCH).tar.gz

test-package: # builds both packages and installs the .deb into a folder; a module of its own
	@cd deploy/package && if [ -n "$$(gofmt -l .)" ]; then gofmt -l .; exit 1; fi
	cd deploy/package && $(GO) vet . && $(GO) test -count=1 .

clean: ## remove what was built
	rm -rf $(OUT) lastgood
