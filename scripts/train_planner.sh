#!/usr/bin/env bash
# Tunes a planner and writes it to a directory that HEADSTART_MODEL can name.
#   ./scripts/train_planner.sh --out DIRECTORY [--tools FILE] [FLAGS...]     --help lists the flags
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/setup.sh"
# -P: a train.py where the user stands is not ours.
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$here/../.venv/bin/python" -P -m train "$@"
