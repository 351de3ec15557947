#!/usr/bin/env bash
# Installs the servers and the browser that the tests start privately, where they are missing and where
# that is possible: Debian's packages, as root. Elsewhere it says what to install; the tests that
# need a server say so too.
set -euo pipefail

missing=()
if [ -z "${GAMEMASTER_TEST_POSTGRES_URL:-}" ] &&
  ! command -v postgres >/dev/null && ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
then
  missing+=(postgresql)
fi
if [ -z "${GAMEMASTER_TEST_REDIS_URL:-}" ] && ! command -v redis-server >/dev/null; then
  missing+=(redis-server)
fi
# The page of a simulated life is looked at in a browser.
if ! compgen -c | grep -qxE 'chromium|chromium-browser|google-chrome|chrome'; then
  missing+=(chromium)
fi
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "install first: ${missing[*]} (the names of Debian's packages)" >&2
  exit 1
fi
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# The tests run servers of their own: none is to be started by the packages.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
