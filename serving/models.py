"""From the name in HEADSTART_MODEL to a directory with weights that vLLM can load."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from executor.errors import UsageError
from planner_prompts.profile import Profile, profile_of
from serving import embedded
from serving.child import Run, run
from serving.settings import EMBEDDED, GPU_MODEL

HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's name and the directory of its weights."""

    name: str
    path: Path

    @property
    def profile(self) -> Profile:
        """How the model is addressed. Raises UsageError if the weights say something unknown."""
        return profile_of(self.path)


def default_model(*, gpu: bool) -> str:
    return GPU_MODEL if gpu else EMBEDDED


def resolve(name: str, cache_dir: Path, run: Run = run) -> Weights:
    """Finds the weights, or makes or fetches them once. Raises UsageError with what to do.

    What takes long is done by `run`.
    """
    if name in embedded.ADAPTERS:
        return Weights(name, embedded.make(name, cache_dir, run))
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
    return Weights(name, _from_hub(name, run))


def _from_hub(name: str, run: Run) -> Path:
    """The hub's own cache on this machine, filled on first use."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        with suppress(LocalEntryNotFoundError):
            path = Path(snapshot_download(name, local_files_only=True))
            if _is_complete(path):
                return path
    except HFValidationError as error:
        raise UsageError(f"HEADSTART_MODEL is {name!r}, which is no hub id: {error}") from None
    # In a process of its own, which can be ended.
    fetch = f"snapshot_download({name!r}, allow_patterns={HUB_FILES})"
    code = f"from huggingface_hub import snapshot_download; print({fetch})"
    done = run([sys.executable, "-P", "-c", code])
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
