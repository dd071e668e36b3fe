"""The command line and the environment of our vLLM server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from planner_prompts.grammar import Backend
from serving.models import Weights

HOST = "127.0.0.1"

# On a CPU compiling costs more at the start than it saves, and drafting from the prompt halves the
# time of a plan without changing its text; the README's design notes have the figures.
_CPU_FLAGS = (
    "--enforce-eager",
    "--speculative-config",
    '{"method": "ngram", "num_speculative_tokens": 4, '
    '"prompt_lookup_min": 2, "prompt_lookup_max": 4}',
)


def has_gpu() -> bool:
    """Whether nvidia-smi finds a GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout


def command(
    weights: Weights, port: int, *, gpu: bool, backend: Backend, extra: Sequence[str] = ()
) -> list[str]:
    """The command line of the engine. The `vllm` command of the CPU package can't be used."""
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(weights.path)),
        *("--served-model-name", weights.name),
        *("--host", HOST),
        *("--port", str(port)),
        *("--structured-outputs-config", f'{{"backend": "{backend}"}}'),
        "--enable-prefix-caching",
        "--disable-uvicorn-access-log",
        *("--max-model-len", "auto"),  # the model's own, or what the memory has room for
        *(() if gpu else _CPU_FLAGS),
        *extra,
    ]


def environment(key: str, cache_dir: Path) -> dict[str, str]:
    """Ours, and: the key (not on the command line, where all can read it), nothing sent home."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; the embedded model needs 23 KB a token
        "VLLM_REGEX_COMPILATION_TIMEOUT_S": "60",
        "VLLM_V1_USE_OUTLINES_CACHE": "1",
        "OUTLINES_CACHE_DIR": str(cache_dir / "grammars"),
        **os.environ,
        "VLLM_API_KEY": key,
        "PYTHONSAFEPATH": "1",  # a file in the user's directory is no module of the engine's
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
