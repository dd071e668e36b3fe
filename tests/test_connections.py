"""Connections, below the requests that they bring: what is no HTTP, and how many there may be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gateways import gateway
from test_slow_peers import all_of, connect, send_all

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
            await send_all(raw, sent)
            head, _, body = (await all_of(raw)).partition(b"\r\n\r\n")
        assert head.split()[1] == b"400"
        assert b"Content-Type: application/problem+json" in head
        assert b"Server: headstart\r\n" in head
        told = json.loads(body)
        assert told["type"] == "urn:headstart:problem:bad-request"
        assert detail in told["detail"]
        counted = await (await client.get("/metrics")).text()
    assert 'headstart_problems_total{type="bad-request"} 1.0' in counted
    assert not caplog.records


async def test_a_host_that_is_no_text_is_another_host(tmp_path: Path) -> None:
    async with gateway(tmp_path) as client:
        with await connect(client) as raw:
            request = b"GET /v1/runs HTTP/1.1\r\nHost: ev\xffil\r\nConnection: close\r\n\r\n"
            await send_all(raw, request)
            assert (await all_of(raw)).startswith(b"HTTP/1.1 403")


async def test_who_comes_when_all_places_are_taken_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serving.gateway.server.MOST_CONNECTIONS", 2)
    async with gateway(tmp_path) as client:
        assert (await client.get("/livez")).status == 200  # over the first, which stays open
        with await connect(client) as second, await connect(client) as third:
            assert await all_of(third) == b""
            await send_all(second, GET + b"\r\n")
            assert (await all_of(second)).startswith(b"HTTP/1.1 200 OK")
        with await connect(client) as next:
            await send_all(next, GET + b"\r\n")
            assert (await all_of(next)).startswith(b"HTTP/1.1 200 OK")
        assert (await client.get("/livez")).status == 200
    assert caplog.messages == ["2 connections are open; more are sent away"] * 2
