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
