"""How the engine comes and goes: its command, its state file, its weights."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from executor.errors import EngineError, UsageError
from serving import models
from serving.engine import Engine, EngineRoom, check_port, end, free_port, wait_until_healthy
from serving.models import Weights
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
    flags = command(Weights("name", Path("weights")), 8000, gpu=gpu)[3:]
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_command_and_the_environment_keep_to_themselves() -> None:
    flags = command(Weights("name", Path("weights")), 8000, gpu=False)
    assert flags[flags.index("--host") + 1] == "127.0.0.1"
    assert "secret" not in " ".join(flags)
    env = environment("secret")
    assert env["VLLM_API_KEY"] == "secret"
    assert env["VLLM_NO_USAGE_STATS"] == env["HF_HUB_OFFLINE"] == "1"


SLEEP = "import time; time.sleep(600)"
LEAD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"


@pytest.fixture
def sleeper() -> Iterator[Engine]:
    """A process group of two that stands where an engine would."""
    process = subprocess.Popen([sys.executable, "-c", LEAD], start_new_session=True)
    process.returncode = 0  # psutil reaps it
    leader = psutil.Process(process.pid)
    while not leader.children():
        assert leader.is_running()
    engine = Engine(
        pid=process.pid,
        started=leader.create_time(),
        url="http://127.0.0.1:9",
        key="key",
        model="embedded",
        weights="/weights",
        log="/dev/null",
    )
    yield engine
    end(engine)


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
    engine = room.launch(weights, free_port(), extra=())
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
    monkeypatch.setattr("serving.engine.end", lambda engine: launched.append(engine) or end(engine))
    with pytest.raises(UsageError, match=r"can't write to .* set HEADSTART_CACHE"):
        room.launch(Weights("name", tmp_path), free_port(), extra=())
    (engine,) = launched
    assert not engine.processes()


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    room = EngineRoom(tmp_path)
    (tmp_path / "engine" / "engine.log").mkdir()
    with pytest.raises(UsageError, match=r"can't write to .* set HEADSTART_CACHE"):
        room.launch(Weights("name", tmp_path), free_port(), extra=())


def test_a_free_port_is_free_until_it_is_not() -> None:
    port = free_port()
    check_port(port)


def test_a_full_disk_is_told_before_the_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=50 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"has 50 MB left .* set HEADSTART_CACHE to another"):
        models.embedded(tmp_path)
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.engine
def test_an_interrupted_conversion_leaves_nothing_that_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "model.safetensors").write_bytes(source.read_bytes()[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "_convert", half)
    with pytest.raises(KeyboardInterrupt):
        models.embedded(tmp_path)
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.engine
def test_a_conversion_that_fails_says_where_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = tmp_path / "model.gguf"
    nonsense.write_bytes(b"GGUF")
    monkeypatch.setattr(models, "_wheel_file", lambda: nonsense)
    with pytest.raises(
        UsageError, match=rf"could not be converted \(.*error.*make room in {tmp_path}/models"
    ):
        models.embedded(tmp_path)
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.engine
def test_a_file_in_the_users_directory_is_no_module_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    nonsense = tmp_path / "model.gguf"
    nonsense.write_bytes(b"GGUF")
    monkeypatch.setattr(models, "_wheel_file", lambda: nonsense)
    with pytest.raises(UsageError) as error:
        models.embedded(tmp_path)
    assert "a stranger" not in str(error.value)
    assert environment("key")["PYTHONSAFEPATH"] == "1"


def test_a_download_that_was_interrupted_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert not models._is_complete(tmp_path)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1.safetensors").touch()
    assert not models._is_complete(tmp_path)
    (tmp_path / "model-2.safetensors").touch()
    assert models._is_complete(tmp_path)
