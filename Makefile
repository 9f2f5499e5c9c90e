# The commands of everyday work. `make check` changes nothing and equals what continuous integration
# asks before the tests; `make fix` writes.
SHELL := /bin/bash
CARGO ?= cargo
ONLY ?=
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help build release check fix test demo demo-failover clean-demo bench chaos mutants model-long

help:
	@echo "make build              daemon and CLI (target/debug/pgha, target/debug/pgha-ctl)"
	@echo "make check              formatting and clippy, changes nothing"
	@echo "make fix                formats, applies clippy's machine-applicable suggestions"
	@echo "make test               installs what is missing, then every test"
	@echo "make demo               three members on this machine; Ctrl-C ends them"
	@echo "make demo-failover      the same, kills the primary under load and prints the gap"
	@echo "make clean-demo         ends what a killed demo left, removes its directory"
	@echo "make bench ROUNDS=20    the table of figures; ONLY=a,b selects rows"
	@echo "make chaos SEED=1       every fault on real members, ROUNDS=3 of each; ONLY=a,b selects faults"
	@echo "make mutants            breaks each rule in a copy, prints which test saw it; ONLY=name selects"
	@echo "make model-long         the worlds of the model check that take too long for make test"

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

bench: ROUNDS ?= 20
bench:
	@deploy/dev/install.sh bench
	$(CARGO) build --workspace --bins --release --locked
	target/release/pgha-bench run --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY))

chaos: ROUNDS ?= 3
chaos:
	@deploy/dev/install.sh test
	$(CARGO) build --workspace --bins --locked
	target/debug/pgha-nemesis --seed $(SEED) --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY))

model-long:
	$(CARGO) test --release --locked -p pgha-sim --test model -- --ignored

mutants:
	@deploy/dev/install.sh test
	@deploy/dev/mutants.sh $(ONLY)
