"""How good are plans and answers, on the real engine?

Each question of a set is run as users run it, and held against its gold plan and its answer:

    plan exact    the first plan makes the gold plan's calls, whatever the order of its lines
    plan useful   executed, it ends in the results that the gold plan ends in
    answer right  the answer has the right names and numbers, or admits that it can't tell
    replan right  it planned again if, and only if, the gold run does

Sets are `held-out`, `new-shapes` and `new-tools` (toolboxes that no planner was tuned on), made
here; a .yaml file of worked examples, with --tools for your own tools, which are not called: their
examples' results are replayed; or a .jsonl file of samples (scripts/train/), of ParallelQA's rows
(scripts/quality/parallelqa.py) or of questions with tools and calls as BFCL has them
(scripts/quality/calls.py). An engine is started for each model, and ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from executor.errors import HeadstartError, UsageError
from quality import plot, report, sets
from quality.series import Series, engine, measure
from quality.wrappers import ABLATIONS
from serving.settings import Settings


def flags(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.sh quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="as in HEADSTART_MODEL; may be repeated"
    )
    parser.add_argument("--set", default=sets.HELD_OUT, help="a set's name, or a file")
    parser.add_argument("--tools", default="", metavar="FILE", help="the tools of a .yaml set")
    parser.add_argument("--limit", type=_count, metavar="N", help="measure at most N questions")
    parser.add_argument(
        "--ablate",
        action="append",
        default=[],
        choices=ABLATIONS,
        help="measure also without the plans' grammar, or the prompt's list of tools",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run's outcome there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the shares: .svg or .png")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


async def measure_all(
    names: Sequence[str], cases: sets.CaseSet, ablations: Sequence[str], found: list[Series]
) -> None:
    """One engine after the other; what is measured is in `found` also if a later one fails."""
    progress = _Progress()
    for name in names:
        settings = replace(Settings.from_env(), model=name)
        async with engine(settings, progress) as model:
            for without in (None, *ablations):
                label = name or model.name
                found.append(await measure(label, model, cases.cases, settings, progress, without))


class _Progress:
    """One line that changes; where nobody watches, a line when more changes than its numbers."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            return
        words = re.sub(r"\d+", "", text)
        if words != self._told:
            print(text, file=sys.stderr, flush=True)
        self._told = words


def _check_directory(path: Path) -> None:
    """Before anything is measured: raises UsageError if the file has no place to go."""
    if not path.parent.is_dir():
        raise UsageError(f"can't write {path}: there is no directory {path.parent}")


def _tell(cases: sets.CaseSet, found: list[Series], asked: argparse.Namespace) -> None:
    print("\n".join(report.lines(cases, found)))
    if asked.json:
        _write(asked.json, json.dumps(report.as_json(cases, found), indent=2) + "\n")
    if asked.plot:
        plot.draw(found, f"{cases.name}, {len(cases.cases)} questions", asked.plot)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}") from None


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the engine must not stay behind
    asked = flags(sys.argv[1:])
    try:
        if asked.plot:
            plot.check_path(asked.plot)
        for path in filter(None, (asked.json, asked.plot)):
            _check_directory(path)
        cases = sets.load(asked.set, asked.limit, asked.tools)
        names = asked.model or [Settings.from_env().model]
        found: list[Series] = []
        try:
            asyncio.run(measure_all(names, cases, list(dict.fromkeys(asked.ablate)), found))
        finally:
            if sys.stderr.isatty():
                print(file=sys.stderr)  # below the progress
            if found:
                _tell(cases, found, asked)
    except KeyboardInterrupt:
        sys.exit(130)
    except HeadstartError as error:
        print(f"bench.sh: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
