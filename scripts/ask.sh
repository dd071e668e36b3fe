#!/usr/bin/env bash
# Asks a question; sets everything up on first use.
#   ./scripts/ask.sh [--json] [--tools MODULE_OR_FILE] [--examples FILE] [--answer-schema FILE] "question"
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
headstart=$here/../.venv/bin/headstart
if [ ! -x "$headstart" ] && [[ " $* " =~ \ (--help|-h)\  ]]; then
  sed -n '2,3s/^# \{0,1\}//p' "$0"
  exit 0
fi
"$here/setup.sh"
exec "$headstart" ask "$@"
