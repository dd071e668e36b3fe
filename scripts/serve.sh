#!/usr/bin/env bash
# Runs the engine in the foreground; sets everything up on first use. --help lists the flags.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/setup.sh"
exec "$here/../.venv/bin/headstart" serve "$@"
