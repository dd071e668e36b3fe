#!/usr/bin/env bash
# Runs a benchmark and prints its figures.
#   ./scripts/bench.sh NAME [--json FILE] [FLAGS...]     NAME: overlap, executor, gateway, grammar or quality; NAME --help lists the flags
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case "${1:---help}" in
  overlap | executor | gateway) extras=() ;;
  grammar) extras=(--dev) ;; # it needs large vocabularies
  quality) extras=(--dev) ;; # it draws
  --help | -h) sed -n '2,3s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "there is no benchmark $1" >&2; sed -n '3s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
"$here/setup.sh" "${extras[@]}"
exec "$here/../.venv/bin/python" "$here/bench_$1.py" "${@:2}"
