# The commands of the project. `make help` lists them.

CARGO ?= cargo
RUN_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS ?=
TWO_ARGS ?=
SIM_ARGS ?= --for 10m --jobs 2
NIGHT_ARGS ?= --for 45m
MUTANT_ARGS ?= --jobs 2

SIM_BUILD = $(CARGO) build --release --quiet --package sim --bins --locked
GM_SIM = $${CARGO_TARGET_DIR:-target}/release/gm-sim
MODEL = $(CARGO) run --release --quiet --package model --bin gm-model --

.PHONY: model model-large explore sim sim-night mutants help run test lint bench soak two build clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## Start the demo: Game Master, its neighbours and a few games (RUN_ARGS="--data demo.redb")
	$(CARGO) run --package service --bin gamemaster -- dev $(RUN_ARGS)

test: ## Build, lint and run every test
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
	$(SIM_BUILD)
	$(GM_SIM) fuzz $(SIM_ARGS)

mutants: ## Plant bugs in a copy of the service, and see that the simulation finds each (MUTANT_ARGS="--only NAME")
	$(SIM_BUILD)
	$(GM_SIM) mutants $(MUTANT_ARGS)

sim-night: ## An hour: lives of every kind, each fault a hundred times; then the planted bugs (NIGHT_ARGS="--for 5m")
	$(SIM_BUILD)
	$(GM_SIM) fuzz --jobs 2 --keep-going --twice-every 20 --least 100 $(NIGHT_ARGS)
	$(GM_SIM) mutants $(MUTANT_ARGS)

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
