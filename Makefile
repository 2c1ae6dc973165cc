# Everything that is done with this repository, by name. `make help` lists it.
#
# Every target installs what it needs itself, asks nothing, and may be run
# again. The lab needs root: it boots machines.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
export DEBIAN_FRONTEND := noninteractive
export CARGO_TERM_COLOR ?= auto
# A toolchain that `make deps` installed just now is not in PATH yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

LAB := tests/lab/lab
ARCH ?= $(shell dpkg --print-architecture)
VERSION ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install what building and the lab need (Debian, root)
	@tests/lab/deps

.PHONY: build
build: deps ## Build the three programs
	@cargo build --locked --bins

.PHONY: test
test: deps ## Run every test, on real machines too; ends with "N passed, N failed"
	@tests/lab/test

.PHONY: demo
demo: build ## Show the main job: deploy, survive, boot
	@tests/lab/demo

.PHONY: bench
bench: deps ## Measure beside what MCP replaces
	@tests/lab/bench

.PHONY: lab
lab: build ## Boot a node to play with, the agent on it
	@$(LAB) up 1
	@$(LAB) install node1 target/debug
	@echo
	@echo "  $(LAB) user node1 -- mcp ps     run something as mcp"
	@echo "  $(LAB) exec node1 -- bash       a shell as root"
	@echo "  $(LAB) down                     take it away"

.PHONY: deb
deb: deps ## Build the Debian packages into target/debian (ARCH=arm64, VERSION=...)
	@deploy/debian/release "$(ARCH)" "$(VERSION)"

.PHONY: debcheck
debcheck: deb ## Build them, and have lintian read them
	@deploy/debian/check target/debian/*.deb

.PHONY: dist
dist: deps ## Make a release in target/dist: built twice and compared, with checksums and SBOM
	@deploy/dist

.PHONY: lint
lint: ## Check formatting, lints, documentation and dependencies
	@cargo fmt --check
	@cargo clippy --locked --all-targets --test lab -- -D warnings
	@cargo clippy --locked --test lab -- -D warnings # off by default, so not among all
	@RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check bans licenses sources; \
	  else echo "cargo-deny is not installed: cargo install cargo-deny --locked"; fi

.PHONY: nixos-options
nixos-options: ## Write docs/nixos-options.md anew
	@NIX_REMOTE=dummy:// nix-instantiate --eval --strict --json tests/nix/eval.nix -A options \
	  | jq -rj . >docs/nixos-options.md

.PHONY: hooks
hooks: ## Have git run `make lint` before each commit
	@git config core.hooksPath .githooks
