# Daybreak's commands. `make run` and `make test` are for a fresh Debian or Ubuntu machine with a Rust
# toolchain: they install what they need and say so. `make help` lists the others.
#
# Everything is built with one profile and one set of flags, so that no step builds anew what another has
# built: warnings become errors in the arguments of clippy and rustdoc, never in RUSTFLAGS.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

say = @printf '\n== %s\n' '$(1)'

.PHONY: help run pair test tests-built test-long bench peers fmt clippy doc deny fuzz clean setup-build setup-test

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: setup-build ## Build, import a sample firmware folder, serve it on UDP 6969 and the administration on port 8069
	$(call say,Building the engine and the administration program)
	cargo build --release -p daybreak-engine -p daybreak-admin
	@scripts/run

pair: setup-build ## Build, run two boot servers on this machine that keep each other the same, on UDP 6969 and 6979
	$(call say,Building the engine and the administration program)
	cargo build --release -p daybreak-engine -p daybreak-admin
	@scripts/pair

test: setup-build ## Everything that a change must pass
	@scripts/setup-test
	@scripts/setup-folders & folders=$$!; $(MAKE) --no-print-directory fmt clippy doc tests-built; wait $$folders
	$(call say,Tests of units and simulators - with real clients - in a virtual machine)
	scripts/test

tests-built:
	$(call say,Building every program and test)
	cargo build --workspace --bins --tests

test-long: setup-build ## The longer runs: more firmware, more seeds, the fuzzers (about an hour)
	@scripts/setup-test long
	@scripts/setup-folders
	@$(MAKE) --no-print-directory tests-built
	$(call say,Tests that take long)
	cargo test --workspace --no-fail-fast --lib --bins --tests -- --ignored
	$(call say,Fuzzers)
	scripts/fuzz $(FUZZ_SECONDS)

bench: setup-build ## The benchmarks
	cargo build --release -p daybreak-engine -p daybreak-admin -p daybreak-loadtest
	cargo bench -p daybreak-bench

PEERS ?=
peers: setup-build ## Compare with other TFTP servers, on two quiet cores, as root; PEERS='--quick' for a short set
	@scripts/setup-peers
	$(call say,Building the programs)
	cargo build --release -p daybreak-engine -p daybreak-admin -p daybreak-loadtest
	cargo build --release -p daybreak-bench --features peers --bins
	$(call say,Measuring: nothing else should run on this machine)
	target/release/peers $(PEERS)

fmt: ## Check the format
	$(call say,Format)
	cargo fmt --all --check

clippy: ## Check the lints
	$(call say,Lints)
	cargo clippy --workspace --all-targets -- -D warnings

doc: ## Check the documentation
	$(call say,Documentation)
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

deny: ## Check licences and advisories of the dependencies (installs cargo-deny)
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check

FUZZ_SECONDS ?= 300
fuzz: ## Run the fuzzers (installs cargo-fuzz); FUZZ_SECONDS=300 for each
	scripts/fuzz $(FUZZ_SECONDS)

setup-build:
	@scripts/setup-build

setup-test:
	@scripts/setup-test
	@scripts/setup-folders

clean: ## Remove what was built, and the data of `make run`
	cargo clean
	rm -rf run run-pair tests/fuzz/target
