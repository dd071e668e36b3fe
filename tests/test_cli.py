"""The command line as a person meets it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serving.engine import Engine
from serving.settings import Settings

ANSWERED, FAILED, USAGE = 0, 1, 2


def headstart(*arguments: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADSTART_")}
    return subprocess.run(
        [sys.executable, "-c", "from serving.cli import main; main()", *arguments],
        env=kept | {"HEADSTART_CACHE": str(cache), "HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


SYNTAX = "def tool(:\n"
RAISES = "import os\nos.environ['NO_SUCH_KEY']\n"
NO_TOOL = "x = 1\n"
NO_TYPE = 'from executor.tools import tool\n\n@tool\ndef f(x):\n    "F."\n'
NO_SCHEMA = {"type": "text"}
LARGE = {"enum": [f"{at} is the choice" for at in range(1000)]}
IN_USE = "port {port} can't be used: Address already in use; choose another with --port"
MISTAKES = {
    "empty question": (["ask", ""], {}, USAGE, "the question is empty; write one"),
    "blank question": (["ask", " \n"], {}, USAGE, "the question is empty; write one"),
    "no tools file": (
        ["ask", "hi", "--tools", "{dir}/nope.py"],
        {},
        USAGE,
        "there is no tools file {dir}/nope.py",
    ),
    "syntax error": (
        ["ask", "hi", "--tools", "{dir}/syntax.py"],
        {},
        USAGE,
        "{dir}/syntax.py: line 1: invalid syntax",
    ),
    "tools file that raises": (
        ["ask", "hi", "--tools", "{dir}/raises.py"],
        {},
        USAGE,
        "{dir}/raises.py: line 2: KeyError: 'NO_SUCH_KEY'",
    ),
    "tools file without tools": (
        ["ask", "hi", "--tools", "{dir}/no_tool.py"],
        {},
        USAGE,
        "{dir}/no_tool.py holds no tool; put @tool above a function",
    ),
    "function that is no tool": (
        ["ask", "hi", "--tools", "{dir}/no_type.py"],
        {},
        USAGE,
        "{dir}/no_type.py: f(x): has no type; write one, such as x: str",
    ),
    "no examples file": (
        ["ask", "hi", "--examples", "{dir}/nope.yaml"],
        {},
        USAGE,
        "can't read the examples {dir}/nope.yaml: No such file or directory",
    ),
    "no schema file": (
        ["ask", "hi", "--answer-schema", "{dir}/nope.json"],
        {},
        USAGE,
        "can't read the answer's schema {dir}/nope.json: No such file or directory",
    ),
    "schema file without JSON": (
        ["ask", "hi", "--answer-schema", "{dir}/syntax.py"],
        {},
        USAGE,
        "the answer's schema {dir}/syntax.py is no JSON: Expecting value: line 1 column 1",
    ),
    "no schema": (
        ["ask", "hi", "--answer-schema", "{dir}/no_schema.json"],
        {},
        USAGE,
        "the answer's schema: $.type: 'text' is not valid under any of the given schemas",
    ),
    "schema that is too large": (
        ["ask", "hi", "--answer-schema", "{dir}/large.json"],
        {},
        USAGE,
        "the answer's schema is too large for the backend outlines: its grammar would have ",
    ),
    "unknown model": (
        ["ask", "hi"],
        {"HEADSTART_MODEL": "gpt"},
        USAGE,
        "HEADSTART_MODEL is 'gpt': there is no such directory, and a hub id looks like owner/name",
    ),
    "directory without a model": (
        ["ask", "hi"],
        {"HEADSTART_MODEL": "{dir}"},
        USAGE,
        "HEADSTART_MODEL: {dir} holds no model: it has no config.json",
    ),
    "hub out of reach": (
        ["ask", "hi"],
        {"HEADSTART_MODEL": "owner/name"},
        USAGE,
        "HEADSTART_MODEL: owner/name is not on this machine and can't be fetched from the hub",
    ),
    "setting that is no number": (
        ["ask", "hi"],
        {"HEADSTART_DEADLINE": "soon"},
        USAGE,
        "HEADSTART_DEADLINE is 'soon'; it must be a number",
    ),
    "no such profile": (
        ["ask", "hi"],
        {"HEADSTART_PROFILE": "loud"},
        USAGE,
        "HEADSTART_PROFILE is 'loud'; it must be few-shot or tuned",
    ),
    "weights with a profile that is none": (
        ["ask", "hi"],
        {"HEADSTART_MODEL": "{dir}/odd"},
        USAGE,
        "the profile in {dir}/odd/planner.json is 'loud'; it must be few-shot or tuned",
    ),
    "nobody at the engine's URL": (
        ["ask", "hi"],
        {"HEADSTART_ENGINE_URL": "http://127.0.0.1:9"},
        FAILED,
        "no engine answers at http://127.0.0.1:9/",
    ),
    "no URL": (
        ["ask", "hi"],
        {"HEADSTART_ENGINE_URL": "engine"},
        USAGE,
        "'engine' is no URL; it looks like http://host:port",
    ),
    "port in use": (
        ["serve", "--port", "{port}"],
        {"HEADSTART_MODEL": "{dir}/model"},
        USAGE,
        IN_USE,
    ),
    "no port": (["serve", "--port", "99999"], {}, USAGE, "Invalid value for '--port'"),
    "cache that can't be written": (
        ["ask", "hi"],
        {"HEADSTART_CACHE": "{dir}/syntax.py/cache"},
        USAGE,
        "can't write the embedded model to {dir}/syntax.py/cache/models",
    ),
    "unknown command": (["frobnicate"], {}, USAGE, "No such command 'frobnicate'"),
}


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"), MISTAKES.values(), ids=MISTAKES
)
def test_a_mistake_is_a_line_that_says_what_to_do(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], code: int, said: str
) -> None:
    files = {"syntax": SYNTAX, "raises": RAISES, "no_tool": NO_TOOL, "no_type": NO_TYPE}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    for name, schema in (("no_schema", NO_SCHEMA), ("large", LARGE)):
        (tmp_path / f"{name}.json").write_text(json.dumps(schema))
    for name in ("model", "odd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "odd" / "planner.json").write_text('{"profile": "loud"}')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        known = {"dir": tmp_path, "port": taken.getsockname()[1]}
        done = headstart(
            *(argument.format(**known) for argument in arguments),
            **{
                "cache": tmp_path / "cache",
                **{name: value.format(**known) for name, value in environment.items()},
            },
        )
    assert done.returncode == code
    assert said.format(**known) in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("engine: ")]
    assert len(complaints) == 1 or "Usage:" in complaints[0]


def test_stop_with_nothing_to_stop(tmp_path: Path) -> None:
    done = headstart("stop", cache=tmp_path)
    assert (done.returncode, done.stdout) == (ANSWERED, "no engine is running\n")


@pytest.mark.parametrize(
    ("model", "directory"),
    [("embedded", "headstart-135m-"), ("embedded-raw", "smollm2-135m-instruct-"), ("a/b", "a/b ")],
)
def test_dry_run_shows_the_command_and_starts_nothing(
    tmp_path: Path, model: str, directory: str
) -> None:
    done = headstart(
        *("serve", "--dry-run", "--", "--max-num-seqs", "4"), cache=tmp_path, HEADSTART_MODEL=model
    )
    assert done.returncode == ANSWERED, done.stderr
    assert "--host 127.0.0.1" in done.stdout
    assert f" --served-model-name {model} " in done.stdout
    assert directory in done.stdout
    assert done.stdout.endswith("--max-num-seqs 4\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.engine
def test_a_second_question_finds_the_engine_of_the_first(
    engine: Engine, settings: Settings
) -> None:
    done = headstart(
        "ask", "--json", "How tall is K2?", cache=settings.cache_dir, HEADSTART_MODEL="embedded"
    )
    assert done.returncode == ANSWERED, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "run_started"
    assert events[-1]["type"] == "run_finished"
    assert set(events[-1]["stats"]) >= {"time_to_first_task", "overlap_seconds", "efficiency"}
    assert engine.alive()


@pytest.mark.engine
def test_somebody_elses_engine_answers_and_the_picture_is_whole(
    engine: Engine, tmp_path: Path, tools_file: Path
) -> None:
    done = headstart(
        *("ask", "Which is taller, Mount Everest or K2?"),
        *("--tools", str(tools_file)),
        cache=tmp_path,
        HEADSTART_ENGINE_URL=engine.url,
        HEADSTART_ENGINE_KEY=engine.key,
        HEADSTART_PROFILE="tuned",
    )
    assert done.returncode == ANSWERED, done.stderr
    assert re.search(r"^ *\d\.\d\d s  1\. ", done.stdout, re.M)
    assert re.search(r"^ plan +█+·+ ", done.stdout, re.M)
    assert "first task after" in done.stdout
    assert not list(tmp_path.glob("engine"))


@pytest.mark.engine
def test_an_answer_by_a_schema_is_the_last_line(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    properties = {"higher": {"enum": ["Mount Everest", "K2"]}, "height": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["higher", "height"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    done = headstart(
        *("ask", "Which is taller, Mount Everest or K2?"),
        *("--answer-schema", str(tmp_path / "schema.json")),
        cache=settings.cache_dir,
        HEADSTART_MODEL="embedded",
        HEADSTART_MAX_PLANS="1",
    )
    assert done.returncode == ANSWERED, done.stderr + done.stdout
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["higher"] in ("Mount Everest", "K2")
    assert isinstance(answer["height"], int)
    assert engine.alive()


@pytest.mark.engine
def test_another_model_than_the_running_one_is_refused(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    namesake = tmp_path / Path(engine.weights).name
    namesake.mkdir()
    (namesake / "config.json").write_text("{}")
    done = headstart("ask", "hi", cache=settings.cache_dir, HEADSTART_MODEL=str(namesake))
    assert done.returncode == USAGE
    assert f"an engine with the model embedded ({engine.weights}) is running" in done.stderr
    assert "./scripts/stop.sh" in done.stderr
