"""How a tool's calls are run: declared where the tool is declared, checked there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal, TypedDict

from executor.errors import ToolDefinitionError

Place = Literal["loop", "thread", "process"]


class Options(TypedDict, total=False):
    """The fields of Policy, as keywords of `@tool`."""

    timeout: float
    retries: int
    retryable: tuple[type[Exception], ...]
    max_running: int
    rate: float
    runs_in: Place
    eager: bool
    idempotent: bool
    cache_seconds: float
    exclusive: str | Callable[..., str]
    on_input_error: Literal["skip", "pass"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a tool's calls are run. Limits hold over all runs of an executor.

    A call that fails is tried again up to `retries` times, after a wait that doubles each time, if
    the error is one of `retryable`, or if the tool is idempotent. An error in the arguments never
    is. Each try has its own `timeout`, in seconds.

    `rate` is of starts a second; a call has one, however often it is tried. Of calls with the same
    `exclusive` key, which may hang on the arguments, one runs at a time, whatever the tool.
    `runs_in` is by default the event loop for an async function and a thread for a plain one. A
    thread can't be killed: a call that outlives its time limit there is left behind, and goes on
    using what it uses. A process can.

    `eager=False` marks side effects: such a call waits until the whole plan is sealed and valid.
    `idempotent=True` lets equal calls of a run share one execution, and `cache_seconds` lets
    later ones of any run have its result. With `on_input_error="pass"` a call is made though one
    of its inputs failed; in the place of the result it gets the text "error: " and what is known.
    """

    timeout: float = 30.0
    retries: int = 0
    retryable: tuple[type[Exception], ...] = ()
    max_running: int | None = None
    rate: float | None = None
    runs_in: Place | None = None
    eager: bool = True
    idempotent: bool = False
    cache_seconds: float = 0.0
    exclusive: str | Callable[..., str] | None = None
    on_input_error: Literal["skip", "pass"] = "skip"

    def check(self, tool_name: str, *, is_async: bool) -> None:
        """Raises ToolDefinitionError for what makes no sense."""
        faults = {
            "timeout must be above 0 seconds": not self.timeout > 0,
            "retries must not be below 0": self.retries < 0,
            "retries need idempotent=True, or the errors that are retryable": (
                self.retries > 0 and not (self.idempotent or self.retryable)
            ),
            "max_running must be at least 1": self.max_running is not None and self.max_running < 1,
            "rate must be above 0 a second, and not endless": self.rate is not None
            and not 0 < self.rate < inf,
            "cache_seconds must not be below 0": self.cache_seconds < 0,
            "cache_seconds need idempotent=True": self.cache_seconds > 0 and not self.idempotent,
            "runs_in must be loop, thread or process": (
                self.runs_in not in (None, "loop", "thread", "process")
            ),
            "an async function runs in the loop": is_async and self.runs_in not in (None, "loop"),
            "a plain function would hold up the loop; it runs in a thread or a process": (
                not is_async and self.runs_in == "loop"
            ),
            "on_input_error must be skip or pass": self.on_input_error not in ("skip", "pass"),
        }
        for fault, is_there in faults.items():
            if is_there:
                raise ToolDefinitionError(f"{tool_name}: {fault}")
