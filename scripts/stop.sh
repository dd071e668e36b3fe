#!/usr/bin/env bash
# Ends the engine that earlier questions left running.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/setup.sh"
exec "$here/../.venv/bin/headstart" stop "$@"
