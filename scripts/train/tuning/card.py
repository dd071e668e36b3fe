"""The card of a tuned planner: what it was made from, how, and how to serve it."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version

from serving.models import Weights
from serving.settings import EMBEDDED, EMBEDDED_RAW, GPU_MODEL
from train.data import Data
from train.tuning.progress import Progress, duration
from train.tuning.recipe import Recipe

_RAW_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
# What begins the names of models of ours whose files hold no card.
_APACHE = (EMBEDDED, _RAW_NAME, "smollm2-", "headstart-", GPU_MODEL)
_VERSIONS = ("torch", "transformers", "peft")


def card(data: Data, base: Weights, recipe: Recipe, progress: Progress, computed: str) -> str:
    """Markdown with the hub's front matter. `computed`: the device and the arithmetic."""
    known = licence(base)
    front = [*([f"license: {known}"] if known else []), f"base_model: {public_name(base)}"]
    shapes = Counter(sample.shape for sample in data.samples)
    return "\n".join(
        [
            "---",
            *front,
            "---",
            "# A tuned planner",
            "",
            f"{public_name(base)}, tuned by LoRA to write plans for {', '.join(data.tools)}; "
            f"licence of the base model: {known or 'see its own card'}.",
            "",
            "## How to serve it",
            "",
            "    HEADSTART_MODEL=<this directory> ./scripts/ask.sh QUESTION",
            "",
            "The weights are merged; `adapter/` holds the adapter alone, for PEFT.",
            "",
            "## Data",
            "",
            f"{len(data.samples)} samples {data.origin}, SHA-256 `{data.digest}`.",
            "",
            *_table("Shape", "Samples", shapes.most_common()),
            "",
            "## Settings",
            "",
            *_table("Setting", "Value", asdict(recipe).items()),
            "",
            "## Training",
            "",
            f"{progress.step} steps in {duration(progress.seconds)}, "
            f"{progress.tokens / progress.seconds:.0f} tokens/s, {computed}; Python "
            f"{platform.python_version()}, "
            f"{', '.join(f'{name} {version(name)}' for name in _VERSIONS)}. "
            f"Loss of a token at the end: {progress.loss:.4f}.",
            "",
            *_table(
                "Step",
                "Loss on what was held back",
                ((step, f"{loss:.4f}") for step, loss in progress.validations),
            ),
            "",
        ]
    )


def licence(base: Weights) -> str:
    """As the base model's own card names it, or as we know it; empty if neither is so."""
    try:
        text = (base.path / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = text.splitlines()
    front = lines[1 : lines.index("---", 1)] if lines[:1] == ["---"] and "---" in lines[1:] else []
    named = [line.partition(":")[2].strip() for line in front if line.startswith("license:")]
    known = "apache-2.0" if public_name(base).startswith(_APACHE) else ""
    return named[0] if named else known


def public_name(base: Weights) -> str:
    """What others know the base model as."""
    return _RAW_NAME if base.name == EMBEDDED_RAW else base.name


def _table(left: str, right: str, rows: Iterable[tuple[object, object]]) -> list[str]:
    return [f"| {left} | {right} |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)]
