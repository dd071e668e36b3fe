"""The directory that HEADSTART_MODEL can name: merged weights, adapter, card. Imports torch."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from executor.errors import UsageError
from train.tuning.learner import Learner
from train.tuning.place import ASIDE, MARK

_MARGIN = 64 * 2**20  # bytes


def check_space(out: Path, learner: Learner) -> None:
    """Raises UsageError if a merged model and two checkpoints would not fit."""
    merged = 2 * sum(parameter.numel() for parameter in learner.model.parameters())  # bfloat16
    trained = sum(parameter.numel() for parameter in learner.parameters)
    needed = merged + 2 * 3 * 4 * trained + _MARGIN  # a value and Adam's two moments, float32
    free = shutil.disk_usage(out).free
    if free < needed:
        raise UsageError(
            f"the disk of {out} has {free >> 20} MB left and the training needs {needed >> 20}; "
            "free some, or give another --out"
        )


def write(
    out: Path, learner: Learner, tokenizer: Any, base: str, card: str, mark: dict[str, Any]
) -> None:
    """Writes all aside and then moves it into place. The learner is used up."""
    with tempfile.TemporaryDirectory(dir=out, prefix=ASIDE) as name:
        aside = Path(name)
        try:
            _write_model(aside, learner, tokenizer, base)
        except SafetensorError as error:  # which is no OSError even where the disk is full
            raise UsageError(
                f"can't write the model to {out}: {error}; the same command, without "
                "--restart, tries again"
            ) from None
        (aside / "README.md").write_text(card, encoding="utf-8")
        mark_file = out / MARK
        mark_file.unlink(missing_ok=True)
        shutil.rmtree(out / "adapter", ignore_errors=True)
        # An engine would load what is left over too, or look for what an old index names.
        for old in out.glob("*.safetensors*"):
            old.unlink()
        for item in aside.iterdir():
            item.replace(out / item.name)
        (aside / MARK).write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")
        (aside / MARK).replace(mark_file)


def _write_model(target: Path, learner: Learner, tokenizer: Any, base: str) -> None:
    """What is merged is the adapter as it is saved, in bfloat16; the sum is made in float32."""
    model = learner.model
    for parameter in learner.parameters:
        parameter.data = parameter.data.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(target / "adapter", save_embedding_layers=False)
    (target / "adapter" / "README.md").unlink()  # an empty form; ours is the card
    for parameter in learner.parameters:
        parameter.data = parameter.data.float()
    merged = model.merge_and_unload().to(torch.bfloat16)
    merged.save_pretrained(target)
    tokenizer.save_pretrained(target)
