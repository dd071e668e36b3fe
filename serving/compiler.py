"""A run, from question to answer: plan, run, join, and plan again at most N times.

The name is from *An LLM Compiler for Parallel Function Calling* (arXiv 2312.04511).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, closing, nullcontext, suppress
from typing import Any

from executor.errors import EngineError, PlanError, RunError, UsageError
from executor.events import EventLog, Replan, RunCancelled, RunFailed, RunFinished, RunStarted, told
from executor.execution import Execution
from executor.executor import Executor
from executor.fetching import Outcome, State
from executor.plan import Task
from executor.schema_size import Schema
from executor.tools import ToolBox
from executor.values import shorten, text_of
from planner_prompts import render
from planner_prompts.examples import Example
from planner_prompts.grammar import join_regex, plan_regex
from planner_prompts.messages import Message
from serving.answers import AnswerForm
from serving.joiner import Ending, join, join_in_form
from serving.metered import Metered
from serving.model import Model, Sampling, fits
from serving.planner import Planner
from serving.settings import Settings

FEWER_RESULT_CHARS = (500, 120)  # of one result in the prompt, if as many as wanted don't fit


def answer(
    question: str,
    *,
    toolbox: ToolBox,
    model: Model,
    settings: Settings,
    examples: Sequence[Example] = (),
    answer_schema: Schema | None = None,
    executor: Executor | None = None,
) -> AbstractAsyncContextManager[EventLog]:
    """`async with answer(...) as events`: one run's events, as they happen.

    The arguments are those of Run. Leaving the block early cancels the run: the engine stops
    writing and no task is left. What goes wrong in a run is its last event; an exception at the end
    of the block is a bug.
    """
    run = Run(
        question,
        toolbox=toolbox,
        model=model,
        settings=settings,
        examples=examples,
        answer_schema=answer_schema,
        executor=executor,
    )
    return told(run.tell)


class Run:
    """One question on its way to the answer."""

    def __init__(
        self,
        question: str,
        *,
        toolbox: ToolBox,
        model: Model,
        settings: Settings,
        examples: Sequence[Example] = (),
        earlier: Sequence[Message] = (),
        answer_schema: Schema | AnswerForm | None = None,
        executor: Executor | None = None,
        place: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        """`examples` are worked examples for the caller's own tools, `earlier` what was said in the
        chat that the question ends. With `answer_schema`, a JSON Schema or a form that is made
        of one, the answer is JSON that fits it, spelled on one line.

        Runs that share an `executor`, one that has all tools of the toolbox, share their limits;
        without, a run has its own. Where those are few it has a `place` to take: it waits for that
        before it plans, within its deadline.

        Raises UsageError for a question or a schema that can't be used.
        """
        if not question.strip():
            raise UsageError("the question is empty; write one")
        if question != question.encode(errors="replace").decode():
            raise UsageError("the question holds half a character; write it in UTF-8")
        # Imports Outlines here: a second that is no part of the run.
        plan_regex(toolbox, 1, settings.max_tasks, settings.backend)
        self.id = secrets.token_hex(8)
        self._question = question
        self.toolbox = toolbox
        self._model = Metered(model)
        self._settings = settings
        if answer_schema is None or isinstance(answer_schema, AnswerForm):
            self._form = answer_schema
        else:
            self._form = AnswerForm.of(answer_schema, settings.backend)
        self._executor = executor
        self._place = place or nullcontext()
        asked = render.in_chat(earlier, question)
        self._transcript = render.opening(toolbox, examples, asked, model.profile)

    async def tell(self, log: EventLog) -> None:
        """The whole run, within its deadline; the log gets exactly one last word."""
        tools = [tool.name for tool in self.toolbox]
        log.emit(
            RunStarted(
                run_id=self.id,
                question=self._question,
                model=self._model.name,
                tools=tools,
            )
        )
        limit = asyncio.timeout(self._settings.deadline)
        try:
            async with limit, self._place:
                text = await self._rounds(log)
        except asyncio.CancelledError:
            log.emit(
                RunCancelled(**self._end(log, "closed", "the run was closed before its answer"))
            )
            raise
        except (EngineError, RunError) as error:
            reason = error.reason if isinstance(error, RunError) else "engine"
            log.emit(RunFailed(**self._end(log, reason, str(error))))
        except Exception as error:
            if limit.expired() and isinstance(error, TimeoutError):
                message = f"no answer within the deadline of {self._settings.deadline:g} s"
                log.emit(RunFailed(**self._end(log, "deadline", message)))
                return
            log.emit(RunFailed(**self._end(log, "internal", repr(error))))
            raise
        else:
            log.emit(RunFinished(answer=text, stats=log.stats(), usage=self._model.usage))
        finally:
            del limit  # it holds the task, which holds a bug's error, which holds this frame

    def _end(self, log: EventLog, reason: str, message: str) -> dict[str, Any]:
        """What is said of a run that has no answer."""
        stats, usage = log.stats(), self._model.usage
        return {"reason": reason, "message": message, "stats": stats, "usage": usage}

    async def _rounds(self, log: EventLog) -> str:
        if self._executor is not None:
            return await self._plans(Execution(self._executor, log, self.toolbox), log)
        with closing(Executor(self.toolbox, max_running=self._settings.max_running)) as own:
            return await self._plans(Execution(own, log, self.toolbox), log)

    async def _plans(self, execution: Execution, log: EventLog) -> str:
        tasks: dict[int, Task] = {}  # of all plans
        for number in range(1, self._settings.max_plans + 1):
            await self.check_room()
            planner = Planner(
                self._model, self.toolbox, self._settings, number=number, earlier=tasks
            )
            with suppress(PlanError):  # told by plan_finished; what is sealed goes on to the joiner
                async with aclosing(planner.tasks(self._transcript, log)) as sealed:
                    await execution.perform(sealed)
            tasks = {**tasks, **{task.id: task for task in planner.sealed}}
            self._transcript.append(render.plan_message(planner.text))

            may_replan = number < self._settings.max_plans
            outcomes = execution.outcomes
            ending = await self._join(planner.sealed, outcomes, may_replan=may_replan, log=log)
            if ending.answer is not None:
                return ending.answer
            log.emit(Replan(plan=number + 1, reason=ending.reason))
            self._transcript += render.replan_messages(ending.text, planner.next_id)
        raise AssertionError("the last round offers no replan")

    async def check_room(self) -> None:
        """Raises RunError if the prompt leaves no room for a plan."""
        most = self._settings.plan_tokens
        if not await fits(self._model, self._transcript, most):
            count = await self._model.count_tokens(self._transcript)
            raise RunError(
                "question_too_long",
                f"the prompt has {count} tokens and the plan may take {most}, but "
                f"{self._model.name} holds {self._model.context_tokens}; ask for less",
            )

    async def _join(
        self,
        tasks: Sequence[Task],
        outcomes: Mapping[int, Outcome],
        *,
        may_replan: bool,
        log: EventLog,
    ) -> Ending:
        """`outcomes` are those of all plans so far, `tasks` those of the last one."""
        most, form = self._settings.answer_tokens, self._form
        schema = form.schema if form else None
        for limit in (self._settings.result_chars, *FEWER_RESULT_CHARS):
            results = {id: shorten(_text(outcome), limit) for id, outcome in outcomes.items()}
            message = render.results_message(tasks, results, self.toolbox, schema)
            if await fits(self._model, [*self._transcript, message], most):
                break
        else:
            raise RunError(
                "results_too_long",
                f"the results of {len(tasks)} tasks don't fit into the "
                f"{self._model.context_tokens} tokens of {self._model.name}; ask for less at once",
            )
        self._transcript.append(message)
        regex = join_regex(replan=may_replan, answer=form.type if form else None)
        sampling = Sampling(most, regex, self._settings.temperature)
        if form is None:
            return await join(self._model, self._transcript, sampling, log)
        rewrites = self._settings.max_rewrites
        return await join_in_form(self._model, self._transcript, sampling, log, form, rewrites)


def _text(outcome: Outcome) -> str:
    """A result, or why there is none, as the joiner reads it."""
    if outcome.state is State.DONE:
        return text_of(outcome.value)
    return f"{outcome.state}: {outcome.message}"
