"""How much time does it save to run tools while the plan is being written?

One plan is run three ways, in turn, in one process, all through `serving.compiler.answer`:

    serial    the whole plan first, then one call at a time
    parallel  the whole plan first, then calls as their inputs allow
    streamed  each call as soon as its line is sealed

`scripted` is a model that replays the plan at a fixed pace; its ideal follows from that pace and
the tools' times alone. `engine` is the real one, held to the same plan by a grammar; its ideal is
the one that the streamed run reports (executor/stats.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from executor.builtin import TOOLBOX
from executor.errors import HeadstartError
from executor.events import RunFinished
from executor.parser import PlanParser
from executor.plan import Task
from executor.stats import Stats
from executor.tools import ToolBox, tool
from planner_prompts.grammar import ANSWER, plan_regex
from planner_prompts.messages import Message
from quality.wrappers import Wrapped
from serving import startup
from serving.compiler import answer
from serving.model import Delta, Model, Sampling
from serving.scripted import Chunk, ScriptedModel, at_rate
from serving.settings import Settings

QUESTION = (
    "How much does the height drop from the first to the second, and the third to the fourth?"
)
PLAN = """\
1. search("height of Mount Everest")
2. search("height of K2")
3. search("height of Kangchenjunga")
4. search("height of Lhotse")
5. calculate("$1 - $2")
6. calculate("$3 - $4")
7. calculate("$5 + $6")
8. calculate("$7 / 2")
9. join()"""
REPLY = ANSWER + "On average the height drops by 154 metres from one to the next."
TOKENS_PER_SECOND = 50.0
SCRIPTED_TOOL_SECONDS = 0.3
ENGINE_TOOL_SECONDS = (0.05, 0.3, 1.0)
SILENCE_SECONDS = 1.0

WAYS = ("serial", "parallel", "streamed")


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the runs of one way, in seconds."""

    case: str
    way: str
    seconds: float
    ideal: float
    overlap: float

    @property
    def efficiency(self) -> float:
        return self.ideal / self.seconds


class WholePlan(Wrapped):
    """A model that hands out nothing before the reply is complete, as one without a stream."""

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        async def whole() -> AsyncIterator[Delta]:
            deltas = [delta async for delta in stream]
            yield Delta("".join(delta.text for delta in deltas), deltas[-1].finish_reason)

        async with self._model.stream(messages, sampling) as stream:
            yield whole()


class HeldTo(WholePlan):
    """The real engine, allowed to write one plan and one answer only, at its own pace."""

    def __init__(self, model: Model, plan: str, reply: str) -> None:
        super().__init__(model)
        self._texts = (plan, reply)

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        is_plan = messages[-1]["content"] == QUESTION
        only = re.escape(self._texts[0 if is_plan else 1])
        async with self._model.stream(messages, replace(sampling, regex=only)) as stream:
            yield stream


def toolbox(seconds: float) -> ToolBox:
    """The bundled tools' names with calls that take a fixed time."""

    @tool
    async def search(query: str) -> str:
        """Looks up one fact."""
        await asyncio.sleep(seconds)
        return "8849 m"

    @tool
    async def calculate(expression: str) -> str:
        """Calculates."""
        await asyncio.sleep(seconds)
        return "308 m"

    return ToolBox([search, calculate])


async def run_once(model: Model, way: str, tools: ToolBox) -> Stats:
    """One run, from question to answer."""
    settings = Settings(max_plans=1, max_running=1 if way == "serial" else 16)
    chosen = model if way == "streamed" else WholePlan(model)
    async with answer(QUESTION, toolbox=tools, model=chosen, settings=settings) as events:
        *_, event = [each async for each in events]
    if not isinstance(event, RunFinished):
        raise HeadstartError(f"a run did not finish: {event}")
    return event.stats


async def measure(
    case: str, make_model: Callable[[], Model], tools: ToolBox, runs: int, ideal: float | None
) -> list[Row]:
    """The three ways in turn, `runs` times. Without an `ideal`, the streamed run's own."""
    found: dict[str, list[Stats]] = {way: [] for way in WAYS}
    for _ in range(runs):
        for way in WAYS:
            found[way].append(await run_once(make_model(), way, tools))
    if ideal is None:
        ideal = statistics.median(stats.ideal_seconds for stats in found["streamed"])
    return [
        Row(
            case,
            way,
            statistics.median(stats.seconds for stats in found[way]),
            ideal,
            statistics.median(stats.overlap_seconds for stats in found[way]),
        )
        for way in WAYS
    ]


def ideal_seconds(plan: Sequence[Chunk], reply: Sequence[Chunk], tool_seconds: float) -> float:
    """What no implementation can beat, from the script alone (the formula of executor/stats.py)."""
    parser = PlanParser(toolbox(0))
    now = 0.0
    finish: dict[int, float] = {}
    for chunk in plan:
        now += chunk.wait
        for task in parser.feed(chunk.text):
            if isinstance(task, Task):
                ready = max([now, *(finish[need] for need in task.needs)])
                finish[task.id] = ready + tool_seconds
    return max([now, *finish.values()]) + sum(chunk.wait for chunk in reply)


def silent_plan() -> list[Chunk]:
    """Task 2 waits for task 1, which ends while the planner writes nothing for a while."""
    first, rest = PLAN.split("\n3. ")[0].replace("height of K2", "$1"), "\n3. join()"
    return [
        *at_rate(first, TOKENS_PER_SECOND),
        Chunk("", SILENCE_SECONDS),
        *at_rate(rest, TOKENS_PER_SECOND),
    ]


async def scripted(runs: int) -> list[Row]:
    reply = at_rate(REPLY, TOKENS_PER_SECOND)
    tools = toolbox(SCRIPTED_TOOL_SECONDS)
    plan_regex(tools)  # imports Outlines, which takes a second the first time
    rows = []
    plans = {"scripted": at_rate(PLAN, TOKENS_PER_SECOND), "silent": silent_plan()}
    for case, plan in plans.items():
        ideal = ideal_seconds(plan, reply, SCRIPTED_TOOL_SECONDS)
        rows += await measure(case, partial(ScriptedModel, [plan, reply]), tools, runs, ideal)
    return rows


async def engine(runs: int) -> list[Row]:
    rows = []
    print("with the engine, which may have to be started first; this takes some minutes:")
    async with startup.model(Settings.from_env(), TOOLBOX, [], lambda _: None) as model:
        held = HeldTo(model, PLAN, REPLY)
        await run_once(held, "streamed", toolbox(0))  # compiles the two grammars
        for seconds in ENGINE_TOOL_SECONDS:
            case = f"engine, tools {seconds:g} s"
            rows += await measure(case, lambda: held, toolbox(seconds), runs, None)
    return rows


def show(rows: Sequence[Row]) -> None:
    print(f"{'case':22} {'way':9} {'seconds':>8} {'ideal':>8} {'of ideal':>9} {'overlap':>8}")
    for row in rows:
        print(
            f"{row.case:22} {row.way:9} {row.seconds:8.3f} {row.ideal:8.3f} "
            f"{row.seconds / row.ideal:8.3f}x {row.overlap:8.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.sh overlap", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--runs", type=int, default=3, help="of each way; medians are shown")
    parser.add_argument("--no-engine", action="store_true", help="the scripted model only")
    flags = parser.parse_args()
    rows = asyncio.run(scripted(flags.runs))
    show(rows)
    if not flags.no_engine:
        try:
            on_engine = asyncio.run(engine(flags.runs))
        except HeadstartError as error:
            sys.exit(f"bench.sh: {error}")
        show(on_engine)
        rows += on_engine
    if flags.json:
        figures = [asdict(row) | {"efficiency": row.efficiency} for row in rows]
        flags.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
