# The commands of the project. `make help` lists them.

CARGO ?= cargo
RUN_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS ?=
TWO_ARGS ?=
SIM_ARGS ?= --for 10m --jobs 2
MUTANTS_ARGS ?= --jobs 2

MODEL = $(CARGO) run --release --quiet --package model --bin gm-model --

.PHONY: model model-large explore sim mutants help run test lint bench soak two build clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## Start the demo: Game Master, its neighbours and a few games (RUN_ARGS="--data demo.redb")
	$(CARGO) run --package service --bin gamemaster -- dev $(RUN_ARGS)

test: lint ## Build, lint and run every test
	./integration/run-tests.sh

lint: ## Check format and lints
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

model: ## Check the lifecycle in every interleaving, and that each rule done wrong is found out
	$(MODEL) check
	$(MODEL) variants
	$(MODEL) table --check

model-large: ## The same with more trouble: minutes
	$(MODEL) check --config large

explore: ## Open a world of the model in a browser (EXPLORE_ARGS="--config race --port 3000")
	$(MODEL) explore $(EXPLORE_ARGS)

sim: ## Live whole clusters with faults, until one breaks a promise (SIM_ARGS="--seeds 0..50 --gms 3")
	$(CARGO) build --release --quiet --package sim --bins --locked
	$${CARGO_TARGET_DIR:-target}/release/gm-sim fuzz $(SIM_ARGS)

mutants: ## Hunt bugs planted in a copy of the service: docs/mutants.md (MUTANTS_ARGS="--only NAME")
	$(CARGO) build --quiet --package sim --bins --locked
	$${CARGO_TARGET_DIR:-target}/debug/gm-sim mutants $(MUTANTS_ARGS)

bench: ## Measure what the promises name: docs/benchmarks.md (BENCH_ARGS=--quick)
	$(CARGO) bench --package integration --locked --no-fail-fast -- $(BENCH_ARGS)

soak: ## Kill everything all the time for ten minutes, then audit: docs/soak.md (SOAK_ARGS="--minutes 2")
	$(CARGO) build --locked --bins --package service --package peers --package integration
	$(CARGO) run --quiet --locked --package integration --bin soak -- $(SOAK_ARGS)

two: ## Two Game Masters, one of them killed every few seconds, and how late turns are (TWO_ARGS="--every 3")
	$(CARGO) build --locked --bins --package service --package peers --package integration
	$(CARGO) run --quiet --locked --package integration --bin soak -- --strikes gamemaster \
	  --games 20 --turn-every 1 --guests 1 --minutes 2 --every 5 --tell 1 $(TWO_ARGS)

build: ## Build everything for release
	$(CARGO) build --release --workspace --locked

clean: ## Remove what was built
	$(CARGO) clean
