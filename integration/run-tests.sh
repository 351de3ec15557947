#!/usr/bin/env bash
# Runs every test of the workspace, with nextest where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
./integration/install-servers.sh
# Built first and whole: the tests that run real processes need the binary beside them.
cargo build --workspace --all-targets --locked
# Servers that others run are left as they were found.
if [ -n "${GAMEMASTER_TEST_POSTGRES_URL:-}${GAMEMASTER_TEST_REDIS_URL:-}" ]; then
  trap 'cargo run --quiet --package integration --locked --bin sweep-servers' EXIT
fi
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --locked --no-fail-fast "$@"
else
  cargo test --workspace --locked --no-fail-fast "$@"
fi
# Alone on the machine, and only where everything is tested: lives of whole clusters.
if [ $# -eq 0 ]; then
  gm_sim="${CARGO_TARGET_DIR:-target}/debug/gm-sim"
  "$gm_sim" run --seed 1 --gms 3 --twice
  "$gm_sim" fuzz --seeds 0..100 --jobs 2
  "$gm_sim" fuzz --seeds 0..10 --jobs 2 --profile calendar
fi
