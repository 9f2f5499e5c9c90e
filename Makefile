# The commands of everyday work. `make check` changes nothing and equals what continuous integration
# asks before the tests; `make fix` writes.
SHELL := /bin/bash
CARGO ?= cargo
ROUNDS ?= 20
ONLY ?=

.DEFAULT_GOAL := help
.PHONY: help build release check fix test demo demo-failover clean-demo bench

help:
	@echo "make build              daemon and CLI (target/debug/pgha, target/debug/pgha-ctl)"
	@echo "make check              formatting and clippy, changes nothing"
	@echo "make fix                formats, applies clippy's machine-applicable suggestions"
	@echo "make test               installs what is missing, then every test"
	@echo "make demo               three members on this machine; Ctrl-C ends them"
	@echo "make demo-failover      the same, kills the primary under load and prints the gap"
	@echo "make clean-demo         ends what a killed demo left, removes its directory"
	@echo "make bench ROUNDS=20    the table of figures; ONLY=a,b selects rows"

build:
	@deploy/dev/install.sh build
	$(CARGO) build --workspace --locked

release:
	@deploy/dev/install.sh build
	$(CARGO) build --workspace --bins --release --locked

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

fix:
	$(CARGO) clippy --workspace --all-targets --locked --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

# One selection of packages for both commands: another one would unify features differently and
# build everything twice. The build comes first because cargo does not build other packages'
# programs for a test, and the chaos tests start the real ones.
test:
	@deploy/dev/install.sh test
	$(CARGO) build --workspace --bins --locked
	$(CARGO) test --workspace --locked --no-fail-fast

demo:
	@deploy/dev/demo.sh

demo-failover:
	@deploy/dev/demo.sh --failover

clean-demo:
	@deploy/dev/demo.sh --clean

bench:
	@deploy/dev/install.sh bench
	$(CARGO) build --workspace --bins --release --locked
	target/release/pgha-bench run --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY))
