"""Schemas and answers that would keep a computer busy for hours: they are given up, in time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from gateways import PLAN, gateway
from test_gateway import problem

from serving.scripted import SteadyModel

A = "a" * 40
SLOW_TO_CHECK = {"enum": [A + "!"], "not": {"pattern": "^(a+)+$"}}
SLOW_TO_READ = {
    "type": "object",
    "properties": {
        f"p{i}": {"type": "string", "pattern": f"^(a|b|{i})*a(a|b){{17}}$"} for i in range(16)
    },
}


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.gateway.guarded.SECONDS", 4.0)  # a process begins in two


async def test_a_schema_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        asked = {"question": "?", "answer_schema": SLOW_TO_READ}
        refusing = asyncio.ensure_future(client.post("/v1/runs", asked))
        while not refusing.done():
            assert (await client.get("/livez")).status == 200  # nobody else is held up
        told = await problem(refusing.result())
        assert told[:2] == (422, "invalid-request")
        assert "can't be read within 4 s" in told[2]


async def test_an_answer_that_takes_too_long_to_check_ends_its_run(tmp_path: Path) -> None:
    model = SteadyModel(PLAN, f'Answer: "{A}!"')
    async with gateway(tmp_path, model) as client:
        asked: dict[str, Any] = {"question": "?", "answer_schema": SLOW_TO_CHECK}
        run = await (await client.post("/v1/runs", asked)).json()
        assert (run["status"], run["error"]["reason"]) == ("failed", "no_ending")
        assert "can't be checked by its schema within 4 s" in run["error"]["message"]
        good = {"question": "?", "answer_schema": {"type": "string"}}
        assert (await (await client.post("/v1/runs", good)).json())["answer"] == f'"{A}!"'
