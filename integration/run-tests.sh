#!/usr/bin/env bash
# Runs every test of the workspace, with nextest where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
./integration/install-servers.sh
# Built first and whole: the tests that run real processes need the binary beside them.
cargo build --workspace --all-targets --locked
if cargo nextest --version >/dev/null 2>&1; then
  exec cargo nextest run --workspace --locked --no-fail-fast "$@"
else
  exec cargo test --workspace --locked --no-fail-fast "$@"
fi
