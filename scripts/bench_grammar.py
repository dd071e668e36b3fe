"""What does the grammar cost: to build, to compile, at the first token, at every other one?

It is compiled in a process of its own for each toolbox, vocabulary and backend; the parser reads
long plans; and the engine writes the same plans with the grammar and without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import vocabularies
from executor.builtin import TOOLBOX
from executor.errors import HeadstartError
from executor.parser import PlanParser
from executor.tools import Tool, ToolBox, tool
from planner_prompts import render
from planner_prompts.grammar import BUDGETS, Backend, plan_grammar
from planner_prompts.messages import Message
from serving import models, startup
from serving.model import Model, Sampling
from serving.settings import EMBEDDED, Settings
from serving.vocabulary import marked, with_marks
from train.bundled import held_out

EMBEDDED_NAME = "embedded (49k)"
SEED = 11  # of the questions
PARSED = (1, 2, 4)  # million characters


@tool
async def convert(value: float, from_unit: str, to_unit: str) -> float:
    """Converts a value to another unit."""
    return value


@tool
async def weather(city: str, day: Literal["today", "tomorrow"] = "today") -> str:
    """Tells the weather."""
    return city


def _made(at: int) -> Tool:
    """One of many, as they are found: a text or two, a number, a choice; most of them optional."""
    more = {
        f"limit_{at}": {"type": "integer"},
        f"order_{at}": {"enum": ["rising", "falling"]},
        f"near_{at}": {"type": "string"},
        f"most_{at}": {"type": "number"},
    }
    optional = dict(list(more.items())[at % 4 : at % 4 + 2])
    parameters = {
        "type": "object",
        "properties": {f"of_{at}": {"type": "string"}, **optional},
        "required": [f"of_{at}"],
    }
    return Tool.from_json_schema(f"find_{at}", "", parameters, lambda **_: None)


TOOLBOXES = {
    "2 tools": TOOLBOX,
    "4 tools": ToolBox([*TOOLBOX, convert, weather]),
    "16 tools": ToolBox(map(_made, range(16))),
    "200 tools": ToolBox(map(_made, range(200))),
}


@dataclass(frozen=True)
class Compiled:
    """Seconds are until a first token may be chosen, MiB what the process took for it."""

    toolbox: str
    vocabulary: str
    backend: Backend
    form: str
    lines: int  # written out
    build_seconds: float
    compile_seconds: float
    mib: int
    states: int | None  # of the automaton; guidance has none


def _tokens(vocabulary: str) -> vocabularies.Tokens:
    if vocabulary == EMBEDDED_NAME:
        return vocabularies.of_weights(models.resolve(EMBEDDED, Settings.from_env().cache_dir).path)
    return vocabularies.fetched(vocabulary)


def compile_here(toolbox: str, vocabulary: str, backend: Backend) -> Compiled:
    """In this process, which has compiled nothing before. Raises UsageError for too many tools."""
    compiler = _COMPILERS[backend](_tokens(vocabulary))
    plan_grammar(ToolBox([]))  # imports Outlines
    before = _mib()
    began = perf_counter()
    grammar = plan_grammar(TOOLBOXES[toolbox], backend=backend)
    built = perf_counter()
    made = compiler(grammar.regex)
    compiled = perf_counter()
    return Compiled(
        toolbox=toolbox,
        vocabulary=vocabulary,
        backend=backend,
        form=grammar.form,
        lines=grammar.counted,
        build_seconds=built - began,
        compile_seconds=compiled - built,
        mib=_mib() - before,
        states=len(made.get_transitions()) if backend == "outlines" else None,
    )


def _mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _outlines(tokens: vocabularies.Tokens) -> Compiler:
    from outlines_core import Index

    end = _end(tokens)
    vocabulary = with_marks(tokens, end, [end + 1])
    return lambda regex: Index(marked(regex), vocabulary)


def _guidance(tokens: vocabularies.Tokens) -> Compiler:
    from llguidance import LLMatcher, LLTokenizer

    end = _end(tokens)
    tokenizer = LLTokenizer.from_tiktoken(  # type: ignore[attr-defined]  # which its stub lacks
        encoder={token: id for token, (id,) in tokens.items()},
        special_tokens={"<end>": end},
        pattern=r"\w+|\W+",
        eos_token=end,
        n_vocab=end + 1,
    )

    def compiler(regex: str) -> Any:
        matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_regex(regex))
        if matcher.is_error():
            raise HeadstartError(matcher.get_error())
        matcher.compute_bitmask()
        return matcher

    return compiler


def _end(tokens: vocabularies.Tokens) -> int:
    return 1 + max(id for (id,) in tokens.values())


Compiler = Callable[[str], Any]
_COMPILERS: dict[Backend, Callable[[vocabularies.Tokens], Compiler]] = {
    "outlines": _outlines,
    "guidance": _guidance,
}


def compiled() -> list[Compiled]:
    """A row for each toolbox, vocabulary and backend, shown as it is measured."""
    print(
        f"{'toolbox':10} {'vocabulary':15} {'backend':9} {'form':>9} {'lines':>5} {'states':>7} "
        f"{'build s':>8} {'compile s':>10} {'MiB':>6}"
    )
    rows = []
    for vocabulary in (EMBEDDED_NAME, *vocabularies.FILES):
        for toolbox in TOOLBOXES:
            for backend in BUDGETS:
                command = [sys.executable, __file__, "--compile", toolbox, vocabulary, backend]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    said = done.stderr.strip().splitlines()[-1]
                    print(f"{toolbox:10} {vocabulary:15} {backend:9} {said}")
                    continue
                row = Compiled(**json.loads(done.stdout.splitlines()[-1]))
                print(
                    f"{toolbox:10} {vocabulary:15} {backend:9} {row.form:>9} {row.lines:5} "
                    f"{row.states or '':>7} {row.build_seconds:8.2f} {row.compile_seconds:10.2f} "
                    f"{row.mib:6}"
                )
                rows.append(row)
    return rows


@dataclass(frozen=True)
class Written:
    """One plan, in seconds, and in tokens a second behind the first one."""

    first_token: float
    tokens_a_second: float
    text: str


async def on_the_engine(questions: int) -> dict[str, Any]:
    """The same plans with the grammar and without: medians of what differs in time only."""
    settings = Settings.from_env()
    async with startup.model(settings, TOOLBOX, [], lambda _: None) as model:
        grammar = plan_grammar(TOOLBOX, 1, settings.max_tasks, settings.backend)
        constrained = Sampling(max_tokens=settings.plan_tokens, regex=grammar.regex)
        pairs = []
        for sample in held_out(SEED, questions):
            messages = render.opening(TOOLBOX, [], sample.question, model.profile)
            with_it = await write(model, messages, constrained)  # first: fills the prefix cache
            without = await write(model, messages, replace(constrained, regex=None))
            with_it = await write(model, messages, constrained)
            if with_it.text == without.text:
                pairs.append((with_it, without))
    if not pairs:
        raise HeadstartError("the model wrote no plan alike with and without its grammar")
    rate = _ratio([(a.tokens_a_second, b.tokens_a_second) for a, b in pairs])
    first = _ratio([(a.first_token, b.first_token) for a, b in pairs])
    print(
        f"\n{len(pairs)} of {questions} plans are alike with the grammar ({settings.backend}) "
        "and without; of these, medians:\n"
        f"  tokens/s      {rate[0]:8.1f} with, {rate[1]:8.1f} without: {rate[2]:.3f}\n"
        f"  first token s {first[0]:8.3f} with, {first[1]:8.3f} without: {first[2]:.3f}"
    )
    return {"questions": questions, "alike": len(pairs), "rate": rate, "first_token": first}


def _ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Both medians, and the median of the ratios."""
    one, other = zip(*pairs, strict=True)
    ratios = [a / b for a, b in pairs]
    return statistics.median(one), statistics.median(other), statistics.median(ratios)


async def write(model: Model, messages: list[Message], sampling: Sampling) -> Written:
    began = perf_counter()
    first = 0.0
    text = ""
    async with model.stream(messages, sampling) as deltas:
        async for delta in deltas:
            first = first or perf_counter() - began
            text += delta.text
    seconds = perf_counter() - began - first
    tokens = await model.count_tokens([Message(role="assistant", content=text)])
    return Written(first, tokens / seconds, text)


def parsed() -> dict[int, float]:
    """Megabytes a second of the parser, by millions of characters: the same, as it is linear."""
    rates = {}
    for millions in PARSED:
        line = '{}. search("the height of the highest mountain in the north of Norway")'
        count = millions * 1_000_000 // len(line)
        plan = "\n".join([*map(line.format, range(1, count + 1)), f"{count + 1}. join()"])
        pieces = [plan[at : at + 4] for at in range(0, len(plan), 4)]  # as tokens come
        parser = PlanParser(TOOLBOX)
        began = perf_counter()
        for piece in pieces:
            parser.feed(piece)
        parser.close()
        rates[millions] = len(plan) / 1e6 / (perf_counter() - began)
    shown = ", ".join(f"{rate:.1f} MB/s of {millions} MB" for millions, rate in rates.items())
    print(f"\nthe parser, four characters at a time: {shown}")
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.sh grammar", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--questions", type=int, default=20, help="for the engine")
    parser.add_argument("--no-engine", action="store_true", help="compile and parse only")
    parser.add_argument("--compile", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    try:
        if flags.compile:
            print(json.dumps(asdict(compile_here(*flags.compile))))
            return
        figures = {
            "compiled": [asdict(row) for row in compiled()],
            "parser": parsed(),
            "engine": None if flags.no_engine else asyncio.run(on_the_engine(flags.questions)),
        }
    except HeadstartError as error:
        sys.exit(f"bench.sh: {error}")
    if flags.json:
        flags.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
