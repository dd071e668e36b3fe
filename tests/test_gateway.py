"""The gateway over HTTP: runs as resources, their events as streams, and what goes wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateways import ENDING, PLAN, Client, SlowGuard, gateway, quick_model

from executor.errors import EngineError
from executor.tools import ToolBox, tool
from planner_prompts.messages import Message
from serving.gateway.database import KeptEvent
from serving.gateway.problems import Problem
from serving.gateway.runs import STARTS_PER_TURN, Runs
from serving.model import Delta, Sampling
from serving.scripted import Chunk, Reply, ScriptedModel, SteadyModel
from serving.settings import Settings

STREAM = {"Accept": "text/event-stream"}
FOREVER = [Chunk("1. ", 0.0), Chunk("join()", 3600.0)]


class Waiting(SteadyModel):
    """Writes when it may; tells when it is asked."""

    def __init__(self, plan: Reply = PLAN, ending: Reply = ENDING) -> None:
        super().__init__(plan, ending)
        self.is_asked = asyncio.Event()
        self.may_end = asyncio.Event()

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[AsyncIterator[Delta]]:
        async with super().stream(messages, sampling) as deltas:
            self.is_asked.set()
            await self.may_end.wait()
            yield deltas


async def messages(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The events of a stream; each message's id and type agree with its event."""
    text = ""
    async for line in response.content:
        text += line.decode()
        if not text.endswith("\n\n"):
            continue
        fields = dict(each.split(": ", 1) for each in text.splitlines() if each[:1] not in ":")
        text = ""
        if fields:
            event = json.loads(fields["data"])
            assert (int(fields["id"]), fields["event"]) == (event["seq"], event["type"])
            yield event


async def all_events(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    assert response.status == 200, await response.text()
    assert response.content_type == "text/event-stream"
    return [event async for event in messages(response)]


async def problem(response: aiohttp.ClientResponse) -> tuple[int, str, str]:
    """Status, type and detail of an error."""
    assert response.content_type == "application/problem+json"
    told = await response.json()
    assert told["status"] == response.status
    return response.status, told["type"].removeprefix("urn:headstart:problem:"), told["detail"]


async def until(client: Client, path: str, type: str) -> dict[str, Any]:
    """Waits until the run has had an event of this type; returns the run."""
    async with aclosing(messages(await client.get(f"{path}/events"))) as events:
        async for event in events:
            if event["type"] == type:
                run: dict[str, Any] = await (await client.get(path)).json()
                return run
    raise AssertionError(f"it ended without {type}")


async def test_a_question_is_answered_as_json(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        asked = {"question": "What is 21 * 2?", "metadata": {"from": "a test"}}
        response = await client.post("/v1/runs", asked)
        run = await response.json()
        assert (response.status, run["status"], run["answer"]) == (200, "finished", "It is 42.")
        assert run["metadata"] == {"from": "a test"}
        assert run["stats"]["critical_path"][-1] == 2
        assert response.headers["Location"] == f"/v1/runs/{run['id']}"
        assert await (await client.get(f"/v1/runs/{run['id']}")).json() == run


async def test_a_question_is_answered_as_a_stream_of_events(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        events = await all_events(await client.post("/v1/runs", {"question": "?"}, **STREAM))
        assert [event["seq"] for event in events] == list(range(len(events)))
        assert "".join(e["text"] for e in events if e["type"] == "plan_text") == PLAN
        told = "".join(e["text"] for e in events if e["type"] == "answer_text")
        assert told == "It is 42."
        assert events[-1]["type"] == "run_finished"


async def test_events_are_told_as_they_happen(tmp_path: Path) -> None:
    first = '1. calculate("20 + 1")\n'
    plan = [Chunk(first), Chunk(PLAN.removeprefix(first), 3600.0)]
    async with gateway(tmp_path, SteadyModel(plan, ENDING)) as client:
        response = await client.post("/v1/runs", {"question": "?"}, **STREAM)
        async with aclosing(messages(response)) as events:
            async for event in events:  # long before the plan's second line is written
                if event["type"] == "task_finished":
                    assert event["result"] == "21"
                    break


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "after its end"])
async def test_a_stream_goes_on_behind_the_last_event_that_was_seen(
    tmp_path: Path, is_live: bool
) -> None:
    async with gateway(tmp_path) as client:
        asked = {"question": "?", "on_disconnect": "continue"}
        response = await client.post("/v1/runs", asked, **STREAM)
        seen = []
        async with aclosing(messages(response)) as events:
            async for event in events:
                seen.append(event)
                if event["type"] == "task_sealed":
                    break
        response.close()
        id = seen[0]["run_id"]
        if not is_live:
            await until(client, f"/v1/runs/{id}", "run_finished")
        last = str(seen[-1]["seq"])
        rest = await all_events(
            await client.get(f"/v1/runs/{id}/events", **{"Last-Event-ID": last})
        )
        assert [event["seq"] for event in [*seen, *rest]] == list(range(len(seen) + len(rest)))
        assert rest[-1]["type"] == "run_finished"
        assert await all_events(await client.get(f"/v1/runs/{id}/events")) == [*seen, *rest]
        nothing = {"Last-Event-ID": str(rest[-1]["seq"])}
        assert await all_events(await client.get(f"/v1/runs/{id}/events", **nothing)) == []


@pytest.mark.parametrize("headers", [{}, STREAM], ids=["json", "stream"])
@pytest.mark.parametrize("wanted", ["cancel", "continue"])
async def test_what_becomes_of_a_run_whose_reader_goes(
    tmp_path: Path, headers: dict[str, str], wanted: str
) -> None:
    model = Waiting()
    async with gateway(tmp_path, model) as client:
        asked = {"question": "?", "on_disconnect": wanted}
        asking = asyncio.ensure_future(client.post("/v1/runs", asked, **headers))
        await model.is_asked.wait()
        [live] = client.gateway.runs.going_on
        await anext(live.follow(-1, 60.0))  # it can be seen from now on
        path = f"/v1/runs/{live.run.id}"
        if headers:
            (await asking).close()
        asking.cancel()
        if wanted == "cancel":
            assert (await until(client, path, "run_cancelled"))["status"] == "cancelled"
            assert model.open_streams == 0
        else:
            model.may_end.set()
            assert (await until(client, path, "run_finished"))["status"] == "finished"


async def test_a_run_can_be_cancelled(tmp_path: Path) -> None:
    model = SteadyModel(FOREVER, ENDING)
    async with gateway(tmp_path, model) as client:
        asked = {"question": "?", "on_disconnect": "continue"}
        response = await client.post("/v1/runs", asked, **STREAM)
        path = response.headers["Location"]
        cancelled = await (await client.delete(path)).json()
        assert (cancelled["status"], cancelled["error"]["reason"]) == ("cancelled", "closed")
        assert model.open_streams == 0
        assert (await all_events(response))[-1]["type"] == "run_cancelled"
        assert await (await client.delete(path)).json() == cancelled


async def test_runs_are_listed_the_latest_first_a_page_at_a_time(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        made = []
        for number in range(5):
            run = await (await client.post("/v1/runs", {"question": str(number)})).json()
            made.append(run["id"])
        listed, before = [], ""
        while before is not None:
            page = await (await client.get(f"/v1/runs?limit=2{before}")).json()
            listed += [run["id"] for run in page["runs"]]
            before = page["next"] and f"&before={page['next']}"
        assert listed == made[::-1]


async def test_a_run_may_use_the_tools_that_it_names_only(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        asked = {"question": "?", "tools": ["search"], "max_plans": 1}
        run = await (await client.post("/v1/runs", asked)).json()
        assert run["tools"] == ["search"]
        events = await all_events(await client.get(f"/v1/runs/{run['id']}/events"))
        assert not [event for event in events if event["type"] == "task_sealed"]


async def test_the_tools_are_listed(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        [search, calculate] = (await (await client.get("/v1/tools")).json())["tools"]
        assert (search["name"], calculate["name"]) == ("search", "calculate")
        assert search["parameters"]["required"] == ["query"]


# What is refused

REFUSED = {
    "no JSON": (b"{", {}, 400, "bad-request", "Invalid JSON: EOF while parsing an object"),
    "deep JSON": (b'{"question": ' + b"[" * 100_000, {}, 400, "bad-request", "recursion limit"),
    "not UTF-8": (b'{"question": "\xff"}', {}, 400, "bad-request", "Invalid JSON"),
    "no object": (b"[1]", {}, 422, "invalid-request", "Input should be an object"),
    "no question": (b"{}", {}, 422, "invalid-request", "question: Field required"),
    "empty": (b'{"question": " "}', {}, 422, "invalid-request", "the question is empty"),
    "of another type": (
        b'{"question": 1, "max_plans": true}',
        {},
        422,
        "invalid-request",
        "question: Input should be a valid string; max_plans: Input should be a valid integer",
    ),
    "unknown member": (
        b'{"question": "?", "tool": []}',
        {},
        422,
        "invalid-request",
        "tool: Extra inputs are not permitted",
    ),
    "unknown tool": (
        b'{"question": "?", "tools": ["fly"]}',
        {},
        422,
        "invalid-request",
        "no such tool: fly; there are: search, calculate",
    ),
    "schema that can't be held": (
        b'{"question": "?", "answer_schema": {"type": "dog"}}',
        {},
        422,
        "invalid-request",
        "the answer's schema",
    ),
    "no time": (
        b'{"question": "?", "deadline_seconds": 0}',
        {},
        422,
        "invalid-request",
        "deadline_seconds: Input should be greater than 0",
    ),
    "no number": (
        b'{"question": "?", "deadline_seconds": NaN}',
        {},
        422,
        "invalid-request",
        "deadline_seconds: Input should be greater than 0",
    ),
    "half a character": (b'{"question": "\\ud800"}', {}, 400, "bad-request", "Invalid JSON"),
    "too much": (b'{"question": "' + b"x" * 1_000_000, {}, 413, "body-too-large", "1000000 bytes"),
    "longer than the model": (
        b'{"question": "' + b"one word " * 9_000 + b'"}',
        {},
        422,
        "question-too-long",
        "tokens and the plan may take 1024, but scripted holds 8192",
    ),
    "a form": (
        b"question=hi",
        {"Content-Type": "application/x-www-form-urlencoded"},
        415,
        "unsupported-media-type",
        "send application/json",
    ),
}


@pytest.mark.parametrize(
    ("body", "headers", "status", "type", "detail"), REFUSED.values(), ids=REFUSED
)
async def test_a_bad_request_is_a_problem_that_says_what_to_do(
    tmp_path: Path, body: bytes, headers: dict[str, str], status: int, type: str, detail: str
) -> None:
    async with gateway(tmp_path) as client:
        sent = {"Content-Type": "application/json", **headers}
        response = await client.send("POST", "/v1/runs", data=body, headers=sent)
        told = await problem(response)
        assert told[:2] == (status, type)
        assert detail in told[2]
        assert (await (await client.get("/v1/runs")).json())["runs"] == []


NOT_THERE = {
    "no such run": ("GET", "/v1/runs/nope", 404, "not-found"),
    "events of no run": ("GET", "/v1/runs/nope/events", 404, "not-found"),
    "no run to cancel": ("DELETE", "/v1/runs/nope", 404, "not-found"),
    "no such page": ("GET", "/v2", 404, "not-found"),
    "no such method": ("PUT", "/v1/runs", 405, "method-not-allowed"),
    "no such limit": ("GET", "/v1/runs?limit=0", 422, "invalid-request"),
    "too many": ("GET", "/v1/runs?limit=101", 422, "invalid-request"),
    "limit that is no number": ("GET", "/v1/runs?limit=%C2%B2", 422, "invalid-request"),
}


@pytest.mark.parametrize(("method", "path", "status", "type"), NOT_THERE.values(), ids=NOT_THERE)
async def test_what_is_not_there(
    tmp_path: Path, method: str, path: str, status: int, type: str
) -> None:
    async with gateway(tmp_path) as client:
        told = await problem(await client.send(method, path))
        assert told[:2] == (status, type)


async def test_an_event_id_that_is_none_is_refused(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        run = await (await client.post("/v1/runs", {"question": "?"})).json()
        bad = await client.get(f"/v1/runs/{run['id']}/events", **{"Last-Event-ID": "x"})
        assert (await problem(bad))[:2] == (400, "bad-request")


# Limits and faults


async def test_runs_wait_for_a_place_and_no_more_than_may_wait(tmp_path: Path) -> None:
    settings = Settings(max_runs=1, max_waiting=1)
    asked = {"question": "?", "on_disconnect": "continue"}
    async with gateway(tmp_path, SteadyModel(FOREVER, ENDING), settings=settings) as client:
        first = await client.post("/v1/runs", asked, **STREAM)
        second = await client.post("/v1/runs", asked, **STREAM)
        for path in ("/v1/runs", "/v1/chat/completions"):
            for body in (asked, b"what is never read"):
                content = {"data": body} if isinstance(body, bytes) else {"json": body}
                refused = await client.send("POST", path, **content)
                assert (await problem(refused))[:2] == (429, "too-many-runs")
        assert int(refused.headers["Retry-After"]) > 0
        assert "Content-Security-Policy" in refused.headers
        assert (await client.send("POST", "/v1/tools")).status == 405
        waiting = second.headers["Location"]
        assert (await (await client.get(waiting)).json())["status"] == "queued"
        await client.delete(first.headers["Location"])
        assert (await until(client, waiting, "plan_started"))["status"] == "running"
        await client.post("/v1/runs", asked, **STREAM)
        client.gateway.is_draining = True  # which says more than that there is no room
        refused = await client.post("/v1/runs", asked)
        assert (await problem(refused))[:2] == (503, "shutting-down")


async def test_a_place_is_kept_while_a_request_is_weighed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = SlowGuard(refusal="that is no schema")
    async with gateway(tmp_path, settings=Settings(max_runs=1, max_waiting=0)) as client:
        monkeypatch.setattr(client.gateway, "guard", guard)
        asked = {"question": "?", "answer_schema": {"type": "object"}}
        first = asyncio.create_task(client.post("/v1/runs", asked))
        await guard.is_asked.wait()
        refused = await client.post("/v1/runs", {"question": "?"})
        assert (await problem(refused))[:2] == (429, "too-many-runs")
        guard.may_end.set()
        assert (await problem(await first))[:2] == (422, "invalid-request")
        assert (await client.post("/v1/runs", {"question": "?"})).status == 200


async def test_who_finds_no_room_is_told_before_a_crowd_is_served(tmp_path: Path) -> None:
    many, places, told, all_told = 5 * STARTS_PER_TURN, 3 * STARTS_PER_TURN, [], asyncio.Event()

    async def ask(runs: Runs) -> None:
        try:
            async with runs.room(""):
                told.append("go on")
                if len(told) == many:
                    all_told.set()
                await all_told.wait()
        except Problem as problem:
            told.append(problem.type)

    async with gateway(tmp_path, settings=Settings(max_runs=places, max_waiting=0)) as client:
        await asyncio.gather(*(ask(client.gateway.runs) for _ in range(many)))
    first, refused = ["go on"] * STARTS_PER_TURN, ["too-many-runs"] * (many - places)
    assert told == [*first, *refused, *["go on"] * (places - STARTS_PER_TURN)]


async def test_a_run_may_be_cancelled_while_it_waits(tmp_path: Path) -> None:
    settings = Settings(max_runs=1, max_waiting=2)
    asked = {"question": "?", "on_disconnect": "continue"}
    async with gateway(tmp_path, SteadyModel(FOREVER, ENDING), settings=settings) as client:
        first, second, third = [await client.post("/v1/runs", asked, **STREAM) for _ in range(3)]
        cancelled = await (await client.delete(second.headers["Location"])).json()
        assert cancelled["status"] == "cancelled"
        await client.delete(first.headers["Location"])
        await until(client, third.headers["Location"], "plan_started")


async def test_the_deadline_holds_while_a_run_waits(tmp_path: Path) -> None:
    settings = Settings(max_runs=1)
    async with gateway(tmp_path, SteadyModel(FOREVER, ENDING), settings=settings) as client:
        await client.post("/v1/runs", {"question": "?", "on_disconnect": "continue"}, **STREAM)
        asked = {"question": "?", "deadline_seconds": 0.05}
        run = await (await client.post("/v1/runs", asked)).json()
        assert (run["status"], run["error"]["reason"]) == ("failed", "deadline")


async def test_a_run_that_the_engine_fails_says_so(tmp_path: Path) -> None:
    model = ScriptedModel([[EngineError("the engine stopped")]])
    async with gateway(tmp_path, model) as client:
        response = await client.post("/v1/runs", {"question": "?"})
        run = await response.json()
        assert (response.status, run["status"]) == (200, "failed")
        assert run["error"] == {"reason": "engine", "message": "the engine stopped"}


@pytest.mark.parametrize("path", ["/v1/runs", "/readyz"])
async def test_nothing_begins_without_an_engine(tmp_path: Path, path: str) -> None:
    def dead() -> SteadyModel:
        raise EngineError("the engine is starting")

    async with gateway(tmp_path) as client:
        client.gateway.model = dead
        asked = {"question": "?"} if path == "/v1/runs" else None
        response = await client.send("POST" if asked else "GET", path, json=asked)
        assert await problem(response) == (503, "engine-unavailable", "the engine is starting")
        assert response.headers["Retry-After"]
        assert (await client.get("/livez")).status == 200
        client.gateway.model = quick_model
        assert (await client.get("/readyz")).status == 200


async def test_a_fault_of_ours_is_told_without_its_story(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(tmp_path) as client:
        monkeypatch.setattr(client.gateway.runs, "latest", None)
        response = await client.get("/v1/runs")
        assert (await problem(response))[:2] == (500, "internal")
        assert "NoneType" not in await response.text()
        assert "NoneType" in caplog.text


async def test_who_shuts_down_begins_nothing_and_lets_runs_end(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        asked = {"question": "?", "on_disconnect": "continue"}
        response = await client.post("/v1/runs", asked, **STREAM)
        client.gateway.is_draining = True
        closing = asyncio.ensure_future(client.gateway.runs.close(60, asyncio.Event()))
        assert (await problem(await client.get("/readyz")))[:2] == (503, "shutting-down")
        assert (await problem(await client.post("/v1/runs", asked)))[1] == "shutting-down"
        assert (await all_events(response))[-1]["type"] == "run_finished"
        await closing


async def test_what_has_not_ended_in_the_grace_time_is_cancelled(tmp_path: Path) -> None:
    async with gateway(tmp_path, SteadyModel(FOREVER, ENDING)) as client:
        response = await client.post("/v1/runs", {"question": "?"}, **STREAM)
        await client.gateway.runs.close(0, asyncio.Event())
        assert (await all_events(response))[-1]["type"] == "run_cancelled"


async def test_tools_keep_their_limits_over_all_runs(tmp_path: Path) -> None:
    running = most = 0

    @tool(max_running=1)
    async def alone() -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return "done"

    model = SteadyModel("1. alone()\n2. alone()\n3. join()\n", ENDING)
    async with gateway(tmp_path, model, ToolBox([alone])) as client:
        runs = await asyncio.gather(*(client.post("/v1/runs", {"question": "?"}) for _ in range(5)))
        assert [(await run.json())["status"] for run in runs] == ["finished"] * 5
        assert most == 1


async def test_a_fault_of_ours_in_a_run_ends_it_for_all_who_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def inc(self) -> None:
            raise KeyError("ours")

    async with gateway(tmp_path) as client:
        monkeypatch.setattr(client.gateway.metrics, "task", lambda *_: Broken())
        response = await client.post("/v1/runs", {"question": "?"}, **STREAM)
        events = await all_events(response)
        assert (events[-1]["type"], events[-1]["reason"]) == ("run_failed", "internal")
        assert [event["seq"] for event in events] == list(range(len(events)))
        run = await (await client.get(response.headers["Location"])).json()
        assert (run["status"], run["error"]["reason"]) == ("failed", "internal")
        assert "ours" in caplog.text


async def test_a_packed_body_is_not_unpacked(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        packed = gzip.compress(b'{"question": "?"}')
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        response = await client.send("POST", "/v1/runs", data=packed, headers=headers)
        assert (await problem(response))[:2] == (415, "unsupported-media-type")


async def test_a_head_has_no_events(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        run = await (await client.post("/v1/runs", {"question": "?"})).json()
        response = await client.send("HEAD", f"/v1/runs/{run['id']}/events")
        assert response.status == 405


async def test_a_body_with_very_many_faults_is_refused_in_few_words(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        for path, asked in (
            ("/v1/runs", {"question": "?", "tools": [1] * 100_000}),
            ("/v1/chat/completions", {"model": "scripted", "messages": [{}] * 100_000}),
        ):
            response = await client.post(path, asked)
            assert (await problem(response))[:2] == (422, "invalid-request")
            assert len(await response.read()) < 10_000


async def test_a_list_has_long_questions_shortened(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        run = await (await client.post("/v1/runs", {"question": "x" * 20_000})).json()
        [listed] = (await (await client.get("/v1/runs")).json())["runs"]
        assert len(listed["question"]) < 1_100
        assert len((await (await client.get(f"/v1/runs/{run['id']}")).json())["question"]) == 20_000


async def test_a_fault_of_ours_in_a_stream_cuts_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: KeptEvent) -> str:
        if event.type == "task_sealed":
            raise KeyError("ours")
        return f"data: {event.json}\n\n"

    monkeypatch.setattr("serving.gateway.streams._message", fail)
    async with gateway(tmp_path) as client:
        response = await client.post("/v1/runs", {"question": "?"}, **STREAM)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        assert "ours" in caplog.text
