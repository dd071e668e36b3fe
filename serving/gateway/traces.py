"""Runs as OpenTelemetry spans, by the conventions for generative AI:

    invoke_agent headstart
    ├── plan headstart                       a plan
    │   └── chat MODEL                       the request for it; more of them if lines were refused
    ├── execute_tool TOOL                    a task that was started, linked to those of its inputs
    └── chat MODEL                           the join

What was asked, passed, returned and answered is in none of them. What must be known to send them
is read by OpenTelemetry itself from its OTEL_* variables.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from executor.events import (
    Event,
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
)
from serving import trace_context

AGENT = "headstart"
PROVIDER = "vllm"
CLOSE_SECONDS = 5.0  # in which what is left must have been sent when the gateway ends
NOT_JOINED = "results_too_long"  # the reason of a run that failed just before its join

_W3C = TraceContextTextMapPropagator()


class Traces:
    """Where the spans of all runs go."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer(AGENT)

    @classmethod
    @asynccontextmanager
    async def sent_to(cls, endpoint: str) -> AsyncIterator[Traces]:
        """Sends spans to a collector (OTLP over HTTP), from a thread. If it does not take them,
        they are dropped."""
        resource = Resource.create({"service.name": AGENT})
        named = resource.merge(OTELResourceDetector().detect())
        provider = TracerProvider(resource=named, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        try:
            yield cls(provider)
        finally:
            # A daemon: nobody waits for it any longer than that, the interpreter neither.
            sending = threading.Thread(target=provider.shutdown, daemon=True)
            sending.start()
            await asyncio.to_thread(sending.join, CLOSE_SECONDS)
            if sending.is_alive():
                exporter.shutdown()  # type: ignore[no-untyped-call]

    def begin(self, run_id: str) -> RunTrace:
        """The trace of a run that begins now. Call it in the task that carries the run: what that
        asks for belongs to the trace."""
        return RunTrace(_Spans(self._tracer, time.time_ns()), run_id)


class _Spans:
    """Makes the spans of one run; times are in seconds since it began."""

    def __init__(self, tracer: Tracer, began: int) -> None:
        self._tracer = tracer
        self._began = began  # nanoseconds since the epoch

    def now(self) -> float:
        return (time.time_ns() - self._began) / 1e9

    def start(
        self,
        name: str,
        at: float,
        within: Context,
        attributes: Mapping[str, str | int],
        links: Sequence[Link] = (),
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        began = self._began + int(at * 1e9)
        return self._tracer.start_span(name, within, kind, attributes, links, began)

    def end(self, span: Span | None, at: float, fault: str = "") -> None:
        """A span that has ended already stays as it is."""
        if span is None or not span.is_recording():
            return
        if fault:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", fault)
        span.end(self._began + int(at * 1e9))


class RunTrace:
    """The spans of one run; `note` each of its events, then `close` it."""

    def __init__(self, spans: _Spans, run_id: str) -> None:
        caller = _W3C.extract(trace_context.headers(), Context())
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": AGENT,
            "gen_ai.provider.name": PROVIDER,
            "headstart.run.id": run_id,
        }
        self._spans = spans
        self._root = spans.start(f"invoke_agent {AGENT}", 0.0, caller, attributes)
        self._inside = set_span_in_context(self._root, Context())
        self._model = ""
        self._plan: Span | None = None  # while it is written
        self._chat: Span | None = None  # the request for it
        self._asked: float | None = None  # since when its first text is waited for
        self._plan_fault = ""
        self._sealed: dict[int, TaskSealed] = {}  # tasks that have not ended
        self._calls: dict[int, Span] = {}  # of tasks that were started
        self._join_began: float | None = None  # when a plan and its tasks had ended
        headers: dict[str, str] = {}
        _W3C.inject(headers, self._inside)
        trace_context.enter(headers)

    def note(self, event: Event) -> None:
        if not self._root.is_recording():  # somebody has decided that it isn't wanted
            return
        match event:
            case PlanText(at=at):
                if self._asked is not None:
                    self._note_first_text(at, self._asked)
            case RunStarted(model=model):
                self._model = model
                self._root.set_attribute("gen_ai.request.model", model)
            case PlanStarted(plan=number, at=at):
                self._start_plan(number, at)
            case LineRefused(at=at):
                self._spans.end(self._chat, at)
                self._chat, self._asked = None, at
            case PlanFinished():
                self._finish_plan(event)
            case TaskSealed(task_id=task_id):
                self._sealed[task_id] = event
            case TaskStarted():
                self._start_call(event)
            case TaskFinished(task_id=task_id, at=at):
                self._end_task(task_id, at)
            case TaskFailed() | TaskSkipped():
                self._end_task(event.task_id, event.at, event.reason)
            case TaskCancelled(task_id=task_id, at=at, reason=reason):
                self._spans.end(self._calls.get(task_id), at, reason)
            case Replan(at=at):
                self._tell_join(at)
            case RunFinished(at=at):
                self._tell_join(at)
                self._end(at)
            case RunFailed(at=at, reason=reason, message=message):
                if reason != NOT_JOINED and message != self._plan_fault:
                    self._tell_join(at, reason)
                self._end(at, reason)
            case RunCancelled(at=at, reason=reason):
                self._tell_join(at, reason)
                self._end(at, reason)

    def close(self) -> None:
        """Ends what is open. That is something only by a fault of ours."""
        self._end(self._spans.now(), "internal")

    def _start_plan(self, number: int, at: float) -> None:
        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": "plan",
            "gen_ai.agent.name": AGENT,
            "headstart.plan": number,
        }
        self._plan = self._spans.start(f"plan {AGENT}", at, self._inside, attributes)
        self._chat, self._asked = self._start_chat(at), at

    def _start_chat(self, at: float) -> Span:
        """Within the plan that is written, or behind it."""
        within = set_span_in_context(self._plan, Context()) if self._plan else self._inside
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": self._model,
        }
        name = f"chat {self._model}"
        return self._spans.start(name, at, within, attributes, kind=SpanKind.CLIENT)

    def _note_first_text(self, at: float, asked: float) -> None:
        if self._chat is None:  # for one that goes on from a line that was refused
            self._chat = self._start_chat(asked)
        self._chat.set_attribute("gen_ai.response.time_to_first_chunk", at - asked)
        self._asked = None

    def _finish_plan(self, event: PlanFinished) -> None:
        fault = "" if event.ended_by == "join" else event.ended_by
        # An error that ends a request is the engine's: a line that was refused has ended it before.
        self._spans.end(self._chat, event.at, "engine" if fault == "error" else "")
        self._spans.end(self._plan, event.at, fault)
        self._plan, self._chat, self._plan_fault = None, None, event.message
        self._look_for_join(event.at)

    def _start_call(self, event: TaskStarted) -> None:
        task = self._sealed[event.task_id]
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": task.tool,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": str(task.task_id),
            "headstart.where": event.where,
        }
        inputs = [self._calls[id] for id in task.needs if id in self._calls]
        links = [Link(span.get_span_context()) for span in inputs]
        name = f"execute_tool {task.tool}"
        self._calls[task.task_id] = self._spans.start(
            name, event.at, self._inside, attributes, links
        )

    def _end_task(self, task_id: int, at: float, fault: str = "") -> None:
        del self._sealed[task_id]
        self._spans.end(self._calls.get(task_id), at, fault)
        self._look_for_join(at)

    def _look_for_join(self, at: float) -> None:
        if self._plan is None and not self._sealed:
            self._join_began = at

    def _tell_join(self, at: float, fault: str = "") -> None:
        """The request for a join is known by its end. Where tasks were cancelled there is none."""
        if self._join_began is not None:
            self._spans.end(self._start_chat(self._join_began), at, fault)
            self._join_began = None

    def _end(self, at: float, fault: str = "") -> None:
        for span in (*self._calls.values(), self._chat, self._plan, self._root):
            self._spans.end(span, at, fault)
