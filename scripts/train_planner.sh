#!/usr/bin/env bash
# Tunes a planner and writes it to a directory that HEADSTART_MODEL can name.
#   ./scripts/train_planner.sh --out DIRECTORY [--tools FILE] [FLAGS...]     --help lists the flags
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/setup.sh"
# Freed memory stays with the process: else the kernel clears every large tensor's pages anew, which
# takes an eighth of the time on a CPU.
export MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=17179869184
# -P: a train.py where the user stands is not ours.
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$here/../.venv/bin/python" -P -m train "$@"
