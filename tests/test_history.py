"""What the history keeps: through restarts, crashes, full disks, for as many days as wanted."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from gateways import gateway
from test_chat import ASKED
from test_gateway import STREAM, Waiting, all_events, messages, problem

from executor.errors import UsageError
from executor.events import PlanStarted, TaskStarted
from serving.gateway.bodies import Run
from serving.gateway.database import Batch, KeptEvent, commit, prepare
from serving.gateway.history import History

SERVER = """
import asyncio, sys
from pathlib import Path
from gateways import ENDING, PLAN, gateway
from serving.scripted import SteadyModel, at_rate

async def main():
    model = SteadyModel(at_rate(PLAN, 200), at_rate(ENDING, 200))
    async with gateway(Path(sys.argv[1]), model) as client:
        print(client.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
CLIENTS = 10


async def test_a_restart_finds_runs_and_their_events(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        run = await (await client.post("/v1/runs", {"question": "?"})).json()
        events = await all_events(await client.get(f"/v1/runs/{run['id']}/events"))
    async with gateway(tmp_path) as client:
        path = f"/v1/runs/{run['id']}"
        assert await (await client.get(path)).json() == run
        assert await all_events(await client.get(f"{path}/events")) == events
        assert (await (await client.get("/v1/runs")).json())["runs"] == [run]


async def test_what_was_seen_before_a_crash_is_there_after_it(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """And each run that it interrupted has a last word. Many crashes, under load."""
    rng, seen = random.Random(7), dict[str, list[dict[str, Any]]]()
    for _ in range(pytestconfig.getoption("--kills")):
        await see_until_killed(tmp_path, rng.randint(50, 2_000), seen)
    async with gateway(tmp_path) as client:
        interrupted = 0
        for id, events in seen.items():
            run = await (await client.get(f"/v1/runs/{id}")).json()
            kept = await all_events(await client.get(f"/v1/runs/{id}/events"))
            assert kept[: len(events)] == events
            assert [event["seq"] for event in kept] == list(range(len(kept)))
            if run["status"] == "finished":
                assert kept[-1]["type"] == "run_finished"
            else:
                interrupted += 1
                assert (run["status"], run["error"]["reason"]) == ("interrupted", "interrupted")
                assert (kept[-1]["type"], kept[-1]["reason"]) == ("run_failed", "interrupted")
                assert kept[-1]["stats"] == run["stats"]
        assert interrupted > 0


async def see_until_killed(
    directory: Path, many: int, seen: dict[str, list[dict[str, Any]]]
) -> None:
    """Asks question after question, and kills the gateway when so many events were seen."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, str(directory)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parent,
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    left = many

    async def ask(http: aiohttp.ClientSession) -> None:
        nonlocal left
        with suppress(aiohttp.ClientError):
            while True:
                async with http.post("/v1/runs", json={"question": "?"}, headers=STREAM) as got:
                    async for event in messages(got):
                        seen.setdefault(got.headers["Location"].rpartition("/")[2], []).append(
                            event
                        )
                        left -= 1
                        if left == 0:
                            process.kill()

    async with aiohttp.ClientSession(url) as http:
        await asyncio.gather(*(ask(http) for _ in range(CLIENTS)))
    await process.communicate()


async def test_runs_are_forgotten_after_their_days(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    async with History.open(tmp_path / "history.db", 30) as history:
        for id, days in (("young", 29), ("old", 31)):
            made = now - timedelta(days=days)
            run = Run(id=id, status="finished", question="?", tools=[], created_at=made)
            history.save(run, "", lambda _: None)
    async with History.open(tmp_path / "history.db", 30) as history:
        assert [run.id for run in await history.runs(None, None, 10)] == ["young"]


async def test_nothing_is_told_that_can_not_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as a disk is full, say; when it no longer is, all goes on."""
    monkeypatch.setattr("serving.gateway.history.RETRY_SECONDS", 0.01)
    async with gateway(tmp_path) as client:
        blocker = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
        monkeypatch.setattr(client.history._writer, "_db", None)
        monkeypatch.setattr("serving.gateway.database.BUSY_SECONDS", 0.01)
        blocker.execute("BEGIN IMMEDIATE")
        asking = asyncio.ensure_future(client.post("/v1/runs", {"question": "?"}))
        while (await client.get("/readyz")).status == 200:
            pass
        refused = await client.post("/v1/runs", {"question": "?"})
        assert (await refused.json())["type"].endswith("history-unavailable")
        assert not asking.done()
        blocker.execute("ROLLBACK")
        blocker.close()
        assert (await (await asking).json())["status"] == "finished"
        assert (await client.get("/readyz")).status == 200


async def test_a_file_that_is_damaged_meanwhile_is_a_fault_as_long_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.gateway.history.RETRY_SECONDS", 0.01)
    kept, faults = asyncio.Event(), list[str]()

    def damaged_at_first(db: sqlite3.Connection, batch: Batch) -> set[object]:
        faults.append(history.fault)
        if len(faults) == 1:
            raise sqlite3.DatabaseError("database disk image is malformed")
        return commit(db, batch)

    monkeypatch.setattr("serving.gateway.history.commit", damaged_at_first)
    async with History.open(tmp_path / "history.db", 30) as history:
        run = Run(id="run", status="queued", question="?", tools=[], created_at=datetime.now(UTC))
        history.save(run, "", lambda _: kept.set())
        async with asyncio.timeout(60):
            await kept.wait()
        assert [*faults, history.fault] == ["", "database disk image is malformed", ""]


@pytest.mark.parametrize("content", [b"no database" * 100, None], ids=["no database", "too new"])
async def test_a_file_that_can_not_be_used_is_a_line_that_says_so(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "history.db"
    if content is None:
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"can't keep the history of runs in .*history.db: .*HEAD"):
        async with History.open(path, 30):
            pass


async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    async with History.open(tmp_path / "made" / "history.db", 30):
        pass
    assert (tmp_path / "made" / "history.db").stat().st_mode & 0o777 == 0o600


async def test_a_second_gateway_with_the_same_history_does_not_begin(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        with pytest.raises(UsageError, match=r"another gateway keeps its history in .*history\.db"):
            async with gateway(tmp_path):
                pass
        run = await (await client.post("/v1/runs", {"question": "?"})).json()
        assert run["status"] == "finished"


async def test_a_run_that_can_not_be_kept_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told, event = dict[str, bool](), KeptEvent(0, "replan", "{}")
    async with History.open(tmp_path / "history.db", 30) as history:
        history.add("no such run", event, lambda is_kept: told.update(bad=is_kept))
        run = Run(id="good", status="queued", question="?", tools=[], created_at=datetime.now(UTC))
        history.save(run, "", lambda is_kept: told.update(run=is_kept))
        history.add("good", event, lambda is_kept: told.update(event=is_kept))
    assert "no such run can't be kept" in caplog.text
    assert told == {"bad": False, "run": True, "event": True}
    async with History.open(tmp_path / "history.db", 30) as history:
        first = await anext(history.events("good", -1))
    assert first[0] == event


@pytest.mark.parametrize("way", ["json", "stream", "chat"])
async def test_what_can_not_be_kept_is_not_shown_and_nobody_waits_for_it(
    tmp_path: Path, way: str
) -> None:
    """Somebody else has written the run's fourth event."""
    model = Waiting()
    async with gateway(tmp_path, model) as client:
        path, asked = "/v1/runs", {"question": "?"}
        if way == "chat":
            path, asked = "/v1/chat/completions", ASKED
        asking = asyncio.ensure_future(
            client.post(path, asked, **(STREAM if way == "stream" else {}))
        )
        await model.is_asked.wait()
        [live] = client.gateway.runs.going_on
        await anext(live.follow(-1, 60.0))  # it is in the history from now on
        change(
            tmp_path / "history.db",
            "INSERT INTO events SELECT number, 3, 'odd', '{}' FROM runs WHERE id = ?",
            live.run.id,
        )
        model.may_end.set()
        async with asyncio.timeout(60):
            answer = await asking
            if way == "stream":
                with pytest.raises(aiohttp.ClientPayloadError):
                    await all_events(answer)
            else:
                assert (await problem(answer))[:2] == (500, "internal")
        assert live.kept <= 3
    assert client.gateway.runs.going_on == []
    async with History.open(tmp_path / "history.db", 30) as history:
        [found] = await history.runs(None, None, 2)
    assert found.error is not None
    assert (found.status, found.error.reason) == ("failed", "internal")


async def test_nothing_is_shown_before_it_is_kept(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        asking = asyncio.ensure_future(client.post("/v1/runs", {"question": "?"}))
        with sqlite3.connect(tmp_path / "history.db") as reading:
            while not asking.done():
                for live in client.gateway.runs.going_on:
                    if live.shown is not None:
                        rows = reading.execute(
                            "SELECT status FROM runs WHERE id = ?", [live.run.id]
                        )
                        [(status,)] = rows.fetchall()
                        assert (live.shown.status, status) != ("finished", "queued")
                await asyncio.sleep(0)
        reading.close()
        await asking


async def test_a_run_with_events_of_another_version_is_interrupted_all_the_same(
    tmp_path: Path,
) -> None:
    async with History.open(tmp_path / "history.db", 30) as history:
        made = datetime.now(UTC)
        run = Run(id="old", status="running", question="?", tools=[], created_at=made)
        history.save(run, "", lambda _: None)
        odd = '{"type": "mood", "seq": 0, "at": 1.5}'
        history.add("old", KeptEvent(0, "mood", odd), lambda _: None)
    async with History.open(tmp_path / "history.db", 30) as history:
        [found] = await history.runs(None, None, 10)
        assert found.status == "interrupted"
        [[_, last]] = [page async for page in history.events("old", -1)]
        assert (last.seq, last.type) == (1, "run_failed")


DAMAGED: dict[str, str | bytes] = {
    "cut off": '{"id": "bad"',
    "no text": b"\xff{}",
    "of another version": '{"id": "bad", "question": "secret"}',
    "no object": "[]",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
async def test_a_run_that_can_not_be_read_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | bytes
) -> None:
    path = tmp_path / "history.db"
    async with History.open(path, 30) as history:
        for id in ("old", "bad", "new"):
            history.save(going_on(id), "", lambda _: None)
    change(path, "UPDATE runs SET run = CAST(? AS TEXT) WHERE id = 'bad'", text)
    async with History.open(path, 30) as history:
        assert "run bad was interrupted, and can't be read" in caplog.text
        assert "secret" not in caplog.text
        caplog.clear()
        for _ in range(2):
            assert [run.id for run in await history.runs(None, None, 2)] == ["new", "old"]
            assert await history.run("bad", None) is None
        [told] = caplog.messages
        assert told.startswith("run bad can't be read")
    assert change(path, "SELECT DISTINCT status FROM runs") == [("interrupted",)]


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
async def test_an_event_that_can_not_be_read_keeps_no_run_from_its_last_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | bytes
) -> None:
    path = tmp_path / "history.db"
    async with History.open(path, 30) as history:
        history.save(going_on("run"), "", lambda _: None)
        history.add("run", KeptEvent.of(PlanStarted(seq=4, at=1.5, plan=1)), lambda _: None)
        history.add("run", KeptEvent(5, "replan", "{}"), lambda _: None)
    change(path, "UPDATE events SET json = CAST(? AS TEXT) WHERE seq = 5", text)
    async with History.open(path, 30) as history:
        assert "event 5 of run run can't be read" in caplog.text
        [last] = await anext(history.events("run", 5))
        assert (last.seq, last.type) == (6, "run_failed")
        [found] = await history.runs(None, None, 1)
        assert found.stats is not None
        assert (found.status, found.stats.seconds) == ("interrupted", 1.5)


async def test_an_event_whose_beginning_is_damaged_keeps_no_gateway_from_its_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "history.db"
    async with History.open(path, 30) as history:
        history.save(going_on("run"), "", lambda _: None)
        started = TaskStarted(seq=1, at=0.5, task_id=1, args={}, where="loop", ready=0.4)
        history.add("run", KeptEvent.of(PlanStarted(seq=0, at=0.1, plan=1)), lambda _: None)
        history.add("run", KeptEvent.of(started), lambda _: None)  # its task was never sealed
        history.add("run", KeptEvent(2, "plan_started", ODD_TIME), lambda _: None)
    async with History.open(path, 30) as history:
        [last] = await anext(history.events("run", 2))
        assert (last.seq, last.type) == (3, "run_failed")


ODD_TIME = '{"type": "plan_started", "seq": 2, "at": "noon", "plan": 2}'


def test_a_fault_of_the_disk_undoes_all_of_a_batch(tmp_path: Path) -> None:
    """Or what is kept of it could not be kept when it is tried again."""
    batch = Batch(events=[(id, 0, "replan", "{}") for id in ("good", "bad", "other")])
    for id in ("good", "other"):
        batch.save(going_on(id), "")
    with closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as db:
        prepare(db)

        class Full:
            """A connection that can't commit."""

            in_transaction = property(lambda _: db.in_transaction)

            def execute(self, statement: str, values: tuple[object, ...] = ()) -> object:
                if statement == "COMMIT":
                    raise sqlite3.OperationalError("database or disk is full")
                return db.execute(statement, values)

        with pytest.raises(sqlite3.OperationalError):
            commit(cast(sqlite3.Connection, Full()), batch)
        assert commit(db, batch) == {"bad"}
        assert db.execute("SELECT count(*) FROM events").fetchone() == (2,)


def going_on(id: str) -> Run:
    return Run(id=id, status="running", question="secret", tools=[], created_at=datetime.now(UTC))


def change(path: Path, statement: str, *values: object) -> list[Any]:
    """What somebody else does to the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(statement, values).fetchall()
