"""Events as they go over the wire, and the log that carries them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from virtual_clock import virtual

from executor.events import (
    AnswerText,
    Event,
    EventLog,
    LineRefused,
    PlanFinished,
    PlanStarted,
    PlanText,
    Replan,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
    from_wire,
    to_wire,
    told,
)
from executor.stats import Stats

STATS = Stats(
    seconds=3.0,
    time_to_first_task=None,
    plan_seconds=1.0,
    tools_seconds=0.0,
    overlap_seconds=0.0,
    ideal_seconds=3.0,
    efficiency=1.0,
    critical_path=[],
)
ENDED = {"task_id": 1, "reason": "a", "message": "b"}

# An example of each event, by its name on the wire.
EXAMPLES: dict[str, Event] = {
    "run_started": RunStarted(run_id="f0", question="?", model="m", tools=["search"]),
    "plan_started": PlanStarted(plan=1),
    "plan_text": PlanText(plan=1, text="1. "),
    "line_refused": LineRefused(plan=1, task_id=2, line="2. search($1.x)", message="no x"),
    "task_sealed": TaskSealed(
        task_id=2, tool="search", args={"query": "$1"}, needs=[1], line="2. search($1)"
    ),
    "task_started": TaskStarted(
        task_id=2, args={"query": "K2", "limit": 3}, where="loop", ready=0.0
    ),
    "task_finished": TaskFinished(task_id=2, result="8611 m", seconds=0.5, tries=1),
    "task_failed": TaskFailed(tries=1, **ENDED),
    "task_skipped": TaskSkipped(**ENDED),
    "task_cancelled": TaskCancelled(**ENDED),
    "plan_finished": PlanFinished(plan=1, tasks=2, ended_by="join", message=""),
    "answer_text": AnswerText(text="It "),
    "replan": Replan(plan=2, reason="more is needed"),
    "run_finished": RunFinished(answer="It is.", stats=STATS),
    "run_failed": RunFailed(reason="deadline", message="late", stats=STATS),
    "run_cancelled": RunCancelled(reason="closed", message="gone", stats=STATS),
}

# The fields that each has besides `type`, `seq` and `at`.
FIELDS = {
    "run_started": "run_id question model tools",
    "plan_started": "plan",
    "plan_text": "plan text",
    "line_refused": "plan task_id line message",
    "task_sealed": "task_id tool args needs line",
    "task_started": "task_id args where ready",
    "task_finished": "task_id result seconds tries",
    "task_failed": "task_id reason message tries",
    "task_skipped": "task_id reason message",
    "task_cancelled": "task_id reason message",
    "plan_finished": "plan tasks ended_by message",
    "answer_text": "text",
    "replan": "plan reason",
    "run_finished": "answer stats usage",
    "run_failed": "reason message stats usage",
    "run_cancelled": "reason message stats usage",
}


@pytest.mark.parametrize(("name", "event"), EXAMPLES.items(), ids=EXAMPLES.keys())
def test_on_the_wire(name: str, event: Event) -> None:
    wire = to_wire(event)
    assert next(iter(wire)) == "type"
    assert wire["type"] == name
    assert set(wire) == {"type", "seq", "at", *FIELDS[name].split()}
    assert json.loads(json.dumps(wire, allow_nan=False)) == wire
    assert from_wire(wire) == event
    newer = {**wire, "mood": "of a newer version"}
    if "stats" in newer:
        newer["stats"] = {**newer["stats"], "mood_seconds": 1.0}
    assert from_wire(newer) == event


@pytest.mark.parametrize(
    "wire", [{}, {"type": "party"}, {"type": "replan", "seq": 1}, {"type": []}], ids=str
)
def test_what_is_no_event(wire: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no event"):
        from_wire(wire)


def test_there_are_no_others() -> None:
    assert {kind.type for kind in Event.__subclasses__()} == EXAMPLES.keys() == FIELDS.keys()


def test_stats_on_the_wire() -> None:
    assert set(to_wire(EXAMPLES["run_finished"])["stats"]) == {
        "seconds",
        "time_to_first_task",
        "plan_seconds",
        "tools_seconds",
        "overlap_seconds",
        "ideal_seconds",
        "efficiency",
        "critical_path",
    }


@virtual
async def test_the_log_numbers_and_times_what_it_is_given() -> None:
    await asyncio.sleep(100)  # the clock of a run starts with the run
    log = EventLog()
    log.emit(PlanStarted(plan=1))
    await asyncio.sleep(0.25)
    stamped = log.emit(PlanText(plan=1, text="1"))
    await asyncio.sleep(0.5)
    log.emit(PlanText(plan=1, text="2"))
    log.close()
    events = [event async for event in log]
    assert [event.seq for event in events] == [0, 1, 2]
    assert [event.at for event in events] == pytest.approx([0, 0.25, 0.75])
    assert events[1] is stamped
    assert log.now() == pytest.approx(0.75)


@virtual
async def test_the_log_hands_on_each_event_as_it_happens() -> None:
    async def story(log: EventLog) -> None:
        for plan in range(3):
            log.emit(PlanStarted(plan=plan))
            await asyncio.sleep(1)

    loop = asyncio.get_running_loop()
    async with told(story) as log:
        read = [(event.at, loop.time()) async for event in log]
    assert read == [(0, 0), (1, 1), (2, 2)]


@virtual
async def test_behind_the_last_event_the_log_stays_ended() -> None:
    log = EventLog()
    log.close()
    assert [event async for event in log] == []
    assert [event async for event in log] == []


@virtual
async def test_a_story_that_breaks_is_told_at_the_end_of_the_block() -> None:
    async def story(log: EventLog) -> None:
        log.emit(PlanStarted(plan=1))
        raise LookupError("lost")

    events = []
    with pytest.raises(LookupError, match="lost"):
        async with told(story) as log:
            events = [event async for event in log]
    assert len(events) == 1


@virtual
async def test_leaving_the_block_waits_until_the_story_has_ended() -> None:
    ended_at = None

    async def story(log: EventLog) -> None:
        nonlocal ended_at
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(3)
            ended_at = log.now()

    async with told(story) as log:
        await asyncio.sleep(1)
    assert ended_at == pytest.approx(4)
    assert log.now() == pytest.approx(4)


@pytest.mark.parametrize("stop", [True, False])
@virtual
async def test_a_story_has_begun_when_the_block_is_entered(stop: bool) -> None:
    async def story(log: EventLog) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.emit(PlanStarted(plan=1))

    async with told(story) as log:
        if stop:
            log.stop()
            assert len([event async for event in log]) == 1
    if not stop:
        assert len([event async for event in log]) == 1


@virtual
async def test_an_error_in_the_block_passes_and_ends_the_story() -> None:
    async def story(log: EventLog) -> None:
        await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        async with told(story):
            raise ZeroDivisionError


@virtual
async def test_cancelling_the_reader_ends_the_story_and_passes() -> None:
    ended = asyncio.Event()

    async def story(log: EventLog) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def read() -> None:
        async with told(story) as log:
            async for _ in log:
                pass

    reader = asyncio.create_task(read())
    await asyncio.sleep(1)
    reader.cancel()
    await asyncio.wait([reader])
    assert reader.cancelled()
    assert ended.is_set()
