# dockstack: everything that is built, run and tested. `make help` lists the targets.
#
# What is made stands under build/ and is made once: a binary of the test engine depends on the go.mod that pins it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

HOSTS ?= 1
ETCD ?= 0
FUZZTIME ?= 10s

BUILD := build
BIN := $(BUILD)/engine/bin
TOOLS := $(BUILD)/tools
ENGINE := $(addprefix $(BIN)/,dockerd docker-proxy docker-init runc docker docker-compose)
GOBUILD := go build -buildvcs=false -trimpath
SOURCES := $(shell find cmd plugin ipam dnsd internal -type f ! -name '*_test.go' ! -path '*/testdata/*' 2>/dev/null)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The version that the engine reports; its module's own tag (v2.0.0-beta.18) is another name for the same code.
ENGINE_VERSION := 29.6.0

export PATH := $(CURDIR)/$(BIN):$(PATH)

##@ Build

.PHONY: deps
deps: ## install the Debian packages that are missing (needs root)
	@test/deps.sh

.PHONY: engine
engine: deps $(ENGINE) ## build Docker Engine 29, runc, the docker command and Compose v2 into build/engine/bin

$(BIN)/dockerd $(BIN)/docker-proxy &: test/engine/dockerd/go.mod test/engine/dockerd/go.sum
	@echo "building dockerd $(ENGINE_VERSION) (about 4 minutes, once)"
	@cd test/engine/dockerd && CGO_ENABLED=0 go build -buildvcs=false \
		-ldflags '-s -w -X github.com/moby/moby/v2/dockerversion.Version=$(ENGINE_VERSION)' \
		-o $(CURDIR)/$(BIN)/ github.com/moby/moby/v2/cmd/dockerd github.com/moby/moby/v2/cmd/docker-proxy

$(BIN)/runc: test/engine/runc/go.mod test/engine/runc/go.sum | deps
	@echo "building runc"
	@cd test/engine/runc && go build -buildvcs=false -tags seccomp -ldflags '-s -w -X main.version=1.3.3' \
		-o $(CURDIR)/$@ github.com/opencontainers/runc

$(BIN)/docker-init: | deps
	@mkdir -p $(BIN)
	@ln -sf /usr/bin/tini-static $@

$(BIN)/docker: test/engine/cli/go.mod test/engine/cli/go.sum
	@echo "building the docker command"
	@cd test/engine/cli && CGO_ENABLED=0 go build -buildvcs=false \
		-ldflags '-s -w -X github.com/docker/cli/cli/version.Version=$(ENGINE_VERSION)' \
		-o $(CURDIR)/$@ github.com/docker/cli/cmd/docker

$(BIN)/docker-compose: test/engine/compose/go.mod test/engine/compose/go.sum
	@echo "building Compose v2 (about 2 minutes, once)"
	@cd test/engine/compose && CGO_ENABLED=0 go build -buildvcs=false \
		-ldflags '-s -w -X github.com/docker/compose/v2/internal.Version=v2.40.3' \
		-o $(CURDIR)/$@ github.com/docker/compose/v2/cmd

.PHONY: coredns
coredns: $(BIN)/coredns ## build CoreDNS, which the DNS server is compared with in tests and benchmarks

$(BIN)/coredns: $(addprefix test/engine/coredns/,main.go go.mod go.sum)
	@echo "building CoreDNS (under a minute, once)"
	@cd test/engine/coredns && CGO_ENABLED=0 go build -buildvcs=false -ldflags '-s -w' -o $(CURDIR)/$@ .

$(BUILD)/dockstack: $(SOURCES) go.mod go.sum
	@echo "building dockstack $(VERSION)"
	@CGO_ENABLED=0 $(GOBUILD) -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/dockstack

$(BUILD)/lab-command: $(shell find test/lab -name '*.go' ! -name '*_test.go') go.mod go.sum
	@$(GOBUILD) -o $@ ./test/lab/cmd/lab

.PHONY: plugin
plugin: engine $(BUILD)/plugin/.stamp ## build the managed plugin into build/plugin, ready for `docker plugin create`

$(BUILD)/plugin/.stamp: $(BUILD)/dockstack Dockerfile .dockerignore config.json test/engine/plugin.sh test/engine/base-image.sh | engine $(BUILD)/lab-command
	@$(BUILD)/lab-command engine -- test/engine/plugin.sh $(BUILD)/plugin
	@touch $@

.PHONY: push
push: plugin ## push the plugin to a registry: make push REF=host:port/name:tag
	@[ -n "$(REF)" ] || { echo "push: say where to, as in: make push REF=127.0.0.1:5000/dockstack-plugin:1.0" >&2; exit 2; }
	@$(BUILD)/lab-command engine -- test/engine/push.sh $(BUILD)/plugin $(REF)

.PHONY: images
images: engine $(BUILD)/lab-command ## build the images of the service stacks that Debian has packages for, or IMAGES="keystone nova"
	@$(BUILD)/lab-command engine -- test/engine/images.sh $(IMAGES)

##@ Run

.PHONY: lab
lab: plugin $(BUILD)/lab-command ## start HOSTS=n hosts with the plugin, at /run/dockstack-lab/h1/docker.sock and so on; ETCD=3: sharing an etcd of 3 members
	@$(BUILD)/lab-command up -hosts $(HOSTS) -etcd $(ETCD)

.PHONY: lab-down
lab-down: $(BUILD)/lab-command ## remove the lab, and whatever a killed one left
	@$(BUILD)/lab-command down

.PHONY: demo
demo: plugin $(BUILD)/cache/demo-images.tar ## four real servers keep their addresses, beside a Docker bridge network where they do not
	@go run -buildvcs=false ./test/demo

$(BUILD)/cache/demo-images.tar: $(wildcard test/images/demo/*) test/engine/base-image.sh | engine $(BUILD)/lab-command
	@$(BUILD)/lab-command engine -- test/images/demo/build.sh $@

.PHONY: stack stack-full
stack: stack-images plugin ## bring up OpenStack's smallest part (MariaDB, memcached, RabbitMQ, Keystone, Glance) in a lab; HOSTS=2: on two hosts
	@go run -buildvcs=false ./test/stack/cmd/stack up -hosts $(HOSTS) -what slice

stack-full: stack-full-images plugin ## bring up all of OpenStack that Debian has in a lab; HOSTS=2: on two hosts
	@go run -buildvcs=false ./test/stack/cmd/stack up -hosts $(HOSTS) -what full

.PHONY: stack-images stack-full-images
stack-images: engine $(BUILD)/lab-command ## build the images of `make stack` (again where something changed)
	@$(BUILD)/lab-command engine -- test/stack/images.sh slice

stack-full-images: engine $(BUILD)/lab-command ## build the images of `make stack-full`
	@$(BUILD)/lab-command engine -- test/stack/images.sh full

.PHONY: stack-down
stack-down: ## remove what `make stack` or `make stack-full` brought up
	@go run -buildvcs=false ./test/stack/cmd/stack down

##@ Check

.PHONY: test
test: engine coredns plugin stack-images ## run every test, end-to-end ones included, with the race detector (vm-test has more of the kernel's)
	@sync # the gigabytes of images just built: a store's fsync would wait for them
	DOCKSTACK_VM_STEPS='^(link|ovs|fabric|datapath|tunnel-flow-v4|tunnel-both-v6)$$' go test -race -count=1 -timeout 90m ./...

.PHONY: e2e
e2e: engine plugin ## run the end-to-end tests alone, on one host and on three that share an etcd (20 to 40 minutes)
	go test -race -count=1 -timeout 90m ./test/e2e/...

.PHONY: stack-full-test
stack-full-test: stack-full-images plugin ## test whole stacks on one host and on two: virtual machines, clusters, Contrail's stand-ins (three to four hours); leaves docs/stack-results.md
	@go build -buildvcs=false -o $(BUILD)/stack-results ./test/stack/cmd/results
	DOCKSTACK_STACK=full go test -count=1 -timeout 300m -json ./test/stack/... | $(BUILD)/stack-results docs/stack-results.md

.PHONY: vm-test
vm-test: deps plugin ## test the kernel datapath in an emulated machine that runs Debian's kernel
	go test -count=1 -timeout 30m -v ./test/vm/...

.PHONY: bench
bench: engine coredns plugin $(BUILD)/lab-command ## run the benchmarks, each beside its peer, and print them as a table
	@$(BUILD)/lab-command engine -- test/stack/images.sh slice haproxy
	go run -buildvcs=false ./test/bench

.PHONY: scale
scale: deps ## simulate 1,000 hosts with 100,000 endpoints on a real etcd, and a tenth of that, and print what grows
	go run -buildvcs=false ./test/scale

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@test/fuzz.sh $(FUZZTIME)

.PHONY: lint
lint: deps $(addprefix $(TOOLS)/,golangci-lint gofumpt govulncheck) ## golangci-lint, gofumpt, govulncheck, shellcheck and hadolint
	@TOOLS=$(CURDIR)/$(TOOLS) test/lint.sh

$(TOOLS)/golangci-lint: test/engine/golangci-lint/go.mod test/engine/golangci-lint/go.sum
	@echo "building golangci-lint (a few minutes, once)"
	@cd test/engine/golangci-lint && CGO_ENABLED=0 go build -buildvcs=false -ldflags '-s -w' -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/gofumpt $(TOOLS)/govulncheck &: test/engine/gotools/go.mod test/engine/gotools/go.sum
	@cd test/engine/gotools && CGO_ENABLED=0 go build -buildvcs=false -ldflags '-s -w' -o $(CURDIR)/$(TOOLS)/ mvdan.cc/gofumpt golang.org/x/vuln/cmd/govulncheck

##@ Other

.PHONY: clean
clean: ## remove what was built, except for the engine and the tools
	@if [ -x $(BUILD)/lab-command ]; then $(BUILD)/lab-command down; fi
	find $(BUILD) -mindepth 1 -maxdepth 1 ! -name engine ! -name tools -exec rm -rf {} +

.PHONY: help
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' Makefile
