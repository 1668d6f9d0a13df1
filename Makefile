# The image that docker-build makes and deploy runs.
IMG ?= cachewright/operator:dev
# What deploy, build-installer and undeploy take from config/: default looks after all namespaces, namespaced after some.
TREE ?= default
# The version and the commit that the binary reports.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
CONTAINER_TOOL ?= docker
KUBECTL ?= $(shell command -v kubectl || echo "$$(hack/control-plane.sh)/kubectl")

# Pinned in hack/tools/go.mod and hack/lint/go.mod; Go builds and keeps them.
CONTROLLER_GEN = go tool -modfile=hack/tools/go.mod controller-gen
GOFUMPT        = go tool -modfile=hack/tools/go.mod gofumpt
KUSTOMIZE      = go tool -modfile=hack/tools/go.mod kustomize
GOVULNCHECK    = go tool -modfile=hack/tools/go.mod govulncheck
GOLANGCI_LINT  = go tool -modfile=hack/lint/go.mod golangci-lint
# Optimising the C parsers of Vale would take minutes.
VALE           = CGO_CFLAGS="-O0 -g0" go tool -modfile=hack/prose/go.mod vale

# The race detector needs a C compiler, of which Go finds out.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
# More flags for go test, for example TESTFLAGS='-run TestFence -v'.
TESTFLAGS ?=
# What to test, for example PACKAGES=./registry.
PACKAGES ?= ./...

# with_parts runs its argument where redis-server, etcd, kube-apiserver and kubectl are to be found.
define with_parts
redis="$$(hack/redis.sh)"; assets="$$(hack/control-plane.sh)"; \
export KUBEBUILDER_ASSETS="$$assets" PATH="$$PATH:$$(dirname "$$redis")"; \
$(1)
endef

# with_image prints the manifests of config/$(TREE) for IMG, from a copy: the tree stays as it is.
define with_image
copy="$$(mktemp -d)"; trap 'rm -rf "$$copy"' EXIT; cp -R config "$$copy"; \
(cd "$$copy/config/manager" && "$$(go tool -C "$(CURDIR)/hack/tools" -n kustomize)" edit set image controller=$(IMG)); \
$(KUSTOMIZE) build "$$copy/config/$(TREE)"
endef

SHELL = /usr/bin/env bash -o pipefail
.SHELLFLAGS = -ec
.DEFAULT_GOAL = help

##@ General

.PHONY: help
help: ## Show this.
	@awk 'BEGIN {FS = ":.*## "; printf "Usage: make \033[36m<target>\033[0m\n"} \
		/^##@ / {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Tell the whole story on this machine, then stay up to play with. DEMO_EXIT=1 ends it after the story.
	@$(call with_parts,exec go run ./hack/demo)

##@ Development

.PHONY: generate
generate: ## Generate the deep copies of the API types.
	$(CONTROLLER_GEN) object:headerFile=hack/boilerplate.go.txt paths=./api/...

.PHONY: manifests
manifests: ## Generate the CRDs and the operator's ClusterRole.
	$(CONTROLLER_GEN) crd rbac:roleName=manager-role paths="{./api/...,./controllers/...}" output:crd:dir=config/crd/bases output:rbac:dir=config/rbac

.PHONY: fmt
fmt: ## Format the Go code.
	$(GOFUMPT) -w .

.PHONY: vet
vet: ## Run go vet.
	go vet ./...

.PHONY: lint
lint: ## Run the linters; the first time builds them, which takes minutes.
	$(GOLANGCI_LINT) run
	$(if $(RACE),$(VALE) --config hack/prose/vale.ini --output line .,@echo "There is no C compiler: the prose is not checked." >&2)

.PHONY: lint-fix
lint-fix: ## Run the linters and apply their fixes.
	$(GOLANGCI_LINT) run --fix

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what the code calls. Asks the database at vuln.go.dev, so CI without a network cannot run it.
	$(GOVULNCHECK) ./...
	$(GOVULNCHECK) -C bench ./...

.PHONY: verify
verify: ## Check that generated files, formatting, go.mod and the manifests are as they should be.
	hack/verify.sh

.PHONY: test
test: vet ## Run every test, against a real API server and real Redis servers that it gets by itself.
	$(if $(RACE),,@echo "There is no C compiler: testing without the race detector." >&2)
	@$(call with_parts,go test $(RACE) -count=1 -p 2 -timeout 20m $(TESTFLAGS) $(PACKAGES))
	$(if $(filter ./...,$(PACKAGES)),@$(call with_parts,go -C bench test -count=1 ./...))

.PHONY: chaos
chaos: ## Disturb a cache in use, then purges under way, and hold each read and each purge against its rules. CHAOS_READS, CHAOS_KILLS, GARBAGE_SECONDS: how much.
	@$(call with_parts,CHAOS_READS=$${CHAOS_READS:-10000000} go test -count=1 -v -timeout 40m ./hack/chaos)
	@$(call with_parts,GARBAGE_SECONDS=$${GARBAGE_SECONDS:-60} go test -count=1 -v -timeout 40m -run ATenantHoldsUpNobody ./registry/garbage)
	@$(call with_parts,CHAOS_KILLS=$${CHAOS_KILLS:-100} CHAOS_HANDOVERS=3 CHAOS_RESTARTS=5 CHAOS_DISTURBANCES=10 go test -count=1 -v -timeout 40m ./hack/chaos/purges)
	@$(call with_parts,CHAOS_STORES=$${CHAOS_STORES:-1000} CHAOS_TURNS=$${CHAOS_TURNS:-10} CHAOS_SAMPLES=$${CHAOS_SAMPLES:-550} go test -count=1 -v -timeout 60m ./hack/chaos/neighbours)
	@$(call with_parts,CHAOS_FAULTS=all go test -count=1 -timeout 40m -run 'WhateverTheServerAnswers' ./registry ./cache)

# What to measure: data (the cache, beside plain clients and peers), operator, or both.
BENCH ?= data operator

.PHONY: bench
bench: ## Measure side by side, and write bench/results.json. BENCH=data or BENCH=operator: one part. BENCH_QUICK=1: a short run.
	$(if $(filter data,$(BENCH)),@$(call with_parts,go -C bench run .))
	$(if $(filter operator,$(BENCH)),@$(call with_parts,go -C bench run ./operator))

# The commit that bench-compare compares with, and what else to pass: COMPARE='-operator', COMPARE='-parts fills'.
REF ?= HEAD
COMPARE ?=

.PHONY: bench-compare
bench-compare: ## Measure this checkout beside the commit REF, in turns of one run; fails where a row is worse by more than 5 % beyond noise.
	@$(call with_parts,cd bench && go run ./compare -ref $(REF) $(COMPARE))

##@ Build

.PHONY: build
build: ## Build bin/operator.
	CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$(VERSION) -X main.commit=$(COMMIT)" -o bin/operator ./cmd/operator

.PHONY: run
run: ## Run the operator on this machine, with your kubeconfig's cluster and the Redis of REDIS_HOST or REDIS_URL.
	go run ./cmd/operator

.PHONY: docker-build
docker-build: ## Build the image IMG.
	$(CONTAINER_TOOL) build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) --tag $(IMG) .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	$(CONTAINER_TOOL) push $(IMG)

.PHONY: build-installer
build-installer: manifests generate ## Write dist/install.yaml, which installs TREE (default: everything) with IMG.
	@mkdir -p dist
	@{ $(with_image); } >dist/install.yaml
	@echo "kubectl apply --server-side -f dist/install.yaml"
	@echo "To remove it, delete the CRDs first: docs/operations.md, Uninstalling"

##@ Deployment

.PHONY: install
install: manifests ## Install the CRDs into your kubeconfig's cluster.
	$(KUSTOMIZE) build config/crd | $(KUBECTL) apply --server-side -f -

.PHONY: uninstall
uninstall: ## Remove the CRDs from your kubeconfig's cluster, and with them every resource of ours.
	$(KUSTOMIZE) build config/crd | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: deploy
deploy: manifests ## Install CRDs and operator, with IMG, into your kubeconfig's cluster. TREE=namespaced: the operator alone, for some namespaces.
	@{ $(with_image); } | $(KUBECTL) apply --server-side -f -

# First what the operator has to let go of, then the operator.
.PHONY: undeploy
undeploy: $(if $(filter default,$(TREE)),uninstall) ## Remove what deploy installed: with the CRDs goes every resource of ours.
	$(KUSTOMIZE) build config/$(TREE) | $(KUBECTL) delete --ignore-not-found -f -
