"""Where an interrupted training goes on: one file, replaced as a whole. Imports torch."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from executor.errors import UsageError


class Checkpoint:
    """`digest` names the data and the settings; what was saved under another is refused."""

    def __init__(self, path: Path, digest: str) -> None:
        self._path = path
        self._digest = digest

    def save(self, state: dict[str, Any]) -> None:
        data = io.BytesIO()  # torch's own writer hides that a disk is full
        torch.save({"digest": self._digest, **state}, data)
        partial = self._path.with_name(f"{self._path.name}.partial")
        try:
            with partial.open("wb") as file:
                file.write(data.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        finally:
            partial.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """None if there is none. Raises UsageError for one of another training."""
        try:
            state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
            digest = state.pop("digest")
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001  (torch has no one error for a bad file)
            raise UsageError(
                f"can't read the checkpoint {self._path} ({type(error).__name__}); "
                "--restart begins anew"
            ) from None
        if digest != self._digest:
            raise UsageError(
                f"{self._path} is of a training with other data or settings; give those to go on "
                "with it, or --restart to begin anew"
            )
        return state

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
