"""How the engine comes and goes: its command, its state file, its end."""

from __future__ import annotations

import asyncio
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from executor.errors import EngineError, UsageError
from serving.engine import Engine, end, wait_until_healthy
from serving.engine_room import EngineRoom, check_port, find_or_launch, free_port
from serving.models import Weights
from serving.settings import Settings
from serving.vllm_command import command, environment

PARSE = """
import sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
validate_parsed_serve_args(make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[1:]))
"""


@pytest.mark.engine
@pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "gpu"])
def test_vllm_knows_every_flag_that_we_pass(gpu: bool) -> None:
    flags = command(Weights("name", Path("weights")), 8000, gpu=gpu, backend="guidance")[3:]
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_command_and_the_environment_keep_to_themselves() -> None:
    flags = command(Weights("name", Path("weights")), 8000, gpu=False, backend="outlines")
    assert flags[flags.index("--host") + 1] == "127.0.0.1"
    assert "secret" not in " ".join(flags)
    env = environment("secret", Path("/cache"))
    assert env["VLLM_API_KEY"] == "secret"
    assert env["VLLM_NO_USAGE_STATS"] == env["HF_HUB_OFFLINE"] == "1"


def test_a_running_engine_is_found_and_stopped_with_its_children(
    tmp_path: Path, sleeper: Engine
) -> None:
    room = EngineRoom(tmp_path)
    assert room.find() is None
    room.remember(sleeper)
    assert room.find() == sleeper
    state = tmp_path / "engine" / "state.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert room.stop() == sleeper
    assert not sleeper.alive()
    assert not sleeper.processes()
    assert not state.exists()
    assert room.stop() is None


@pytest.mark.parametrize(
    ("name", "path", "said"),
    [
        ("embedded", "/weights", None),
        ("embedded", "/weights-of-another-adapter", r"embedded \(/weights-of-another-adapter\)"),
        ("embedded-raw", "/base", r"embedded-raw \(/base\)"),
    ],
)
def test_a_running_engine_serves_its_own_weights_only(
    tmp_path: Path, sleeper: Engine, name: str, path: str, said: str | None
) -> None:
    EngineRoom(tmp_path).remember(sleeper)
    weights, settings = Weights(name, Path(path)), Settings(cache_dir=tmp_path)
    if said is None:
        assert find_or_launch(weights, settings) == (sleeper, False)
        return
    with pytest.raises(UsageError, match=said) as refusal:
        find_or_launch(weights, settings)
    assert "an engine with the model embedded (/weights) is running" in str(refusal.value)


def test_a_running_engine_keeps_its_backend(tmp_path: Path, sleeper: Engine) -> None:
    EngineRoom(tmp_path).remember(sleeper)
    weights, settings = Weights("embedded", Path("/weights")), Settings(cache_dir=tmp_path)
    with pytest.raises(UsageError, match=r"with outlines, and guidance is asked for .*stop\.sh"):
        find_or_launch(weights, replace(settings, backend="guidance"))


def test_weights_that_name_no_profile_start_no_engine(tmp_path: Path) -> None:
    (tmp_path / "planner.json").write_text('{"profile": "loud"}')
    room = EngineRoom(tmp_path / "cache")
    with pytest.raises(UsageError, match="'loud'; it must be few-shot or tuned"):
        room.launch(Weights("name", tmp_path), free_port(), backend="outlines", extra=())
    assert room.find() is None


@pytest.mark.parametrize("change", [{"pid": 2**22 + 1}, {"started": 1.0}], ids=["dead", "reused"])
def test_a_stale_state_file_is_cleaned_up_and_nobody_else_is_hurt(
    tmp_path: Path, sleeper: Engine, change: dict[str, float]
) -> None:
    room = EngineRoom(tmp_path)
    room.remember(replace(sleeper, **change))  # type: ignore[arg-type]
    assert room.find() is None
    assert not (tmp_path / "engine" / "state.json").exists()
    assert sleeper.alive()


def test_a_worker_that_outlives_its_leader_is_found_and_ended(
    tmp_path: Path, sleeper: Engine
) -> None:
    room = EngineRoom(tmp_path)
    room.remember(sleeper)
    leader = psutil.Process(sleeper.pid)
    (worker,) = leader.children()
    leader.kill()
    leader.wait()
    assert worker.is_running()
    assert room.find() is None
    assert not worker.is_running()


def test_a_group_that_took_over_the_number_is_left_alone(tmp_path: Path) -> None:
    """A daemon's: its leader, which had the engine's number, is gone."""
    code = "import subprocess; print(subprocess.Popen(['sleep', '600'], stdout=-3).pid)"
    leader = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    printed, _ = leader.communicate()
    stranger = psutil.Process(int(printed))
    room = EngineRoom(tmp_path)
    room.remember(Engine(leader.pid, 1.0, "http://127.0.0.1:9", "key", "m", "/w", "/dev/null"))
    assert room.find() is None
    assert stranger.is_running()
    stranger.kill()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_state_file_that_makes_no_sense_is_no_engine(tmp_path: Path, text: str) -> None:
    room = EngineRoom(tmp_path)
    (tmp_path / "engine" / "state.json").write_text(text)
    assert room.find() is None


@pytest.mark.engine
def test_an_engine_that_dies_while_loading_names_the_cause(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text('{"model_type": "nonsense"}')
    room = EngineRoom(tmp_path)
    weights = Weights("broken", tmp_path / "weights")
    engine = room.launch(weights, free_port(), backend="outlines", extra=())
    with pytest.raises(EngineError) as error:
        asyncio.run(wait_until_healthy(engine, 120, lambda _: None))
    headline, *tail = str(error.value).splitlines()
    assert re.match(r"the engine died while it was loading: .*Error.*nonsense", headline)
    assert tail[0] == f"last lines of {engine.log}:"
    assert room.find() is None


@pytest.mark.engine
def test_an_engine_that_cannot_be_written_down_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = EngineRoom(tmp_path)
    (tmp_path / "engine" / "state.json").mkdir()  # where the file should go
    launched: list[Engine] = []
    monkeypatch.setattr(
        "serving.engine_room.end", lambda engine: launched.append(engine) or end(engine)
    )
    with pytest.raises(UsageError, match=r"can't write to .* set HEADSTART_CACHE"):
        room.launch(Weights("name", tmp_path), free_port(), backend="outlines", extra=())
    (engine,) = launched
    assert not engine.processes()


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    room = EngineRoom(tmp_path)
    (tmp_path / "engine" / "engine.log").mkdir()
    with pytest.raises(UsageError, match=r"can't write to .* set HEADSTART_CACHE"):
        room.launch(Weights("name", tmp_path), free_port(), backend="outlines", extra=())


def test_a_free_port_is_free_until_it_is_not() -> None:
    port = free_port()
    check_port(port)
