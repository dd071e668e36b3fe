"""The picture of a run, from its events."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from executor.events import (
    AnswerText,
    Event,
    PlanFinished,
    PlanStarted,
    PlanText,
    RunFinished,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
)
from executor.stats import Stats
from serving.picture import RunPicture
from serving.terminal import PlainView, draw, view_for

STATS = Stats(
    seconds=4.0,
    time_to_first_task=0.5,
    plan_seconds=2.0,
    tools_seconds=3.0,
    overlap_seconds=2.0,
    ideal_seconds=3.8,
    efficiency=0.95,
    critical_path=[],
)


def sealed(task_id: int, line: str) -> TaskSealed:
    return TaskSealed(task_id=task_id, tool="f", args={}, needs=[], line=line)


EVENTS: list[tuple[float, Event]] = [
    (0.0, PlanStarted(plan=1)),
    (0.5, PlanText(plan=1, text='1. f("x")\n2. f("')),
    (0.5, sealed(1, '1. f("x")')),
    (0.5, TaskStarted(task_id=1, args={}, where="loop", ready=0.0)),
    (1.0, PlanText(plan=1, text='[bold]y")')),
    (1.0, sealed(2, '2. f("[bold]y")')),
    (1.0, TaskStarted(task_id=2, args={}, where="loop", ready=0.0)),
    (1.5, sealed(3, '3. f("$2")')),
    (2.0, PlanFinished(plan=1, tasks=3, ended_by="length", message="line 4: cut")),
    (2.5, TaskFinished(task_id=1, result="a\n\x1b[31mred", seconds=2.0, tries=1)),
    (3.0, TaskFailed(task_id=2, reason="error", message="on fire", tries=1)),
    (3.0, TaskSkipped(task_id=3, reason="input_failed", message="it needs $2")),
    (3.5, AnswerText(text="[red]Forty-two.")),
    (4.0, RunFinished(answer="[red]Forty-two.", stats=STATS)),
]


def text_of(picture: RunPicture) -> str:
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(draw(picture, picture.now))
    return capture.get()


def picture_at(count: int) -> RunPicture:
    picture = RunPicture()
    for at, event in EVENTS[:count]:
        picture.take(replace(event, at=at))
    return picture


def test_while_it_goes_on_lines_stand_with_their_states() -> None:
    assert text_of(picture_at(5)).splitlines() == [
        '● 1. f("x")  0.50 s',
        '  2. f("[bold]y")▌',
        "",
    ]


def test_at_the_end_planning_and_tools_lie_over_each_other() -> None:
    assert text_of(picture_at(len(EVENTS))).splitlines() == [
        '✓ 1. f("x")  2.00 s  a [31mred',
        '✗ 2. f("[bold]y")  2.00 s  on fire',
        '– 3. f("$2")  it needs $2',
        "the plan was broken off (length): line 4: cut",
        "",
        "[red]Forty-two.",
        "",
        " plan             ████████████████················    0.00 – 2.00 s ",
        ' 1. f("x")        ····████████████████············    0.50 – 2.50 s ',
        ' 2. f("[bold]y")  ········████████████████········    1.00 – 3.00 s ',
        " join             ························████████    3.00 – 4.00 s ",
        "",
        "first task after 0.50 s, plan 2.00 s, tools 3.00 s of which 2.00 s under the ",
        "plan, total 4.00 s (ideal 3.80 s, efficiency 0.950)",
    ]


def test_into_a_pipe_it_goes_line_by_line() -> None:
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        view = PlainView(console, RunPicture())
        for at, event in EVENTS:
            view.show(replace(event, at=at))
    lines = capture.get().splitlines()
    assert lines[0] == '   0.50 s  1. f("x")'
    assert "   3.00 s    $2 failed: on fire" in lines
    assert lines[-1].endswith("efficiency 0.950)")


def test_an_answer_for_programs_is_the_last_line_whole_and_harmless(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = '{"a": "' + "é\x9b31m " * 40 + '\U000e0001"}'
    with view_for(json_lines=False, json_answer=True) as view:
        for at, event in [*EVENTS[:-1], (4.0, RunFinished(answer=long, stats=STATS))]:
            view.show(replace(event, at=at))
    *before, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == json.loads(long)
    assert "\x9b" not in last
    assert "é" in last
    assert before[-1] == ""
    assert before[-2].endswith("efficiency 0.950)")
    assert not any("31m é" in line for line in before)
