"""Connections, below the requests that they bring: what is no HTTP at all."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from gateways import gateway
from test_slow_peers import all_of, connect

HOST = b"Host: localhost\r\nConnection: close\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST
CHUNKED = b"POST /v1/runs HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n"

UNREADABLE = {
    "no request line": (b"nonsense\r\n\r\n", "Invalid method"),
    "no version": (b"GET / HTTP/x\r\n\r\n", "Invalid major version"),
    "a bad header": (GET + b"no colon\r\n\r\n", "Invalid header token"),
    "a long header": (GET + b"X: " + b"x" * 10_000 + b"\r\n\r\n", "more than 8190 bytes"),
    "many headers": (GET + b"X: x\r\n" * 200 + b"\r\n", "Too many headers"),
    "a bad chunk": (CHUNKED + b"zz\r\n", "Invalid character in chunk size"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTPS traffic"),
    "an Expect that is unknown": (GET + b"Expect: tea\r\n\r\n", "GET /livez: Expectation Failed"),
    "an Expect of what is not there": (
        b"GET /nope HTTP/1.1\r\nExpect: tea\r\n" + HOST + b"\r\n",
        "GET /nope: Expectation Failed",
    ),
}


@pytest.mark.parametrize(("sent", "detail"), UNREADABLE.values(), ids=UNREADABLE)
async def test_what_is_no_http_is_a_problem_and_no_fault_of_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sent: bytes, detail: str
) -> None:
    async with gateway(tmp_path) as client:
        with await connect(client) as raw:
            await asyncio.get_running_loop().sock_sendall(raw, sent)
            head, _, body = (await all_of(raw)).partition(b"\r\n\r\n")
        assert head.split()[1] == b"400"
        assert b"Content-Type: application/problem+json" in head
        told = json.loads(body)
        assert told["type"] == "urn:headstart:problem:bad-request"
        assert detail in told["detail"]
        counted = await (await client.get("/metrics")).text()
    assert 'headstart_problems_total{type="bad-request"} 1.0' in counted
    assert not caplog.records
