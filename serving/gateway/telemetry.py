"""Who reads along a run's events, and leaves the run as it is: metrics, traces and the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

from executor.events import Event
from serving.gateway.logs import RUN_ID, RunLine
from serving.gateway.metrics import Metrics, RunMetrics

if TYPE_CHECKING:
    from serving.gateway.traces import Traces


@contextmanager
def watched(
    run_id: str, metrics: Metrics, traces: Traces | None
) -> Iterator[Callable[[Event], None]]:
    """Takes each of a run's events. Enter it in the task that carries the run: what that does from
    there on is told with the run's id, and belongs to its trace."""
    RUN_ID.set(run_id)
    with nullcontext() if traces is None else closing(traces.begin(run_id)) as trace:
        readers = [RunMetrics(metrics).note, RunLine().note]
        if trace is not None:
            readers.append(trace.note)

        def note(event: Event) -> None:
            for read in readers:
                read(event)

        yield note
