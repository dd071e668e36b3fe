"""The command line of scripts/train_planner.sh.

Exit codes: 0 done, 1 failed, 2 usage, 130 stopped.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from executor.errors import HeadstartError, UsageError
from serving import models, vllm_command
from serving.models import Weights
from serving.settings import Settings
from train import data
from train.data import Data
from train.tuning import place
from train.tuning.recipe import Recipe

DONE, FAILED, USAGE, STOPPED = 0, 1, 2, 130
COUNT = 8000  # samples, made where no --count is given
Number = TypeVar("Number", int, float)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; a mistake is one line, not a traceback."""
    args = _parser().parse_args(arguments)
    try:
        return _run(args)
    except UsageError as error:
        return _complain(str(error), USAGE)
    except HeadstartError as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _complain(
            f"the disk of {args.out} is full; make room, and {_same_command(args)} goes on from "
            "the last checkpoint",
            FAILED,
        )
    except KeyboardInterrupt:
        return _complain(
            f"stopped; {_same_command(args)} goes on from the last checkpoint", STOPPED
        )


def _run(args: argparse.Namespace) -> int:
    _check(args)
    with place.held(args.out, restart=args.restart):
        if args.data_only:
            made = _data(args, args.out / place.DATA)
            _say(f"{len(made.samples)} samples in {args.out / place.DATA}")
            return DONE
        return _train(args)


def _train(args: argparse.Namespace) -> int:
    began = time.monotonic()
    from train.tuning import job  # imports torch
    from train.tuning.checkpoint import Checkpoint
    from train.tuning.training import Interrupted

    with tempfile.TemporaryDirectory(dir=args.out, prefix=place.ASIDE) as aside:
        made = Path(aside) / place.DATA
        samples = _data(args, made)
        base = _base(args)
        recipe = Recipe(seed=args.seed, epochs=args.epochs, minutes=args.minutes)
        checkpoint = Checkpoint(args.out / place.CHECKPOINT, _digest(samples, base, recipe))
        saved = checkpoint.load()
        if not args.data:
            made.replace(args.out / place.DATA)
    work = job.Job(
        data=samples,
        base=base,
        recipe=recipe,
        out=args.out,
        checkpoint=checkpoint,
        say=_say,
        deadline=None if args.minutes is None else began + args.minutes * 60 - _spent(saved),
    )
    try:
        work.run(saved)
    except Interrupted as stop:
        return _complain(f"{stop}; {_same_command(args)} goes on from there", STOPPED)
    _say(f"done: HEADSTART_MODEL={args.out} serves it; {args.out / 'README.md'} is its card")
    return DONE


def _spent(saved: dict[str, Any] | None) -> float:
    """Seconds of the steps before an interruption."""
    return float(saved["progress"]["seconds"]) if saved else 0.0


def _same_command(args: argparse.Namespace) -> str:
    """The one that goes on: --restart would begin anew once more."""
    return "the same command without --restart" if args.restart else "the same command"


def _check(args: argparse.Namespace) -> None:
    made = {"--tools": args.tools, "--count": args.count, "--data-only": args.data_only}
    for flag, value in made.items():
        if args.data and value:
            raise UsageError(f"{flag} makes data, --data reads them; give one of the two")
    for flag in ("examples", "history"):
        if getattr(args, flag) and not args.tools:
            raise UsageError(f"--{flag} goes with the tools of --tools; give both")


def _base(args: argparse.Namespace) -> Weights:
    settings = Settings.from_env()
    name = args.model or models.default_model(gpu=vllm_command.has_gpu())
    try:
        base = models.resolve(name, settings.cache_dir)
    except UsageError as error:
        raise UsageError(str(error).replace("HEADSTART_MODEL", "--model")) from None
    if base.path == args.out.resolve():
        raise UsageError(f"--out {args.out} is the model to be tuned; give another directory")
    return base


def _data(args: argparse.Namespace, path: Path) -> Data:
    if args.data:
        return data.read(Path(args.data))
    wish = data.Wish(
        tools=args.tools,
        examples=args.examples,
        history=args.history,
        seed=args.seed,
        count=args.count or COUNT,
    )
    return data.make(wish, path, _say)


def _digest(samples: Data, base: Weights, recipe: Recipe) -> str:
    """What a checkpoint must agree with."""
    facts = [samples.digest, str(base.path), asdict(recipe)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train_planner.sh",
        description="Tunes a planner on questions for its tools. Ctrl-C stops it so that the "
        "same command goes on.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="where the planner is written")
    add("--tools", default="", metavar="FILE", help="a .py file or module with your tools")
    add("--examples", default="", metavar="YAML", help="worked examples for your tools")
    add("--history", default="", metavar="JSONL", help="runs as ask.sh --json printed them")
    add("--data", default="", metavar="JSONL", help="samples to train on, instead of making some")
    add("--model", default="", metavar="NAME", help="a hub id, a directory, or embedded-raw")
    add("--count", type=_at_least(int, 10), metavar="N", help=f"samples to make; else {COUNT}")
    add("--epochs", type=_at_least(int, 1), default=1, metavar="N", help="times each is seen")
    add("--minutes", type=_at_least(float, 1), metavar="N", help="train on what fits that time")
    add("--seed", type=int, default=0, metavar="N", help="of the data and the training")
    add("--restart", action="store_true", help="begin anew, whatever --out holds of a training")
    add("--data-only", action="store_true", help=f"write {place.DATA} and stop")
    return parser


def _at_least(number: Callable[[str], Number], least: int) -> Callable[[str], Number]:
    def parse(text: str) -> Number:
        value = number(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    parse.__name__ = number.__name__  # as argparse names a text that is none
    return parse


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _complain(message: str, code: int) -> int:
    _say(f"train_planner.sh: {message}")
    return code


if __name__ == "__main__":
    sys.exit(main())
