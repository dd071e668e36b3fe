"""What does the executor cost: for each task, as graphs grow, in memory, and until a tool begins?

Side by side, in one process: ours, a program that somebody wrote by hand for the same graph, and
the algorithm of *An LLM Compiler for Parallel Function Calling* (arXiv 2312.04511), which looks
every 10 ms whether a task can start, and takes one line from the planner before it does.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from time import perf_counter

from executor.executor import Executor
from executor.plan import Ref, Task
from executor.tools import ToolBox, tool

Graph = list[tuple[int, ...]]  # the inputs of task 1, 2, ...
POLL_SECONDS = 0.01
ROUNDS = 3
UNLIMITED = 1_000_000


@tool
async def nothing(after: list[str]) -> str:
    return "done"


@tool
async def third_of_a_second(after: list[str]) -> str:
    await asyncio.sleep(0.3)
    return "done"


def chain(count: int) -> Graph:
    return [(id - 1,) if id > 1 else () for id in range(1, count + 1)]


def fan_out(count: int) -> Graph:
    return [() if id == 1 else (1,) for id in range(1, count + 1)]


def random_graph(count: int) -> Graph:
    rng = Random(count)  # noqa: S311  for graphs
    return [
        tuple(sorted({rng.randrange(max(1, id - 50), id) for _ in range(rng.randint(0, 3))}))
        if id > 1
        else ()
        for id in range(1, count + 1)
    ]


GRAPHS: dict[str, Graph] = {
    "chain of 1,000": chain(1_000),
    "fan-out of 10,000": fan_out(10_000),
    "random, 1,000": random_graph(1_000),
    "random, 10,000": random_graph(10_000),
    "random, 100,000": random_graph(100_000),
}
# Of the README's figure: eight tasks, 0.3 s each, of a plan that is written at 50 tokens a second.
EIGHT: Graph = [(), (), (), (), (1, 2), (3, 4), (5, 6), (7,)]
LINE_SECONDS = 0.22


async def tasks_of(graph: Graph, gap: float = 0.0, name: str = "nothing") -> AsyncGenerator[Task]:
    for id, needs in enumerate(graph, start=1):
        if gap:
            await asyncio.sleep(gap)
        yield Task(id, name, {"after": [Ref(need) for need in needs]})


async def ours(graph: Graph, executor: Executor) -> None:
    async with executor.run(tasks_of(graph)) as log:
        async for _ in log:
            pass


async def by_hand(graph: Graph) -> None:
    tasks: dict[int, asyncio.Task[str]] = {}

    async def one(needs: Sequence[int]) -> str:
        result: str = await nothing([await tasks[need] for need in needs])
        return result

    for id, needs in enumerate(graph, start=1):
        tasks[id] = asyncio.create_task(one(needs))
    await asyncio.gather(*tasks.values())


async def polled(graph: Graph, gap: float = 0.0) -> None:
    queue: asyncio.Queue[tuple[int, tuple[int, ...]] | None] = asyncio.Queue()
    results: dict[int, str] = {}
    waiting: dict[int, tuple[int, ...]] = {}
    call = third_of_a_second if gap else nothing

    async def write() -> None:
        for item in enumerate(graph, start=1):
            await asyncio.sleep(gap)
            queue.put_nowait(item)
        queue.put_nowait(None)

    async def one(id: int, needs: Sequence[int]) -> None:
        results[id] = await call([results[need] for need in needs])

    writing, is_written = asyncio.create_task(write()), False
    running: set[asyncio.Task[None]] = set()
    while not is_written or len(results) < len(graph):
        if not is_written:
            item = await queue.get()
            if item is None:
                is_written = True
            else:
                waiting[item[0]] = item[1]
        for id in [id for id, needs in waiting.items() if all(need in results for need in needs)]:
            running.add(asyncio.create_task(one(id, waiting.pop(id))))
        await asyncio.sleep(POLL_SECONDS)
    await asyncio.gather(writing, *running)


async def seconds(work: Callable[[], Awaitable[None]]) -> float:
    gc.collect()
    began = perf_counter()
    await work()
    return perf_counter() - began


@dataclass(frozen=True)
class Row:
    """Microseconds a task; `own` is what we take beyond the program written by hand."""

    graph: str
    tasks: int
    ours: float
    by_hand: float
    own: float


async def pair(graph: Graph, executor: Executor, runs: int) -> tuple[float, float]:
    """Seconds, of ours and by hand, of so many runs of the graph at once."""

    async def all_by_hand() -> None:
        await asyncio.gather(*(by_hand(graph) for _ in range(runs)))

    async def all_ours() -> None:
        await asyncio.gather(*(ours(graph, executor) for _ in range(runs)))

    hand = await seconds(all_by_hand)
    return await seconds(all_ours), hand


async def rows() -> list[Row]:
    """In rounds, for a machine that others use is faster at one time than at another."""
    executor = Executor(ToolBox([nothing]), max_running=UNLIMITED)
    jobs = {name: (graph, 1) for name, graph in GRAPHS.items()} | {"200 runs of 8": (EIGHT, 200)}
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, (graph, runs) in jobs.items():
            pairs[name].append(await pair(graph, executor, runs))
    return [_row(name, len(jobs[name][0]) * jobs[name][1], pairs[name]) for name in jobs]


def _row(name: str, count: int, pairs: list[tuple[float, float]]) -> Row:
    micro = 1e6 / count
    ours, hand = (statistics.median(side) * micro for side in zip(*pairs, strict=True))
    own = statistics.median(a - b for a, b in pairs) * micro
    return Row(name, count, ours, hand, own)


async def bytes_a_task(count: int) -> float:
    """What a run that goes on keeps of each finished task."""
    executor = Executor(ToolBox([nothing]), max_running=UNLIMITED)
    are_read = asyncio.Event()
    kept = 0

    async def tasks() -> AsyncGenerator[Task]:
        nonlocal kept
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        async for task in tasks_of(random_graph(count)):
            yield task
        del task
        await are_read.wait()
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()

    async with executor.run(tasks()) as log:
        finished = 0
        async for event in log:
            finished += event.type == "task_finished"
            if finished == count:
                are_read.set()
    return kept / count


async def first_line(count: int) -> float:
    """Median of the seconds from a task's seal to the first line of its tool."""
    sealed: list[float] = []
    begun: list[float] = []

    @tool
    async def note(after: list[str]) -> str:
        begun.append(perf_counter())
        return ""

    async def tasks() -> AsyncGenerator[Task]:
        for id in range(1, count + 1):
            await asyncio.sleep(0.001)
            sealed.append(perf_counter())
            yield Task(id, "note", {"after": []})

    async with Executor(ToolBox([note])).run(tasks()) as log:
        async for _ in log:
            pass
    return statistics.median(after - before for before, after in zip(sealed, begun, strict=True))


async def streamed() -> tuple[float, float, float]:
    """The eight tasks while their plan is written: ideal, ours, polled; in seconds."""
    executor = Executor(ToolBox([third_of_a_second]))
    written = len(EIGHT) * LINE_SECONDS
    finish: dict[int, float] = {}
    for id, needs in enumerate(EIGHT, start=1):
        finish[id] = max([id * LINE_SECONDS, *(finish[need] for need in needs)]) + 0.3
    ideal = max(written, *finish.values())

    async def run() -> None:
        plan = tasks_of(EIGHT, LINE_SECONDS, "third_of_a_second")
        async with executor.run(plan) as log:
            async for _ in log:
                pass

    return ideal, await seconds(run), await seconds(lambda: polled(EIGHT, LINE_SECONDS))


async def measure() -> dict[str, object]:
    print(f"{'graph':20} {'tasks':>8} {'ours µs':>8} {'by hand µs':>11} {'own µs':>8}")
    found = await rows()
    for each in found:
        print(
            f"{each.graph:20} {each.tasks:8,} {each.ours:8.1f} {each.by_hand:11.1f} {each.own:8.1f}"
        )
    by_name = {each.graph: each for each in found}
    growth = by_name["random, 100,000"].ours / by_name["random, 1,000"].ours
    size = await bytes_a_task(10_000)
    first = await first_line(500)
    ideal, own, paper = await streamed()
    hundred = chain(100)
    polled_chain = await seconds(lambda: polled(hundred))
    own_chain = await seconds(lambda: ours(hundred, Executor(ToolBox([nothing]))))
    print(
        f"\ntime a task at 100,000 / at 1,000: {growth:.2f}\n"
        f"kept of a finished task: {size:,.0f} bytes\n"
        f"from a seal to the tool's first line: {first * 1e6:.0f} µs (median)\n"
        f"eight tasks, streamed: ideal {ideal:.3f} s, ours {own:.3f} s ({own / ideal:.3f}), "
        f"the paper's algorithm {paper:.3f} s ({paper / ideal:.3f})\n"
        f"a chain of 100: ours {own_chain * 1e3:.1f} ms, the paper's {polled_chain * 1e3:.0f} ms"
    )
    return {
        "rows": [asdict(each) for each in found],
        "growth": growth,
        "bytes_a_task": size,
        "first_line_seconds": first,
        "streamed": {"ideal": ideal, "ours": own, "paper": paper},
        "chain_of_100": {"ours": own_chain, "paper": polled_chain},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.sh executor", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    flags = parser.parse_args()
    figures = asyncio.run(measure())
    if flags.json:
        flags.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
