#!/usr/bin/env bash
# Asks a question; sets everything up on first use. --help lists the flags.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/setup.sh"
exec "$here/../.venv/bin/headstart" ask "$@"
