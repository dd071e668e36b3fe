"""A run as a person sees it: live, and then as a timeline with planning and tools side by side."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from executor.events import (
    Event,
    RunCancelled,
    RunFailed,
    RunFinished,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    to_wire,
)
from executor.stats import Stats
from serving.picture import RunPicture, TaskRow, clean

BAR_WIDTH = 32  # with the label and the times, a timeline fits into 80 columns
LABEL_WIDTH = 24
SHOWN = 70  # characters of a line or a result in the live view

_STYLES = {
    "sealed": ("○", "dim"),
    "running": ("●", "cyan"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "yellow"),
    "cancelled": ("–", "yellow"),
}


class View(Protocol):
    def show(self, event: Event) -> None:
        """Takes in one event, in order."""


@contextmanager
def view_for(*, json_lines: bool, json_answer: bool = False) -> Iterator[View]:
    """JSON lines if asked for; else live on a terminal, and plain lines into a pipe or file.

    Behind these two, an answer that is JSON is the last line, whole.
    """
    console = Console(highlight=False)
    picture = RunPicture(json_answer=json_answer)
    if json_lines:
        yield JsonView()
    elif console.is_terminal:
        view = LiveView(picture)
        with Live(console=console, refresh_per_second=12, get_renderable=view.draw):
            yield view
    else:
        yield PlainView(console, picture)
    if json_answer and isinstance(picture.ending, RunFinished):
        print(f"\n{harmless_json(picture.ending.answer)}")


class JsonView:
    """One event a line."""

    def show(self, event: Event) -> None:
        print(json.dumps(to_wire(event), ensure_ascii=False, default=str), flush=True)


class LiveView:
    """The run as it stands, to be redrawn in place; between events, its clocks go on."""

    def __init__(self, picture: RunPicture) -> None:
        self._picture = picture
        self._shown_at = monotonic()
        self._lock = Lock()  # it is drawn in a thread of Rich's

    def show(self, event: Event) -> None:
        with self._lock:
            self._picture.take(event)
            self._shown_at = monotonic()

    def draw(self) -> RenderableType:
        with self._lock:
            return draw(self._picture, self._picture.now + monotonic() - self._shown_at)


class PlainView:
    """Tasks as they end, the answer, the timeline: for pipes and files."""

    def __init__(self, console: Console, picture: RunPicture) -> None:
        self._console = console
        self._picture = picture

    def show(self, event: Event) -> None:
        self._picture.take(event)
        if isinstance(event, TaskSealed):
            self._print(f"{event.at:7.2f} s  {event.line}")
        elif isinstance(event, (TaskFinished, TaskFailed, TaskSkipped, TaskCancelled)):
            row = self._picture.tasks[event.task_id]
            self._print(f"{event.at:7.2f} s    ${event.task_id} {row.state}: {_brief(row.note)}")
        elif self._picture.ending is not None:
            for part in _ending(self._picture):
                self._console.print(part, soft_wrap=isinstance(part, Text))

    def _print(self, line: str) -> None:
        self._console.print(Text(clean(line)), soft_wrap=True)


def draw(picture: RunPicture, now: float) -> RenderableType:
    """The whole run: while it goes on the plan with its states, then the timeline too."""
    parts: list[RenderableType] = [_task_line(row, now) for row in picture.tasks.values()]
    if picture.writing:
        parts.append(Text(f"  {picture.writing.strip()}▌", style="bold"))
    if picture.ending is not None:
        return Group(*parts, *_ending(picture))
    return Group(
        *parts, *(Text(note, style="yellow") for note in picture.notes), Text(picture.answer)
    )


def _task_line(row: TaskRow, now: float) -> Text:
    mark, style = _STYLES[row.state]
    line = Text(f"{mark} ", style=style).append(_brief(row.line), style="default")
    if row.started is not None:
        line.append(f"  {(row.ended or now) - row.started:.2f} s", style="dim")
    return line.append(f"  {_brief(row.note)}", style=style) if row.note else line


def _ending(picture: RunPicture) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(note, style="yellow") for note in picture.notes]
    if (word := _last_word(picture)) is not None:
        parts += [Text(), word]
    if picture.ending is not None and picture.plans:
        parts += [Text(), timeline(picture), Text(), _summary(picture.ending.stats)]
    return parts


def _last_word(picture: RunPicture) -> Text | None:
    match picture.ending:
        case RunFinished(answer=answer) if not picture.json_answer:
            return Text(clean(answer), style="bold")
        case RunFailed(reason=reason, message=message):
            return Text(f"failed ({reason}): {clean(message)}", style="red")
        case RunCancelled(message=message):
            return Text(f"cancelled: {message}", style="yellow")
    return None


def timeline(picture: RunPicture) -> Table:
    """A bar for each plan, task and join over the time of the run."""
    table = Table(box=None, show_header=False, padding=(0, 1), expand=False)
    for column in ("what", "bar", "span"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    rows = [("plan", span.began, span.ended, "magenta") for span in picture.plans]
    rows += [
        (_brief(row.line, LABEL_WIDTH), row.started, row.ended, _STYLES[row.state][1])
        for row in picture.tasks.values()
        if row.started is not None
    ]
    rows += [("join", span.began, span.ended, "blue") for span in picture.joins]
    for label, began, ended, style in sorted(rows, key=lambda row: row[1] or 0.0):
        span = (began or 0.0, picture.now if ended is None else ended)
        times = f"{span[0]:6.2f} – {span[1]:.2f} s"
        table.add_row(
            Text(label), Text(_bar(*span, picture.now), style=style), Text(times, style="dim")
        )
    return table


def _bar(began: float, ended: float, total: float) -> str:
    start = min(BAR_WIDTH - 1, round(began / total * BAR_WIDTH))
    end = max(start + 1, round(ended / total * BAR_WIDTH))
    return "·" * start + "█" * (end - start) + "·" * (BAR_WIDTH - end)


def _summary(stats: Stats) -> Text:
    first = "no task" if stats.time_to_first_task is None else f"{stats.time_to_first_task:.2f} s"
    return Text(
        f"first task after {first}, plan {stats.plan_seconds:.2f} s, "
        f"tools {stats.tools_seconds:.2f} s of which {stats.overlap_seconds:.2f} s under the plan, "
        f"total {stats.seconds:.2f} s "
        f"(ideal {stats.ideal_seconds:.2f} s, efficiency {stats.efficiency:.3f})",
        style="dim",
    )


def harmless_json(text: str) -> str:
    """The same JSON, with what a terminal would obey written as JSON's escapes.

    Such a character can only stand in a string: between values, the grammar has none but blanks.
    """
    return "".join(json.dumps(c)[1:-1] if unicodedata.category(c)[0] == "C" else c for c in text)


def _brief(text: str, limit: int = SHOWN) -> str:
    line = clean(re.sub(r"\s+", " ", text))
    return line if len(line) <= limit else line[: limit - 1] + "…"
