"""The gateway's page in a real browser, with the real engine behind it.

What a model would rarely do is put between the two, as answers to the page's requests.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from gateways import with_engine
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    Page,
    Route,
    expect,
    sync_playwright,
)

from serving.engine import Engine
from serving.settings import Settings

pytestmark = pytest.mark.engine

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
QUESTION = "Which is taller, Mount Everest or K2?"
HOSTILE = (
    "<img src=x onerror=window.hacked=1></script><script>window.hacked=1</script>"
    "\"'><svg onload=alert(1)> javascript:alert(1)"
)
STATS = {
    "seconds": 2.0,
    "time_to_first_task": 0.3,
    "plan_seconds": 1.0,
    "tools_seconds": 0.9,
    "overlap_seconds": 0.4,
    "ideal_seconds": 1.9,
    "efficiency": 0.95,
    "critical_path": [1, 3],
}


@pytest.fixture(scope="module")
def page_url(
    engine: Engine, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with with_engine(tmp_path_factory.mktemp("gateway"), engine, settings) as url:
        yield url


@pytest.fixture(scope="module")
def browser(page_url: str) -> Iterator[Browser]:
    """Before the gateway's end it must be closed, with all its connections."""
    if not CHROMIUM:
        pytest.skip("there is no browser; install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says is wrong; breaches of the content security policy too."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def dismiss(dialog: Dialog) -> None:
        complaints.append(dialog.message)
        dialog.dismiss()

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", dismiss)
    yield page
    context.close()


def story(text: str = "8849 m") -> list[dict[str, Any]]:
    """A run with a task of each end, a refused line and a second plan; `text` is all over it."""
    line = {id: f'{id}. search("{text}")' for id in (1, 2, 3, 4)}
    sealed = {"tool": "search", "args": {"query": text}}
    started = {"args": {"query": text}, "where": "thread"}
    events: list[tuple[float, str, dict[str, Any]]] = [
        (0.0, "run_started", {"run_id": "r1", "question": text, "model": text, "tools": []}),
        (0.0, "a_type_of_the_future", {"text": text}),
        (0.1, "plan_started", {"plan": 1}),
        (0.2, "plan_text", {"plan": 1, "text": line[1]}),
        (0.3, "task_sealed", {"task_id": 1, "needs": [], "line": line[1], **sealed}),
        (0.3, "task_started", {"task_id": 1, "ready": 0.3, **started}),
        (0.4, "plan_text", {"plan": 1, "text": "\n" + line[2]}),
        (0.5, "task_sealed", {"task_id": 2, "needs": [], "line": line[2], **sealed}),
        (0.5, "task_started", {"task_id": 2, "ready": 0.5, **started}),
        (0.6, "plan_text", {"plan": 1, "text": f"\n3. search($1.{text})"}),
        (0.6, "line_refused", {"plan": 1, "task_id": 3, "line": f"3. {text}", "message": text}),
        (0.7, "plan_text", {"plan": 1, "text": "\n" + line[3]}),
        (0.7, "task_sealed", {"task_id": 3, "needs": [1], "line": line[3], **sealed}),
        (0.8, "task_finished", {"task_id": 1, "result": text, "seconds": 0.5, "tries": 2}),
        (0.8, "task_started", {"task_id": 3, "ready": 0.8, **started}),
        (0.9, "task_failed", {"task_id": 2, "reason": "error", "message": text, "tries": 1}),
        (1.0, "plan_text", {"plan": 1, "text": "\n4. join()"}),
        (1.0, "plan_finished", {"plan": 1, "tasks": 3, "ended_by": "join", "message": ""}),
        (1.1, "task_finished", {"task_id": 3, "result": text * 200, "seconds": 0.3, "tries": 1}),
        (1.2, "replan", {"plan": 2, "reason": text}),
        (1.2, "plan_started", {"plan": 2}),
        (1.3, "task_sealed", {"task_id": 4, "needs": [2], "line": line[4], **sealed}),
        (1.3, "task_skipped", {"task_id": 4, "reason": "input_failed", "message": text}),
        (1.4, "plan_finished", {"plan": 2, "tasks": 1, "ended_by": "length", "message": text}),
        (1.8, "answer_text", {"text": "It is "}),
        (1.9, "answer_text", {"text": text}),
        (2.0, "run_finished", {"answer": f"It is {text}", "stats": STATS}),
    ]
    return [{"type": type, "seq": i, "at": at, **rest} for i, (at, type, rest) in enumerate(events)]


def sse(events: list[dict[str, Any]]) -> str:
    return ": still here\n\n" + "".join(
        f"id: {event['seq']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
        for event in events
    )


def kept(status: str, question: str = QUESTION) -> dict[str, Any]:
    return {
        "id": "r1",
        "status": status,
        "question": question,
        "tools": [],
        "created_at": "2030-01-01T00:00:00Z",
    }


def put_in_place(page: Page, streams: list[str], status: str = "running") -> list[str | None]:
    """Run r1, whose events come as these streams, one a connection, the last for all that follow.

    Returns the Last-Event-ID of each connection.
    """
    asked: list[str | None] = []

    def events(route: Route) -> None:
        body = streams[min(len(asked), len(streams) - 1)]
        asked.append(route.request.headers.get("last-event-id"))
        route.fulfill(content_type="text/event-stream", body=body)

    page.route("**/v1/runs/r1/events", events)
    page.route("**/v1/runs/r1", lambda route: route.fulfill(json=kept(status)))
    return asked


def test_a_run_is_watched_from_question_to_answer(
    page: Page, page_url: str, complaints: list[str]
) -> None:
    response = page.goto(page_url)
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    expect(page.locator("#tools input").first).to_be_attached()

    page.get_by_label("Question", exact=True).fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#plan .sealed").first).to_contain_text("1. ")
    expect(page.locator(".node.done").first).to_be_visible()
    expect(page.locator("#run-status")).to_contain_text("Answered")

    expect(page.locator("#lanes .plan, #lanes .join")).to_have_count(2)
    tasks = page.locator("#lanes .task").count()
    assert tasks == page.locator(".node").count() > 0
    expect(page.locator("#answer")).to_have_text(re.compile(r"\w"))
    expect(page.locator("#answer")).not_to_have_text(re.compile("^(Not yet|None)"))
    expect(page.locator("#stats")).to_contain_text(re.compile(r"Efficiency\s*[01]\.\d{3}"))
    expect(page.locator("#past a[aria-current]")).to_contain_text(QUESTION)
    assert complaints == []


def test_a_runs_own_link_shows_it_again(page: Page, page_url: str, complaints: list[str]) -> None:
    page.goto(page_url)
    page.locator("#question").fill(QUESTION)
    page.locator("#question").press("Control+Enter")
    expect(page.locator("#run-status")).to_contain_text("Answered")
    shown = ("#run-question", "#plan", "#answer", "#stats", "#lanes", "#graph")
    before = [page.locator(each).inner_text() for each in shown]
    assert re.search(r"/runs/[^/]+$", page.url)

    page.reload()
    expect(page.locator("#run-status")).to_contain_text("Answered")
    expect(page.locator("#stats")).to_be_visible()
    assert [page.locator(each).inner_text() for each in shown] == before

    page.get_by_role("link", name="Headstart").click()
    expect(page.locator("#no-run")).to_be_visible()
    page.go_back()
    expect(page.locator("#run-status")).to_contain_text("Answered")
    assert complaints == []


def test_hostile_text_is_shown_as_text(page: Page, page_url: str, complaints: list[str]) -> None:
    runs = {"runs": [kept("finished", HOSTILE)], "next": None}
    tool = {"name": HOSTILE, "description": HOSTILE, "parameters": {}}
    page.route("**/v1/runs?*", lambda route: route.fulfill(json=runs))
    page.route("**/v1/tools", lambda route: route.fulfill(json={"tools": [tool]}))
    put_in_place(page, [sse(story(HOSTILE))])
    page.goto(f"{page_url}/runs/r1")
    expect(page.locator("#run-status")).to_contain_text("Answered")

    for place in ("#run-question", "#run-model", "#answer", "#plan", "#lanes", "#past", "#tools"):
        expect(page.locator(place)).to_contain_text(HOSTILE)
    for id, state in ((1, "done"), (2, "failed"), (3, "done"), (4, "skipped")):
        page.locator(f"#lanes [data-task='{id}']").click()
        expect(page.locator("#details-facts")).to_contain_text(state)
        for part in ("line", "args", "outcome"):
            text = HOSTILE if part != "args" else json.dumps(HOSTILE)
            expect(page.locator(f"#details-{part}")).to_contain_text(text)
    expect(page.locator("#plan .refused .text")).to_have_css("text-decoration-line", "line-through")
    assert page.evaluate("window.hacked") is None
    assert page.locator("body img, body script, body svg svg").count() == 1  # our own mark
    assert complaints == []


def test_text_that_turns_its_direction_is_made_harmless(page: Page, page_url: str) -> None:
    put_in_place(page, [sse(story("\u202eevil"))])
    page.goto(f"{page_url}/runs/r1")
    expect(page.locator("#answer")).to_have_text("It is \ufffdevil")


def test_a_task_is_chosen_by_keyboard(page: Page, page_url: str, complaints: list[str]) -> None:
    put_in_place(page, [sse(story())])
    page.goto(f"{page_url}/runs/r1")
    expect(page.locator("#run-status")).to_contain_text("Answered")

    for group in ("lanes", "graph"):
        tab_until(page, f"document.activeElement.closest('#{group}')")
        page.keyboard.press("Enter")
        expect(page.locator("#details-title")).to_have_text("Task 1: search")
        expect(page.locator("#details-title")).to_be_focused()
        expect(page.locator("#details-outcome")).to_have_text("8849 m")
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Space")
        expect(page.locator("#details-outcome-title")).to_have_text("Error")
        page.keyboard.press("Escape")
        page.keyboard.press("Home")
    name = page.locator("#lanes [data-task='3']").get_attribute("aria-label")
    assert name == "Task 3, search, done, 0.30 s, needs 1, on the critical path"
    assert complaints == []


def tab_until(page: Page, condition: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(f"Boolean({condition})"):
            return
    pytest.fail("no Tab leads there")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_small_screen(page: Page, page_url: str, scheme: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme=scheme)
    put_in_place(page, [sse(story("long" * 100))])
    page.goto(f"{page_url}/runs/r1")
    expect(page.locator("#run-status")).to_contain_text("Answered")
    page.locator("#lanes [data-task='3']").click()
    expect(page.locator("#details-title")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_cut_stream_is_resumed_with_no_event_twice(page: Page, page_url: str) -> None:
    events = story()
    half = sse(events[:26]) + f"id: 26\nevent: run_finished\ndata: {json.dumps(events[26])[:20]}"
    asked = put_in_place(page, [half, sse(events[20:])])
    page.goto(f"{page_url}/runs/r1")
    expect(page.locator("#run-connection")).to_contain_text("trying again")
    expect(page.locator("#answer")).to_have_text("It is 8849 m")

    expect(page.locator("#run-status")).to_contain_text("Answered")
    expect(page.locator("#run-connection")).to_be_empty()
    expect(page.locator("#answer")).to_have_text("It is 8849 m")
    expect(page.locator("#lanes .plan")).to_have_count(2)
    expect(page.locator("#lanes .task")).to_have_count(4)
    assert asked == [None, "25"]


def test_a_stream_is_read_however_it_is_cut_into_pieces(page: Page, page_url: str) -> None:
    page.goto(page_url)
    text = (
        ": hi\r\n\r\nid: 1\r\ndata: a: b\r\ndata:ü€😀\r\n\r\nid: 2\rdata: c\r\rid: 3\ndata: lost\n"
    )
    read = page.evaluate(
        """async (text) => {
            const { messages } = await import("/page/sse.js");
            const bytes = new TextEncoder().encode(text);
            const body = new ReadableStream({
                start(pieces) {
                    for (let i = 0; i < bytes.length; i++)
                        pieces.enqueue(bytes.slice(i, i + 1));
                    pieces.close();
                },
            });
            const all = [];
            for await (const message of messages(body)) all.push(message);
            return all;
        }""",
        text,
    )
    assert read == [{"id": "1", "data": "a: b\nü€😀"}, {"id": "2", "data": "c"}]


def test_a_live_run_is_stopped(page: Page, page_url: str) -> None:
    live = story()[:15]
    end = {"reason": "stopped", "message": "stopped by a request", "stats": STATS}
    streams = [sse(live)]
    asked = put_in_place(page, streams)
    page.goto(f"{page_url}/runs/r1")
    expect(page.locator("#lanes .task.running")).to_have_count(2)

    def stop(route: Route) -> None:
        assert route.request.method == "DELETE"
        streams.append(sse([{"type": "run_cancelled", "seq": 15, "at": 3.0, **end}]))
        asked.clear()
        asked.append(None)
        route.fulfill(json=kept("cancelled"))

    page.route(
        "**/v1/runs/r1",
        lambda route: stop(route) if route.request.method == "DELETE" else route.fallback(),
    )
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#run-status")).to_contain_text("Stopped")
    expect(page.locator("#run-error")).to_contain_text("stopped by a request")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_a_run_that_was_interrupted_is_shown_as_far_as_it_came(page: Page, page_url: str) -> None:
    put_in_place(page, [sse(story()[:15])], status="interrupted")
    page.goto(f"{page_url}/runs/r1")
    expect(page.locator("#run-status")).to_contain_text("Interrupted")
    expect(page.locator("#lanes .task")).to_have_count(3)


def test_a_key_is_asked_for_and_sent_with_each_request(page: Page, page_url: str) -> None:
    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            route.fallback()
        else:
            document = {"type": "urn:headstart:problem:unauthorized", "status": 401}
            route.fulfill(status=401, content_type="application/problem+json", json=document)

    put_in_place(page, [sse(story())])
    page.route("**/v1/**", guard)
    page.goto(f"{page_url}/runs/r1")
    page.locator("#key-text").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-note")).to_contain_text("not accepted")
    page.locator("#key-text").fill("right")
    page.keyboard.press("Enter")
    expect(page.locator("#run-status")).to_contain_text("Answered")
    expect(page.locator("#key")).to_be_hidden()

    page.reload()  # it stays for this tab
    expect(page.locator("#run-status")).to_contain_text("Answered")


def test_what_the_gateway_refuses_is_told(page: Page, page_url: str) -> None:
    document = {"title": "Too many runs at once", "detail": "Try again in 3 s.", "status": 429}
    page.route(
        "**/v1/runs",
        lambda route: route.fulfill(
            status=429, content_type="application/problem+json", json=document
        ),
    )
    page.goto(page_url)
    page.locator("#question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#ask-problem")).to_have_text("Too many runs at once: Try again in 3 s.")


def test_an_address_of_no_run_says_so(page: Page, page_url: str) -> None:
    page.goto(f"{page_url}/runs/there-is-none")
    expect(page.locator("#run-problem")).to_be_visible()
    expect(page.locator("#run-view")).to_be_hidden()
