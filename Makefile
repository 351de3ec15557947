# The commands of the project. `make help` lists them.

CARGO ?= cargo
RUN_ARGS ?=

.PHONY: help run test lint build clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## Start the demo: Game Master, its neighbours and a few games (RUN_ARGS="--data demo.redb")
	$(CARGO) run --package service --bin gamemaster -- dev $(RUN_ARGS)

test: lint ## Build, lint and run every test
	./integration/run-tests.sh

lint: ## Check format and lints
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

build: ## Build everything for release
	$(CARGO) build --release --workspace --locked

clean: ## Remove what was built
	$(CARGO) clean
