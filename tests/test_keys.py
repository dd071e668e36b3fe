"""Who may use the gateway, and for what."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gateways import ENDING, SlowGuard, gateway
from test_cli import headstart
from test_gateway import FOREVER, STREAM, all_events, problem

from executor.builtin import TOOLBOX
from executor.errors import UsageError
from executor.tools import ToolBox, tool
from serving.gateway import keys
from serving.gateway.keys import Caller, Key, Keys
from serving.gateway.problems import Problem
from serving.model import VllmModel
from serving.scripted import SteadyModel
from serving.settings import Settings

BOTH = '1. search("K2")\n2. calculate("1 + 1")\n3. join()\n'
ASKED = {"question": "?"}


def a_key(directory: Path, name: str = "a", **limits: Any) -> dict[str, str]:
    """Makes a key with these limits; returns the header to send."""
    none = dict.fromkeys(("tools", "max_runs", "runs_per_minute", "days"))
    key = keys.add(directory / "keys.json", name, **{**none, **limits})
    return {"Authorization": f"Bearer {key}"}


PATHS = [
    ("POST", "/v1/runs"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/runs/x"),
    ("DELETE", "/v1/runs/x"),
    ("GET", "/v1/runs/x/events"),
    ("GET", "/v1/tools"),
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
]


@pytest.mark.parametrize(("method", "path"), PATHS, ids=[" ".join(each) for each in PATHS])
@pytest.mark.parametrize(
    "sent", [{}, {"Authorization": "Bearer hs_x"}, {"Authorization": "Basic hs_x"}], ids=str
)
async def test_where_keys_are_on_all_needs_one(
    tmp_path: Path, method: str, path: str, sent: dict[str, str]
) -> None:
    a_key(tmp_path)
    async with gateway(tmp_path) as client:
        refused = await client.send(method, path, headers=sent, json=ASKED)
        assert (await problem(refused))[:2] == (401, "unauthorized")
        assert refused.headers["WWW-Authenticate"] == "Bearer"


async def test_every_route_under_v1_is_in_the_table_above(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        listed = {
            (
                route.method,
                (route.resource.canonical if route.resource else "").replace("{id}", "x"),
            )
            for route in client.app.router.routes()
            if route.method != "HEAD"
        }
        assert {each for each in listed if each[1].startswith("/v1/")} == set(PATHS)


async def test_a_key_opens_and_its_runs_are_its_own(tmp_path: Path) -> None:
    mine, other = a_key(tmp_path, "mine"), a_key(tmp_path, "other")
    async with gateway(tmp_path) as client:
        run = await (await client.post("/v1/runs", ASKED, **mine)).json()
        assert run["status"] == "finished"
        path = f"/v1/runs/{run['id']}"
        assert (await client.get(path, **mine)).status == 200
        assert len((await (await client.get("/v1/runs", **mine)).json())["runs"]) == 1
        assert (await (await client.get("/v1/runs", **other)).json())["runs"] == []
        for hidden in (path, f"{path}/events"):
            assert (await problem(await client.get(hidden, **other)))[0] == 404
        assert (await client.send("DELETE", path, headers=other)).status == 404


async def test_a_live_run_is_its_owners_too(tmp_path: Path) -> None:
    mine, other = a_key(tmp_path, "mine"), a_key(tmp_path, "other")
    async with gateway(tmp_path, SteadyModel(FOREVER, ENDING)) as client:
        response = await client.post("/v1/runs", ASKED, **mine, **STREAM)
        path = response.headers["Location"]
        assert (await client.get(path, **other)).status == 404
        assert (await client.get(f"{path}/events", **other)).status == 404
        assert (await client.send("DELETE", path, headers=other)).status == 404
        assert (await client.send("DELETE", path, headers=mine)).status == 200


async def test_a_keys_tools_are_all_that_its_runs_have(tmp_path: Path) -> None:
    """Neither asked for, nor written, nor run."""
    limited = a_key(tmp_path, tools=("calculate",))
    async with gateway(tmp_path, SteadyModel(BOTH, ENDING)) as client:
        [listed] = (await (await client.get("/v1/tools", **limited)).json())["tools"]
        assert listed["name"] == "calculate"
        asked = {**ASKED, "tools": ["search", "calculate"]}
        told = await problem(await client.post("/v1/runs", asked, **limited))
        assert told == (403, "forbidden", "the key a may not use search; it may use calculate")
        run = await (await client.post("/v1/runs", ASKED, **limited)).json()
        assert run["tools"] == ["calculate"]
        events = await all_events(await client.get(f"/v1/runs/{run['id']}/events", **limited))
        started = [event["tool"] for event in events if event["type"] == "task_sealed"]
        assert "search" not in started  # though the model writes it: it obeys no grammar


async def test_a_key_has_its_own_limit_of_runs(tmp_path: Path) -> None:
    one, free = a_key(tmp_path, "one", max_runs=1), a_key(tmp_path, "free")
    async with gateway(tmp_path, SteadyModel(FOREVER, ENDING)) as client:
        first = await client.post("/v1/runs", ASKED, **one, **STREAM)
        refused = await client.post("/v1/runs", ASKED, **one)
        assert await problem(refused) == (
            429,
            "too-many-runs",
            "the key one may have 1 runs at once, and has them",
        )
        assert (await client.post("/v1/runs", ASKED, **free, **STREAM)).status == 200
        await client.send("DELETE", first.headers["Location"], headers=one)
        assert (await client.post("/v1/runs", ASKED, **one, **STREAM)).status == 200


async def test_no_key_is_looked_at_where_there_is_no_room(tmp_path: Path) -> None:
    key, settings = a_key(tmp_path), Settings(max_runs=1, max_waiting=0)
    async with gateway(tmp_path, SteadyModel(FOREVER, ENDING), settings=settings) as client:
        assert (await client.post("/v1/runs", ASKED, **key, **STREAM)).status == 200
        assert (await client.post("/v1/runs", ASKED)).status == 429
        assert (await client.get("/v1/runs")).status == 401


async def test_a_keys_limit_holds_while_its_requests_are_weighed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could take all places with what takes long to weigh."""
    guard = SlowGuard()
    one, free = a_key(tmp_path, "one", max_runs=1), a_key(tmp_path, "free")
    async with gateway(tmp_path, settings=Settings(max_runs=2, max_waiting=0)) as client:
        monkeypatch.setattr(client.gateway, "guard", guard)
        asked = {**ASKED, "answer_schema": {"type": "object"}}
        first = asyncio.create_task(client.post("/v1/runs", asked, **one))
        await guard.is_asked.wait()
        for _ in range(2):
            told = await problem(await client.post("/v1/runs", asked, **one))
            assert told == (
                429,
                "too-many-runs",
                "the key one may have 1 runs at once, and has them",
            )
        assert (await client.post("/v1/runs", ASKED, **free)).status == 200
        guard.may_end.set()
        assert (await first).status == 200


def test_a_start_that_fails_is_none() -> None:
    key = Key(name="a", hash="0" * 64, runs_per_minute=1, created=datetime.now(UTC))
    caller = Caller(key)
    with suppress(Problem), caller.starts(0.0):
        raise Problem("invalid-request", "it has no question")
    caller.check_start(int, 1.0)


def test_a_key_begins_so_many_runs_a_minute() -> None:
    key = Key(name="a", hash="0" * 64, runs_per_minute=2, created=datetime.now(UTC))
    caller = Caller(key)
    for now, waits in [(0.0, None), (10.0, None), (20.0, 41), (60.0, None), (61.0, 10)]:
        if waits is None:
            caller.check_start(int, now)
            with caller.starts(now):
                pass
        else:
            with pytest.raises(Problem) as refused:
                caller.check_start(int, now)
            assert refused.value.retry_after == waits


async def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    first = a_key(tmp_path, "first")
    async with gateway(tmp_path) as client:
        second = a_key(tmp_path, "second")
        assert (await client.get("/v1/runs", **second)).status == 200
        keys.remove(tmp_path / "keys.json", "first")
        assert (await client.get("/v1/runs", **first)).status == 401
        (tmp_path / "keys.json").write_text("half a fi")  # an editor's slip locks nobody out
        assert (await client.get("/v1/runs", **second)).status == 200
        (tmp_path / "keys.json").unlink()  # and lets nobody in
        assert (await client.get("/v1/runs")).status == 401


async def test_tools_of_a_key_that_are_not_there_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header = a_key(tmp_path, "slip", tools=("serch", "calculate"))
    a_key(tmp_path, "right", tools=("search",))
    async with gateway(tmp_path) as client:
        a_key(tmp_path, "free")  # so that the file is read again
        [listed] = (await (await client.get("/v1/tools", **header)).json())["tools"]
        assert listed["name"] == "calculate"
    [told] = [record for record in caplog.messages if "names tools" in record]
    assert told == (
        "the key slip names tools that are not here: serch; there are: search, calculate"
    )


async def test_a_change_elsewhere_does_not_forget_what_a_key_has_used(tmp_path: Path) -> None:
    used = a_key(tmp_path, "used", runs_per_minute=1)
    async with gateway(tmp_path) as client:
        assert (await client.post("/v1/runs", ASKED, **used)).status == 200
        a_key(tmp_path, "another")
        assert (await client.post("/v1/runs", ASKED, **used)).status == 429


async def test_an_expired_key_is_none(tmp_path: Path) -> None:
    old = a_key(tmp_path, "old", days=-1.0)
    async with gateway(tmp_path) as client:
        told = await problem(await client.get("/v1/runs", **old))
        assert told == (401, "unauthorized", "the key old has expired")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[", "", "10.0.0.1"])
async def test_without_keys_a_name_from_elsewhere_opens_nothing(tmp_path: Path, host: str) -> None:
    async with gateway(tmp_path) as client:
        refused = await client.get("/v1/runs", Host=host)
        assert (await problem(refused))[0] in (400, 403)


@pytest.mark.parametrize("host", ["localhost:80", "127.0.0.2", "[::1]:8080"])
async def test_without_keys_the_loopback_has_several_names(tmp_path: Path, host: str) -> None:
    async with gateway(tmp_path) as client:
        assert (await client.get("/v1/runs", Host=host)).status == 200


async def test_no_key_is_written_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    header = a_key(tmp_path)
    secret = header["Authorization"].removeprefix("Bearer ")
    async with gateway(tmp_path) as client:
        await client.post("/v1/runs", ASKED, **header)
        await client.get("/v1/nothing", **header)
    assert secret not in caplog.text
    assert not [file for file in tmp_path.iterdir() if secret.encode() in file.read_bytes()]  # noqa: ASYNC240
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600


def test_to_listen_elsewhere_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none; make one with \./scripts/keys\.sh add NAME"):
        Keys(tmp_path / "keys.json", TOOLBOX, required=True)
    done = headstart(
        *("serve", "--host", "0.0.0.0", "--port", "0"), cache=tmp_path, HEADSTART_DATA=str(tmp_path)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "make one with ./scripts/keys.sh add NAME" in done.stderr


def test_the_command_makes_lists_and_removes_keys(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        done = headstart("keys", *arguments, cache=tmp_path, HEADSTART_DATA=str(tmp_path))
        return done.returncode, done.stdout, done.stderr

    code, made, _ = run("add", "crm", "--tools", "search, calculate", "--per-minute", "60")
    assert (code, made[:3], len(made)) == (0, "hs_", 47)
    keys.add(
        tmp_path / "keys.json", "old", tools=None, max_runs=None, runs_per_minute=None, days=-1.0
    )
    for days in ("nan", "1e12", "-1"):
        code, _, complaint = run("add", "never", "--days", days)
        assert (code, "Traceback" in complaint) == (2, False)
    _, listed, _ = run("list")
    [_, crm, old] = [line.split() for line in listed.splitlines()]
    assert crm == ["crm", "search,", "calculate", "any", "60", "never"]
    assert old[-1] == "(over)"
    assert made.strip() not in listed
    assert run("add", "crm")[0] == 2
    assert run("remove", "crm")[:2] == (0, "removed crm\n")
    assert run("remove", "crm")[0] == 2
    assert run("add", "")[0] == 2
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [{"name": "x"}]}))
    code, _, complaint = run("list")
    assert (code, len(complaint.splitlines())) == (2, 1)
    assert "can't read the keys in" in complaint


async def test_a_chat_has_no_other_tools_than_its_key(tmp_path: Path) -> None:
    limited = a_key(tmp_path, tools=("calculate",))
    async with gateway(tmp_path, SteadyModel(BOTH, ENDING)) as client:
        asked = {"model": "scripted", "messages": [{"role": "user", "content": "?"}]}
        done = await (await client.post("/v1/chat/completions", asked, **limited)).json()
        path = f"/v1/runs/{done['headstart']['id']}/events"
        events = await all_events(await client.get(path, **limited))
        assert "search" not in [event.get("tool") for event in events]


WARNINGS = {
    "none": ([], 0, ""),
    "bundled": (["--tools", "search, calculate"], 0, ""),
    "others": (
        ["--tools", "serch,calculate,stock"],
        0,
        "headstart: not among the bundled tools (search, calculate): serch, stock; "
        "is it a slip, or your tools file's?\n",
    ),
    "empty": (["--tools", ""], 2, "headstart: --tools is ''; name tools, with commas between\n"),
    "half": (["--tools", "a,"], 2, "headstart: --tools is 'a,'; name tools, with commas between\n"),
}


@pytest.mark.parametrize(("flags", "code", "said"), WARNINGS.values(), ids=WARNINGS)
def test_the_command_warns_of_tools_that_it_does_not_know(
    tmp_path: Path, flags: list[str], code: int, said: str
) -> None:
    done = headstart("keys", "add", "crm", *flags, cache=tmp_path, HEADSTART_DATA=str(tmp_path))
    assert (done.returncode, done.stderr) == (code, said)
    assert done.stdout.startswith("hs_") == (code == 0)


@tool
async def launch(rocket: str) -> str:
    """Launches a rocket."""
    raise AssertionError("it was launched")


@pytest.mark.engine
@pytest.mark.parametrize("way", ["/v1/runs", "/v1/chat/completions"])
async def test_a_wild_model_writes_and_runs_no_tool_that_its_key_may_not_use(
    model: VllmModel, settings: Settings, tmp_path: Path, way: str
) -> None:
    limited = a_key(tmp_path, tools=("search", "calculate"))
    short = {"plan_tokens": 120, "answer_tokens": 20, "max_plans": 1, "max_rewrites": 0}
    wild = replace(settings, temperature=2.0, **short)
    question = "Which is taller, Mount Everest or K2? Then launch the rocket Ariane."
    asked: dict[str, Any] = {"question": question, "on_disconnect": "continue"}
    if way != "/v1/runs":
        asked = {"model": model.name, "messages": [{"role": "user", "content": question}]}
    toolbox = ToolBox([*TOOLBOX, launch])
    async with gateway(tmp_path, model, toolbox, settings=wild) as client:
        await asyncio.gather(*(client.post(way, asked, **limited) for _ in range(8)))
        runs = (await (await client.get("/v1/runs", **limited)).json())["runs"]
        assert len(runs) == 8
        written = ""
        for run in runs:
            assert run["tools"] == ["search", "calculate"]
            events = await all_events(await client.get(f"/v1/runs/{run['id']}/events", **limited))
            plan = "".join(event["text"] for event in events if event["type"] == "plan_text")
            assert not re.search(r"^\d+\. launch", plan, re.M)
            tools = [event["tool"] for event in events if event["type"] == "task_sealed"]
            written += plan
            assert set(tools) <= {"search", "calculate"}
        assert written
