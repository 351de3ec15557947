#!/usr/bin/env bash
# Lints, builds and runs every test of the workspace, with nextest where it is installed. With arguments
# for the runner it neither lints nor lives clusters.
set -euo pipefail
cd "$(dirname "$0")/.."
./integration/install-servers.sh
# Linted as it is built, by the driver behind `cargo clippy`: after a check of its own every dependency would
# be compiled a second time. `make lint` is `cargo clippy` itself; this is how it calls the driver.
if [ $# -eq 0 ]; then
  cargo fmt --all -- --check
  if command -v clippy-driver >/dev/null; then
    export RUSTC_WORKSPACE_WRAPPER=clippy-driver
    export CLIPPY_ARGS="-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__"
  else
    cargo clippy --workspace --all-targets --locked -- -D warnings
  fi
fi
# Built first and whole: the tests that run real processes need the binary beside them.
cargo build --workspace --all-targets --locked
# Servers that others run are left as they were found.
if [ -n "${GAMEMASTER_TEST_POSTGRES_URL:-}${GAMEMASTER_TEST_REDIS_URL:-}" ]; then
  trap 'cargo run --quiet --package integration --locked --bin sweep-servers' EXIT
fi
# Alone on the machine, and only where everything is tested: lives of whole clusters. That the same
# plan gives the same life in another process comes first, since all else rests on it.
if [ $# -eq 0 ]; then
  gm_sim="${CARGO_TARGET_DIR:-target}/debug/gm-sim"
  "$gm_sim" run --seed 1 --profile race --gms 3 --store postgres --twice
  "$gm_sim" run --seed 2 --profile race --gms 3 --store embedded --twice
  "$gm_sim" run --seed 3 --profile calendar --gms 2 --twice
  "$gm_sim" fuzz --seeds 0..100 --profile race --jobs "$(nproc)"
  "$gm_sim" fuzz --seeds 0..10 --profile calendar --jobs "$(nproc)"
fi
if cargo nextest --version >/dev/null 2>&1; then
  # Most tests wait for something rather than compute.
  threads=$((2 * $(nproc)))
  cargo nextest run --workspace --locked --no-fail-fast --test-threads "$threads" "$@"
else
  cargo test --workspace --locked --no-fail-fast "$@"
fi
