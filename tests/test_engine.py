"""Runs on the real engine with real weights: what must be true of every one of them."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace

import aiohttp
import psutil
import pytest

from executor.builtin import TOOLBOX, calculate
from executor.errors import EngineError
from executor.events import (
    Event,
    PlanText,
    RunFailed,
    RunFinished,
    TaskFailed,
    TaskFinished,
    TaskSealed,
    TaskSkipped,
    TaskStarted,
)
from executor.tools import Tool, ToolBox, tool
from planner_prompts.messages import Message
from planner_prompts.profile import FEW_SHOT, TUNED, Profile
from planner_prompts.render import opening
from serving.compiler import answer
from serving.engine import Engine
from serving.model import Sampling, VllmModel
from serving.settings import Settings
from serving.warmup import prove_grammar, reply

pytestmark = pytest.mark.engine

QUESTION = "Which is taller, Mount Everest or K2?"


async def events_of(
    model: VllmModel, question: str = QUESTION, toolbox: ToolBox = TOOLBOX, **changes: object
) -> list[Event]:
    settings = replace(Settings(), **changes)  # type: ignore[arg-type]
    async with answer(question, toolbox=toolbox, model=model, settings=settings) as events:
        return [event async for event in events]


def only(kind: type[Event], events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


async def metric(engine: Engine, name: str) -> float:
    """The engine's own word, summed over the labels."""
    async with aiohttp.ClientSession() as session, session.get(f"{engine.url}/metrics") as reply:
        text = await reply.text()
    values = re.findall(rf"^(?:{name})\{{.*\}} (\S+)$", text, re.M)
    assert values
    return sum(map(float, values))


async def requests_running(engine: Engine) -> float:
    return await metric(engine, "vllm:num_requests_running|vllm:num_requests_waiting")


def test_two_starts_at_once_end_with_one_engine(engine: Engine, settings: Settings) -> None:
    """The fixture starts it twice."""
    found = psutil.process_iter(["cmdline"])  # None of one that has just ended
    commands = {process.pid: " ".join(process.info["cmdline"] or ()) for process in found}
    weights = str(settings.cache_dir)
    servers = [pid for pid, line in commands.items() if "api_server" in line and weights in line]
    assert servers == [engine.pid]
    assert [path.name[0] for path in (settings.cache_dir / "models").iterdir()] == ["h"]


@pytest.mark.parametrize(("profile", "most"), [(FEW_SHOT, 1000), (TUNED, 200)])
async def test_the_bundled_prompt_is_short(model: VllmModel, profile: Profile, most: int) -> None:
    messages = opening(TOOLBOX, (), QUESTION, profile)
    assert await model.count_tokens(messages) <= most


async def test_a_long_prompt_stays_in_the_prefix_cache(engine: Engine) -> None:
    async with engine.connect(FEW_SHOT) as model:
        await events_of(model, "Who are you?")
        before = await metric(engine, "vllm:prefix_cache_hits_total")
        await events_of(model)
        assert await metric(engine, "vllm:prefix_cache_hits_total") - before >= 512


async def test_the_embedded_model_is_tuned(model: VllmModel) -> None:
    assert model.profile == TUNED


async def test_the_question_of_the_readme_is_answered_right(model: VllmModel) -> None:
    events = await events_of(model)
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert "8849 m, Mount Everest is taller" in last.answer


async def test_tools_start_before_the_plan_is_written(model: VllmModel) -> None:
    events = await events_of(model)
    first_start = events.index(only(TaskStarted, events)[0])
    last_line = max(
        index
        for index, event in enumerate(events)
        if isinstance(event, PlanText) and "join" in event.text
    )
    assert first_start < last_line
    stats = events[-1].stats  # type: ignore[attr-defined]
    assert stats.time_to_first_task < stats.plan_seconds
    independent = [event for event in only(TaskSealed, events) if not event.needs]  # type: ignore[attr-defined]
    assert len(independent) >= 2


@pytest.mark.parametrize(
    "text", ["Ç", "the 1915 Çanakkale Bridge", "Übersee, Śląsk, Ålesund, Žatec", "a 日本 😀 ŋ ก"]
)
async def test_any_letter_can_be_written_under_a_grammar(model: VllmModel, text: str) -> None:
    messages = [Message(role="user", content="Say hello.")]
    assert await reply(model, messages, Sampling(max_tokens=64, regex=f"= {text}")) == f"= {text}"


async def test_closing_a_run_in_the_middle_leaves_nothing(engine: Engine, model: VllmModel) -> None:
    cancelled = asyncio.Event()

    @tool
    async def search(query: str) -> str:
        """Never answers."""
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    before = asyncio.all_tasks()
    toolbox = ToolBox([search, calculate])
    async with answer(QUESTION, toolbox=toolbox, model=model, settings=Settings()) as events:
        async for event in events:
            if isinstance(event, TaskStarted):
                break
        assert await requests_running(engine) == 1
    assert cancelled.is_set()
    closed = time.monotonic()
    while await requests_running(engine):
        assert time.monotonic() - closed < 1.0
    assert asyncio.all_tasks() == before


@tool
def _raises(query: str) -> str:
    """Looks up one fact."""
    raise RuntimeError("the database is on fire")


@tool(timeout=0.5)
async def _hangs(query: str) -> str:
    """Looks up one fact."""
    await asyncio.Event().wait()
    raise AssertionError


@tool(timeout=0.5)
def _hangs_in_a_thread(query: str) -> str:
    """Looks up one fact."""
    time.sleep(5)
    return "too late"


@tool
def _nonsense(query: str) -> object:
    """Looks up one fact."""
    return {"\x00": [object(), b"\xff", float("nan")]}


@pytest.mark.parametrize(
    ("broken", "event_type", "said"),
    [
        (_raises, TaskFailed, "RuntimeError: the database is on fire"),
        (_hangs, TaskFailed, "no answer within its 0.5 s"),
        (_hangs_in_a_thread, TaskFailed, "no answer within its 0.5 s"),
        (_nonsense, TaskFinished, "object object"),
    ],
    ids=["raises", "hangs", "hangs in a thread", "returns nonsense"],
)
async def test_a_broken_tool_still_ends_in_an_answer(
    model: VllmModel, broken: Tool, event_type: type[Event], said: str
) -> None:
    toolbox = ToolBox([replace(broken, name="search"), calculate])
    events = await events_of(model, toolbox=toolbox, deadline=60.0, max_plans=1)
    assert isinstance(events[-1], RunFinished)
    ended = [str(event) for event in only(event_type, events)]
    assert any(said in text for text in ended)
    assert event_type is TaskFinished or only(TaskSkipped, events)


async def test_a_question_that_cannot_fit_is_refused_by_its_tokens(
    engine: Engine, model: VllmModel
) -> None:
    events = await events_of(model, question="How tall is it? " * 6250)
    last = events[-1]
    assert isinstance(last, RunFailed)
    assert last.reason == "question_too_long"
    assert re.search(r"the prompt has \d{5} tokens .* holds 8192; ask for less", last.message)
    assert not only(PlanText, events)


async def test_text_of_every_script_survives_the_way_through(model: VllmModel) -> None:
    sampling = Sampling(max_tokens=40, regex='"(é|漢|🏔|\\$\\$){6}"', temperature=1.0)
    text = await reply(model, [{"role": "user", "content": "Ünïcödé 漢字 🏔"}], sampling)
    assert re.fullmatch(sampling.regex or "", text)


async def test_an_engine_that_ignores_grammars_is_found_out(model: VllmModel) -> None:
    await prove_grammar(model)  # ours passes

    class Forgetful(VllmModel):
        def stream(self, messages, sampling):  # type: ignore[no-untyped-def]
            return super().stream(messages, replace(sampling, regex=None))

    forgetful = Forgetful(model._server, model.name, model.context_tokens)
    with pytest.raises(EngineError, match="does not obey grammars"):
        await prove_grammar(forgetful)


async def test_a_grammar_that_cannot_compile_is_the_engines_fault(model: VllmModel) -> None:
    impossible = Sampling(max_tokens=4, regex="(?=a)a")
    with pytest.raises(EngineError, match="the engine"):
        await reply(model, [{"role": "user", "content": "x"}], impossible)


async def test_a_wrong_key_and_a_wrong_model_say_so(engine: Engine) -> None:
    with pytest.raises(EngineError, match="refuses the key"):
        async with VllmModel.connect(engine.url, "wrong"):
            pass
    with pytest.raises(EngineError, match="serves embedded, not 'other'"):
        async with VllmModel.connect(engine.url, engine.key, "other"):
            pass


@pytest.mark.ends_engine
async def test_an_engine_that_dies_in_a_run_ends_it_with_its_log(engine: Engine) -> None:
    (core,) = (process for process in engine.processes() if "EngineCore" in process.name())
    async with engine.connect() as model:
        settings = Settings()
        async with answer(QUESTION, toolbox=TOOLBOX, model=model, settings=settings) as events:
            async for event in events:
                if isinstance(event, PlanText):
                    core.kill()
    assert isinstance(event, RunFailed)
    assert event.reason == "engine"
    assert "the engine died" in event.message
    assert "last lines of" in event.message
