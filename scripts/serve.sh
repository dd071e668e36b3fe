#!/usr/bin/env bash
# Runs gateway and engine in the foreground, until Ctrl-C; sets everything up on first use.
#   ./scripts/serve.sh [--dry-run] [--host HOST] [--port N] [--engine-port N] [--tools MODULE_OR_FILE] [--examples FILE] [-- VLLM_FLAGS...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
headstart=$here/../.venv/bin/headstart
if [ ! -x "$headstart" ] && [[ " $* " =~ \ (--help|-h)\  ]]; then
  sed -n '2,3s/^# \{0,1\}//p' "$0"
  exit 0
fi
"$here/setup.sh"
exec "$headstart" serve "$@"
