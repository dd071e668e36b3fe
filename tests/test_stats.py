"""What a run's times say: examples worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.events import (
    Event,
    PlanFinished,
    PlanStarted,
    Replan,
    RunCancelled,
    RunFinished,
    RunStarted,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
)
from executor.stats import Stats, Times

# Each story is told a line an event: when, what, which task, what it needs.
# Then what is left at `now`: first task, plan, tools, overlap, ideal, efficiency.
STORIES: dict[str, tuple[str, float, tuple[float | None, ...]]] = {
    "no plan at all": ("0 run", 2.0, (None, 0, 0, 0, 0, 1)),
    "nothing has happened yet": ("", 0.0, (None, 0, 0, 0, 0, 1)),
    "a plan without a task": ("0 plan; 1 planned", 1.5, (None, 1, 0, 0, 1.5, 1)),
    "a plan that is being written": ("0.5 plan", 2.0, (None, 1.5, 0, 0, 2, 1)),
    "one tool under the plan": (
        """
        0 run; 0.5 plan; 1 sealed 1; 1 started 1; 2 finished 1; 3 planned
        """,
        4.0,  # the join takes 1
        (1, 2.5, 1, 1, 4, 1),
    ),
    "half of a tool is hidden under the plan": (
        "0 plan; 1 sealed 1; 1 started 1; 2 planned; 3 finished 1",
        3.5,
        (1, 2, 2, 1, 3.5, 1),
    ),
    "a tool that starts behind the plan": (
        "0 plan; 1 planned; 1 sealed 1; 2 started 1; 4 finished 1",
        4.0,  # ideal: from 1 to 3, and a join of 0
        (2, 1, 2, 0, 3, 0.75),
    ),
    "two at once count twice": (
        """
        0 plan; 1 sealed 1; 1 started 1; 2 sealed 2; 2 started 2; 3 finished 1; 3 finished 2
        4 planned
        """,
        4.5,
        (1, 4, 3, 3, 4.5, 1),
    ),
    "a chain that stalls": (
        """
        0 plan; 1 sealed 1; 1 started 1; 2 sealed 2 $1; 2 planned; 3 finished 1
        4 started 2; 6 finished 2
        """,
        7.0,  # ideal: 1 to 3, 3 to 5, a join of 1
        (1, 2, 4, 1, 6, 6 / 7),
    ),
    "of two inputs the later counts": (
        """
        0 plan; 0 sealed 1; 0 started 1; 0 sealed 2; 0 started 2; 1 sealed 3 $1 $2; 1 planned
        2 finished 1; 4 finished 2; 5 started 3; 6 finished 3
        """,
        6.0,  # ideal: 4 to 5
        (0, 1, 7, 2, 5, 5 / 6),
    ),
    "failed calls took their time, and what is skipped took none": (
        """
        0 plan; 1 sealed 1; 1 started 1; 2 failed 1; 2 sealed 2 $1; 2 skipped 2
        3 sealed 3 $2; 3 skipped 3; 3 planned
        """,
        4.0,
        (1, 3, 1, 1, 4, 1),
    ),
    "two plans": (
        """
        0 plan; 1 sealed 1; 1 started 1; 2 planned; 3 finished 1; 4 replan
        4 plan; 5 sealed 2 $1; 5 started 2; 6 planned; 7 finished 2
        """,
        8.0,  # 0 to 3 and a join of 1, twice
        (1, 4, 4, 2, 8, 1),
    ),
    "two plans, the second of which stalls": (
        """
        0 plan; 1 sealed 1; 1 started 1; 2 planned; 3 finished 1; 4 replan
        5 plan; 6 sealed 2 $1; 6 planned; 8 started 2; 9 finished 2
        """,
        10.0,  # 4; then from 4 on to 7, and a join of 1
        (1, 3, 3, 1, 8, 0.8),
    ),
    "a run that is closed in the middle": (
        "0 plan; 1 sealed 1; 1 started 1; 2 sealed 2 $1; 3 cancelled 1; 3 cancelled 2",
        3.0,
        (1, 3, 2, 2, 3, 1),
    ),
    "asked while a tool is at work": (
        "0 plan; 1 sealed 1; 1 started 1; 2 planned",
        5.0,
        (1, 2, 4, 1, 5, 1),
    ),
}


@pytest.mark.parametrize(("story", "now", "expected"), STORIES.values(), ids=STORIES.keys())
def test_story(story: str, now: float, expected: tuple[float | None, ...]) -> None:
    first, plan, tools, overlap, ideal, efficiency = expected
    assert stats_of(story, now) == Stats(
        seconds=now,
        time_to_first_task=first,
        plan_seconds=pytest.approx(plan),
        tools_seconds=pytest.approx(tools),
        overlap_seconds=pytest.approx(overlap),
        ideal_seconds=pytest.approx(ideal),
        efficiency=pytest.approx(efficiency),
        critical_path=ANY,
    )


@pytest.mark.parametrize(
    ("story", "path"),
    [
        ("0 plan; 1 planned", []),
        ("0 plan; 1 sealed 1; 1 started 1; 2 planned; 3 finished 1", [1]),
        ("0 plan; 1 sealed 1; 1 started 1; 2 planned", []),
        (
            "0 plan; 1 sealed 1; 1 started 1; 1 sealed 2; 1 started 2; 2 sealed 3 $1 $2; "
            "3 finished 1; 4 finished 2; 4 started 3; 5 planned; 6 finished 3",
            [2, 3],
        ),
        (
            "0 plan; 1 sealed 1; 1 started 1; 2 finished 1; 3 sealed 2 $1; 3 started 2; "
            "4 planned; 5 finished 2",
            [2],  # which waited for its line
        ),
        (
            "0 plan; 1 sealed 1; 1 started 1; 2 planned; 3 finished 1; 4 replan; 4 plan; "
            "5 sealed 2 $1; 5 started 2; 6 planned; 7 finished 2",
            [1, 2],
        ),
    ],
)
def test_the_critical_path(story: str, path: list[int]) -> None:
    assert stats_of(story, 9.0).critical_path == path


def test_the_last_word_changes_nothing() -> None:
    story = "0 plan; 1 sealed 1; 1 started 1; 2 planned; 3 finished 1"
    before = stats_of(story, 4.0)
    assert stats_of(story + "; 4 ended", 4.0) == before
    assert stats_of(story + "; 4 closed", 4.0) == before


SPAN = st.integers(0, 8).map(lambda number: number / 4)


@given(SPAN, st.lists(st.tuples(SPAN, SPAN, SPAN), max_size=5), SPAN, SPAN)
def test_what_holds_for_every_run(
    began: float, tasks: list[tuple[float, float, float]], rest: float, join: float
) -> None:
    """Each task needs the one before, is late by `delay`, and the plan ends in its own time."""
    lines, sealed, free = [f"0 run; {began} plan"], began, 0.0
    tools = 0.0
    for id, (wait, delay, seconds) in enumerate(tasks, start=1):
        sealed += wait
        start = max(sealed, free) + delay
        free = start + seconds
        tools += seconds
        needs = f"${id - 1}" if id > 1 else ""
        lines.append(f"{sealed} sealed {id} {needs}; {start} started {id}; {free} finished {id}")
    now = max(sealed + rest, free) + join
    stats = stats_of("\n".join([*lines, f"{sealed + rest} planned"]), now)
    assert stats.tools_seconds == pytest.approx(tools)
    assert 0 <= stats.overlap_seconds <= stats.tools_seconds
    assert stats.ideal_seconds <= now
    assert 0 <= stats.efficiency <= 1
    if not any(delay for _, delay, _ in tasks):
        assert stats.ideal_seconds == pytest.approx(now)
        assert stats.efficiency == pytest.approx(1)


def stats_of(story: str, now: float) -> Stats:
    times = Times()
    for line in story.replace(";", "\n").split("\n"):
        if line.strip():
            at, *words = line.split()
            times.note(replace(event(words), at=float(at)))
    return times.stats(now)


NOTHING = Times().stats(0)
WHY = {"reason": "", "message": ""}


def event(words: list[str]) -> Event:
    match words:
        case ["run"]:
            return RunStarted(run_id="", question="", model="", tools=[])
        case ["plan"]:
            return PlanStarted(plan=1)
        case ["planned"]:
            return PlanFinished(plan=1, tasks=0, ended_by="join", message="")
        case ["replan"]:
            return Replan(plan=2, reason="")
        case ["ended"]:
            return RunFinished(answer="", stats=NOTHING)
        case ["closed"]:
            return RunCancelled(stats=NOTHING, **WHY)
        case ["sealed", id, *needs]:
            ids = [int(need.removeprefix("$")) for need in needs]
            return TaskSealed(task_id=int(id), tool="", args={}, needs=ids, line="")
        case ["started", id]:
            return TaskStarted(task_id=int(id), args={}, where="loop", ready=0.0)
        case ["finished", id]:
            return TaskFinished(task_id=int(id), result="", seconds=0, tries=1)
        case ["failed", id]:
            return TaskFailed(task_id=int(id), tries=1, **WHY)
        case ["skipped", id]:
            return TaskSkipped(task_id=int(id), **WHY)
        case ["cancelled", id]:
            return TaskCancelled(task_id=int(id), **WHY)
    raise AssertionError(f"no such event: {words}")
