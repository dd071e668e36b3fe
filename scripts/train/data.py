"""What a planner is tuned on: a file of samples, or samples made for its tools."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from executor.builtin import TOOLBOX
from executor.tools import ToolBox
from planner_prompts.examples import load_examples
from serving.toolfile import load_tools
from train import bundled, own, varied
from train import samples as files
from train.samples import Sample

OWN = 0.7  # of made samples, where there are tools of the user's own
BUNDLED = 0.9  # of the others; the rest has many toolboxes


@dataclass(frozen=True, slots=True)
class Data:
    """`tools` are the names of those that the planner will plan for."""

    samples: list[Sample]
    tools: list[str]
    origin: str
    digest: str  # SHA-256 of their file


def read(path: Path) -> Data:
    """Raises UsageError for a file that can't be learned from."""
    samples = files.read(path)
    boxes = Counter(tuple(spec.name for spec in sample.tools) for sample in samples)
    tools, _ = boxes.most_common(1)[0]
    return Data(samples, list(tools), f"of {path.name}", _digest(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What data are made for: files as the command line names them, empty where there is none."""

    tools: str
    examples: str
    history: str
    seed: int
    count: int


def make(wish: Wish, path: Path, say: Callable[[str], None]) -> Data:
    """Makes samples and writes them to `path`. The user's tools get most of them.

    The others keep the planner from forgetting how to use the bundled tools, and teach it to
    read a toolbox that it has not seen.
    """
    toolbox = ToolBox([*TOOLBOX, *load_tools(wish.tools)]) if wish.tools else TOOLBOX
    worked = load_examples(Path(wish.examples), toolbox) if wish.examples else []
    if wish.history:
        runs = own.from_history(Path(wish.history), toolbox)
        say(f"{len(runs.examples)} runs of {wish.history} can be learned from, {runs.left} can't")
        worked += runs.examples
    for_own = round(wish.count * OWN) if wish.tools else 0
    for_bundled = round((wish.count - for_own) * BUNDLED)
    samples = own.samples(toolbox, worked, wish.seed, for_own) if for_own else []
    if len(samples) < for_own:
        say(
            f"{wish.tools}: {len(samples)} different questions instead of {for_own}; more worked "
            "examples give more"
        )
    samples += bundled.samples(wish.seed, for_bundled)
    samples += varied.samples(wish.seed, wish.count - for_own - for_bundled)
    files.write(samples, path)
    names = [tool.name for tool in toolbox]
    return Data(samples, names, f"made with the seed {wish.seed}", _digest(path))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
