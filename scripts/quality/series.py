"""Runs a set of cases through one model on its engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from executor.builtin import TOOLBOX
from quality.cases import Case
from quality.runs import Outcome, run
from quality.sets import evenly
from serving import startup, warmup
from serving.engine import Progress
from serving.model import Model
from serving.settings import Settings

AT_ONCE = 8
TIMED = 12  # runs of a series that have the engine to themselves


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one model in one way."""

    name: str
    outcomes: list[Outcome]


@asynccontextmanager
async def engine(settings: Settings, progress: Progress) -> AsyncIterator[Model]:
    """Somebody else's engine if the settings name one, else a new one that ends with the block."""
    if settings.engine_url:
        async with startup.model(settings, TOOLBOX, (), progress) as connected:
            yield connected
        return
    async with (
        startup.own_engine(settings, TOOLBOX, (), progress, 0, ()) as own,
        own.connect(settings.profile) as connected,
    ):
        yield connected


async def measure(
    name: str,
    model: Model,
    cases: Sequence[Case],
    settings: Settings,
    progress: Progress,
    without: str | None = None,
) -> Series:
    """One model, as it is or `without` one of the ABLATIONS (wrappers.py)."""
    label = name if without is None else f"{name} without {without}"
    told = partial(_tell, progress, label, len(cases))
    return Series(label, await _outcomes(model, cases, settings, without, told))


def _tell(progress: Progress, label: str, of: int, done: int) -> None:
    progress(f"{label}: {done} of {of}")


async def _outcomes(
    model: Model,
    cases: Sequence[Case],
    settings: Settings,
    without: str | None,
    told: Callable[[int], None],
) -> list[Outcome]:
    """Some one at a time, for their times; the others several at once. In the cases' order.

    The timed ones come first, and an ablation has none: by then the engine has cached the prompts.
    """
    timed = evenly(list(range(len(cases))), TIMED) if without is None else []
    found: dict[int, Outcome] = {}
    for at in timed:
        case = cases[at]
        await warmup.warm(model, case.toolbox, (), settings)
        found[at] = await run(case, model, settings, timed=True)
        told(len(found))

    free = asyncio.Semaphore(AT_ONCE)
    patient = replace(settings, deadline=settings.deadline * AT_ONCE)

    async def one(at: int) -> None:
        async with free:
            found[at] = await run(cases[at], model, patient, without=without)
        told(len(found))

    try:
        async with asyncio.TaskGroup() as group:
            for at in set(range(len(cases))) - set(timed):
                group.create_task(one(at))
    except ExceptionGroup as group:  # an engine that dies takes all runs with it
        raise group.exceptions[0] from None
    return [found[at] for at in range(len(cases))]
