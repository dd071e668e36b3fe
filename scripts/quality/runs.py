"""Runs a case, as users have it, and judges what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from executor.errors import PlanError
from executor.events import (
    Event,
    PlanFinished,
    PlanText,
    Replan,
    RunFailed,
    RunFinished,
    TaskFinished,
    TaskSealed,
    TaskStarted,
)
from executor.executor import Executor
from executor.parser import tasks_of
from executor.plan import Task
from executor.tools import ToolBox
from planner_prompts.messages import Message
from quality.canonical import argument_values, same_plan, sinks, tool_names
from quality.cases import Case
from quality.verdicts import answer_right, near, numbers_in, same_result
from quality.wrappers import Recorder, Request, ablated
from serving.compiler import answer
from serving.model import Model
from serving.settings import Settings

ROW_TOLERANCE = 0.05  # of the last calculation, where only a row's own answer is known
CALCULATOR = "calculate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds since the run began, of a run that had the engine to itself."""

    first_token: float | None
    first_task: float | None
    all: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a case. Marks are None where they are not defined.

    `values` are how many of the gold plan's argument values are there, and how many it has.
    Tokens are counted by the engine's tokenizer from the texts, `ending_tokens` over all endings
    and `plan_tokens` over all plans; `prompt_tokens` is the first plan's prompt.
    """

    id: str
    question: str
    shape: str
    width: int
    gold: str
    plan: str
    results: dict[int, str]
    answer: str
    ended: str  # answer, plan (where no more was wanted), or the reason of the failure
    exact: bool | None
    useful: bool | None
    right: bool | None
    replan: bool | None
    tools: bool | None
    values: tuple[int, int] | None
    prompt_tokens: int
    plan_tokens: int
    ending_tokens: int
    times: Times | None


@dataclass(slots=True)
class Story:
    """What a run's events have told so far."""

    plan: str = ""  # the first one
    answer: str = ""
    ended: str = "plan"
    replanned: bool = False
    first_token: float | None = None
    first_task: float | None = None
    now: float = 0.0
    tools: dict[int, str] = field(default_factory=dict)
    results: dict[int, str] = field(default_factory=dict)

    def note(self, event: Event) -> None:
        self.now = event.at
        match event:
            case PlanText(plan=1, text=text):
                self.first_token = event.at if self.first_token is None else self.first_token
                self.plan += text
            case TaskSealed(task_id=id, tool=tool):
                self.tools[id] = tool
            case TaskStarted() if self.first_task is None:
                self.first_task = event.at
            case TaskFinished(task_id=id, result=result):
                self.results[id] = result
            case Replan():
                self.replanned = True
            case RunFinished(answer=text):
                self.ended, self.answer = "answer", text
            case RunFailed(reason=reason):
                self.ended = reason

    @property
    def last_calculation(self) -> str:
        """Its result; empty if there is none."""
        ids = [id for id in self.results if self.tools[id] == CALCULATOR]
        return self.results[max(ids)] if ids else ""


async def run(
    case: Case,
    model: Model,
    settings: Settings,
    *,
    without: str | None = None,
    timed: bool = False,
) -> Outcome:
    """One run, `without` one of the ABLATIONS if it is named.

    Raises EngineError if the engine is gone; a run that fails for itself has an outcome.
    """
    recorder = Recorder(model)
    story = Story()
    given = ablated(recorder, case.toolbox, without)
    async with answer(
        case.question, toolbox=case.toolbox, model=given, settings=settings
    ) as events:
        async for event in events:
            story.note(event)
            if case.plan_only and isinstance(event, PlanFinished):
                break
    written = _parsed(story.plan, case.toolbox)
    times = Times(first_token=story.first_token, first_task=story.first_task, all=story.now)
    plans, endings = recorder.requests[::2], recorder.requests[1::2]
    return Outcome(
        id=case.id,
        question=case.question,
        shape=case.shape,
        width=case.width,
        gold=case.gold_text,
        plan=story.plan,
        results=story.results,
        answer=story.answer,
        ended=story.ended,
        exact=None if case.gold is None else written is not None and same_plan(case.gold, written),
        useful=await _useful(case, written, story),
        right=None if case.plan_only else answer_right(case.right, story.answer),
        replan=_replan_right(case, story),
        tools=_tools_right(case, written),
        values=_values_right(case, written),
        prompt_tokens=await model.count_tokens(plans[0].messages) if plans else 0,
        plan_tokens=await _tokens(model, plans),
        ending_tokens=await _tokens(model, endings),
        times=times if timed else None,
    )


def _parsed(plan: str, toolbox: ToolBox) -> list[Task] | None:
    try:
        return tasks_of(plan, toolbox)
    except PlanError:
        return None


async def _useful(case: Case, written: Sequence[Task] | None, story: Story) -> bool | None:
    if case.gold is not None:
        return await yields_the_same(case, written) if case.has_results else None
    if case.number is None:
        return None
    found = numbers_in(story.last_calculation)
    return any(near(number, case.number, ROW_TOLERANCE) for number in found)


async def yields_the_same(case: Case, written: Sequence[Task] | None) -> bool | None:
    """Whether the written plan ends in each result that the gold plan ends in.

    None if the gold plan's last tasks all fail, as where another plan must follow.
    """
    assert case.gold is not None
    if not case.gold:
        return written == []
    gold = await results_of(case.gold, case.toolbox)
    wanted = [gold[id] for id in sinks(case.gold) if id in gold]
    if not wanted:
        return None
    results = await results_of(written, case.toolbox) if written else {}
    # Not the results on the way: a look-up is not yet the greatest of several.
    found = [results[id] for id in sinks(written or ()) if id in results]
    return all(any(same_result(result, each) for each in found) for result in wanted)


async def results_of(tasks: Sequence[Task], toolbox: ToolBox) -> dict[int, str]:
    """The results of the tasks that have one, by id, as text."""

    async def each() -> AsyncIterator[Task]:
        for task in tasks:
            yield task

    async with Executor(toolbox).run(each()) as events:
        finished = [event async for event in events if isinstance(event, TaskFinished)]
    return {event.task_id: event.result for event in finished}


def _replan_right(case: Case, story: Story) -> bool | None:
    if case.replans is None:
        return None
    return story.ended == "answer" and story.replanned == case.replans


def _tools_right(case: Case, written: Sequence[Task] | None) -> bool | None:
    if case.gold is None or not case.plan_only:
        return None
    return written is not None and tool_names(written) == tool_names(case.gold)


def _values_right(case: Case, written: Sequence[Task] | None) -> tuple[int, int] | None:
    if case.gold is None or not case.plan_only:
        return None
    gold = argument_values(case.gold)
    return (gold & argument_values(written or ())).total(), gold.total()


async def _tokens(model: Model, requests: Iterable[Request]) -> int:
    """How many tokens the replies have, by the difference that each makes to a prompt."""
    replies = [request.reply for request in requests if request.reply]
    if not replies:
        return 0
    empty = await _count(model, "")
    return sum([await _count(model, reply) - empty for reply in replies])


async def _count(model: Model, text: str) -> int:
    return await model.count_tokens([Message(role="user", content=text)])
