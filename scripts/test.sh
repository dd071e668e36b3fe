#!/usr/bin/env bash
# Runs all checks and tests; sets everything up on first use.
#   ./scripts/test.sh [PYTEST_FLAGS...]     -m "not engine" leaves out those that start vLLM
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  sed -n '2,3s/^# \{0,1\}//p' "$0"
  exit 0
fi
./scripts/setup.sh --dev
bin=.venv/bin
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"
"$bin/lint-imports"
"$bin/shellcheck" scripts/*.sh .ci/run
"$bin/hadolint" Dockerfile.gpu
"$bin/python" -m pytest "$@"
