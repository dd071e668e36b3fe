#!/usr/bin/env bash
# Ends the engine that earlier questions left running.
set -euo pipefail
headstart=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/headstart
if [ ! -x "$headstart" ]; then
  echo "no engine is running: nothing is set up here"
  exit 0
fi
exec "$headstart" stop "$@"
