#!/usr/bin/env bash
# Makes, lists and removes the gateway's keys.
#   ./scripts/keys.sh add NAME [--tools A,B] [--max-runs N] [--per-minute N] [--days N] | list | remove NAME
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
headstart=$here/../.venv/bin/headstart
if [ ! -x "$headstart" ] && [[ " $* " =~ \ (--help|-h)\  ]]; then
  sed -n '2,3s/^# \{0,1\}//p' "$0"
  exit 0
fi
"$here/setup.sh"
exec "$headstart" keys "$@"
