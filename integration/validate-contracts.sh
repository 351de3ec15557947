#!/bin/sh
# Checks every contract in api/ with the public validators of its format: @asyncapi/parser and
# @redocly/cli from npm, openapi-spec-validator from PyPI. They are installed into a temporary
# directory, without running any package's scripts, and removed again.
#
# Needs: node 22.12 or newer with npm (20 still does), python3 with venv and pip. Not part of the
# tests, which need no network; run it after changing a contract.
set -eu

api=$(CDPATH='' cd -- "$(dirname -- "$0")/../api" && pwd)
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
trap 'exit 1' INT TERM
cd "$tools"

npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$tools" \
    @asyncapi/parser@3.6.3 @redocly/cli@2.77.0
python3 -m venv "$tools/python"
"$tools/python/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
    openapi-spec-validator==0.9.0

cat > "$tools/redocly.yaml" <<'YAML'
extends: [recommended]
telemetry: off
rules:
  # The tests check every example against its schema; this rule misreads `allOf`.
  no-invalid-media-type-examples: off
  # Probes cannot be called wrongly.
  operation-4xx-response: off
  # Answers outside of any operation are referred to from an extension.
  no-unused-components: off
YAML

cat > "$tools/asyncapi.mjs" <<'JS'
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';

const parser = new Parser();
let findings = 0;
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await parser.parse(readFileSync(file, 'utf8'));
  for (const { code, message, path } of diagnostics) {
    console.error(`${file}: ${code} at ${path.join('/')}: ${message}`);
  }
  findings += diagnostics.length + (document ? 0 : 1);
}
process.exit(findings === 0 ? 0 : 1);
JS

status=0
for file in "$api"/*-openapi.yaml "$api"/peers/*-openapi.yaml; do
    echo "$file"
    "$tools/python/bin/openapi-spec-validator" "$file" || status=1
    REDOCLY_TELEMETRY=off "$tools/node_modules/.bin/redocly" lint --config "$tools/redocly.yaml" \
        --max-problems 100 "$file" || status=1
done
for file in "$api"/*-asyncapi.yaml "$api"/peers/*-asyncapi.yaml; do
    echo "$file"
    node "$tools/asyncapi.mjs" "$file" || status=1
done
exit "$status"
