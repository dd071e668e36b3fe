"""What Prometheus reads at /metrics: the runs' events, counted and measured.

No label holds what is without bound, such as ids or texts of users.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from executor.events import (
    AnswerText,
    Event,
    LineRefused,
    PlanText,
    Replan,
    RunCancelled,
    RunFailed,
    RunFinished,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
)
from executor.executor import Executor
from executor.stats import Stats
from serving.gateway.runs import Runs

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
RATIO = (0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)
NOT_CALLED = ("shared", "cache")  # where a task's result comes from that had no call of its own


class Metrics:
    """All metrics of one gateway, in a `registry` of their own."""

    def __init__(self, runs: Runs, executor: Executor) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        self._gauge("runs_running", "Runs that have a place.").set_function(
            lambda: sum(live.run.status == "running" for live in runs.going_on)
        )
        self._gauge("runs_waiting", "Runs that wait for a place.").set_function(
            lambda: sum(live.run.status == "queued" for live in runs.going_on)
        )
        self._gauge(
            "threads_left_behind", "Threads that outlived their calls and still run."
        ).set_function(lambda: executor.workers.left_behind)

        # `labels` takes longer than all else here.
        self.problem = cache(
            self._counter("problems", "Requests that were refused or failed.", "type").labels
        )
        self.run = cache(self._counter("runs", "Runs that ended.", "outcome", "reason").labels)
        self.task = cache(self._counter("tasks", "Tasks that ended.", "tool", "outcome").labels)
        self.replans = self._counter("replans", "Plans that a run needed beyond its first.")
        self.repairs = self._counter("repairs", "Lines of plans that could not be run.")
        self.engine_errors = self._counter("engine_errors", "Runs that the engine failed.")

        self.run_seconds = cache(
            self._histogram(
                "run_seconds", "Whole runs, with their wait.", SECONDS, "outcome"
            ).labels
        )
        self.tool_seconds = cache(
            self._histogram("tool_seconds", "Calls, with all their tries.", SECONDS, "tool").labels
        )
        self.first_task_seconds = self._histogram(
            "time_to_first_task_seconds",
            "From a run's start to its first call, if answered.",
            SECONDS,
        )
        self.plan_seconds = self._histogram(
            "plan_seconds", "Writing all plans of a run, if answered.", SECONDS
        )
        self.overlap_seconds = self._histogram(
            "overlap_seconds", "Calls under the plan's writing, summed, if answered.", SECONDS
        )
        self.efficiency = self._histogram(
            "efficiency_ratio", "Ideal by actual seconds of a run, if answered.", RATIO
        )

    def answered(self, stats: Stats) -> None:
        """A run has ended with an answer. What others took says nothing of how fast we are."""
        if stats.time_to_first_task is not None:
            self.first_task_seconds.observe(stats.time_to_first_task)
        self.plan_seconds.observe(stats.plan_seconds)
        self.overlap_seconds.observe(stats.overlap_seconds)
        self.efficiency.observe(stats.efficiency)

    def _counter(self, name: str, of: str, *labels: str) -> Counter:
        return Counter(f"headstart_{name}", of, labels, registry=self.registry)

    def _gauge(self, name: str, of: str) -> Gauge:
        return Gauge(f"headstart_{name}", of, registry=self.registry)

    def _histogram(self, name: str, of: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"headstart_{name}", of, labels, buckets=buckets, registry=self.registry)


class RunMetrics:
    """Measures one run; `note` each of its events."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tools: dict[int, str] = {}  # of tasks that have not ended
        self._began: dict[int, float] = {}  # of calls that go on

    def note(self, event: Event) -> None:
        metrics = self._metrics
        match event:
            case PlanText() | AnswerText():  # first, for these are most of a run's events
                pass
            case TaskSealed(task_id=task_id, tool=tool):
                self._tools[task_id] = tool
            case TaskStarted(task_id=task_id, at=at, where=where):
                if where not in NOT_CALLED:
                    self._began[task_id] = at
            case TaskFinished(task_id=task_id, at=at):
                self._end_task(task_id, "finished", at)
            case TaskFailed() | TaskSkipped() | TaskCancelled():
                self._end_task(event.task_id, event.reason, event.at)
            case LineRefused():
                metrics.repairs.inc()
            case Replan():
                metrics.replans.inc()
            case RunFinished(stats=stats):
                self._end("finished", "", stats)
                metrics.answered(stats)
            case RunFailed(reason=reason, stats=stats):
                self._end("failed", reason, stats)
                if reason == "engine":
                    metrics.engine_errors.inc()
            case RunCancelled(reason=reason, stats=stats):
                self._end("cancelled", reason, stats)

    def _end_task(self, task_id: int, outcome: str, at: float) -> None:
        tool = self._tools.pop(task_id)
        self._metrics.task(tool, outcome).inc()
        if (began := self._began.pop(task_id, None)) is not None:
            self._metrics.tool_seconds(tool).observe(at - began)

    def _end(self, outcome: str, reason: str, stats: Stats) -> None:
        self._metrics.run(outcome, reason).inc()
        self._metrics.run_seconds(outcome).observe(stats.seconds)
