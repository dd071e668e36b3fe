"""A model with a LoRA adapter to be trained: its loss, its steps, its state. Imports torch."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import LoraConfig, get_peft_model
from peft.helpers import disable_input_dtype_casting
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from train.tuning import attention
from train.tuning.batches import IGNORED, MicroBatch, Step
from train.tuning.recipe import Recipe

T = TypeVar("T")
AT_ONCE = 2  # micro-batches on a CPU: a step rarely has more that are long
_CPU_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # as /proc/cpuinfo names it


class Learner:
    """The base weights stay as they are; the adapter's are float32.

    A CPU computes a micro-batch as one row without padding, where the model allows that, and two
    micro-batches at a time: a small model's operations are too short to be divided among all cores.
    A GPU saves memory instead, by computing activations again where the gradient needs them.
    """

    def __init__(self, weights: Path, recipe: Recipe) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if self.device == "cuda" or _cpu_is_fast() else torch.float32
        torch.manual_seed(recipe.seed)
        model = AutoModelForCausalLM.from_pretrained(weights, dtype=self.dtype)
        self.packs = self.device == "cpu" and attention.serves(model.config)
        if self.packs:
            model.set_attn_implementation(attention.NAME)
        self.model = get_peft_model(model.to(self.device), _lora(recipe))
        self.model.train()
        if self.device == "cuda":
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self.parameters, weight_decay=0.0)
        self._clip = recipe.clip
        self._logits = _LogitsAt(model.get_output_embeddings())
        cores = len(os.sched_getaffinity(0))
        workers = min(cores, AT_ONCE) if self.device == "cpu" else 1
        self._workers = ThreadPoolExecutor(
            workers, "learner", torch.set_num_threads, (cores // workers,)
        )

    @property
    def arithmetic(self) -> str:
        device = "GPU" if self.device == "cuda" else "CPU"
        return f"{device}, in {str(self.dtype).removeprefix('torch.')}"

    def loss(self, batch: MicroBatch) -> Any:
        """Sum of the cross entropies of the tokens to be learned, float32."""
        model = self.model.get_base_model()
        if self.packs:
            row = batch.row()
            inputs, targets = self._tensor([row.ids]), self._tensor([row.targets])
            more = {"position_ids": self._tensor([row.positions]), "ends": row.ends}
        else:
            inputs, targets = map(self._tensor, batch.rows())
            more = {}
        learned = targets != IGNORED
        with self._logits.only(learned):
            logits = model(inputs, use_cache=False, **more).logits
        return cross_entropy(logits.float(), targets[learned], reduction="sum")

    def _tensor(self, ids: list[list[int]]) -> Any:
        return torch.tensor(ids, device=self.device)

    def step(self, step: Step, rate: float) -> float:
        """One step of the optimizer. Returns the mean loss of a token before it."""
        learned = sum(batch.learned for batch in step)

        def part(batch: MicroBatch) -> tuple[float, tuple[Any, ...]]:
            loss = self.loss(batch) / learned
            # Not `backward`: threads that add to the same gradients would lose some.
            grads = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
            return loss.item(), grads

        losses, grads = zip(*self._each(part, step), strict=True)
        for parameter, parts in zip(self.parameters, zip(*grads, strict=True), strict=True):
            parameter.grad = sum(parts[1:], start=parts[0])
        torch.nn.utils.clip_grad_norm_(self.parameters, self._clip)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(sum(losses))

    def mean_loss(self, steps: list[Step]) -> float:
        """Of a token to be learned, over all steps."""
        batches = [batch for step in steps for batch in step]

        def total(batch: MicroBatch) -> float:
            with torch.no_grad():
                return float(self.loss(batch))

        return sum(self._each(total, batches)) / sum(batch.learned for batch in batches)

    def _each(self, compute: Callable[[MicroBatch], T], batches: list[MicroBatch]) -> list[T]:
        """Of every batch, several at a time, in their order."""

        def in_precision(batch: MicroBatch) -> T:
            # Without the cache of weights, which threads would share.
            with torch.autocast(self.device, torch.bfloat16, narrow, cache_enabled=False):
                return compute(batch)

        narrow = self.dtype == torch.bfloat16
        with disable_input_dtype_casting(self.model, narrow):
            return list(self._workers.map(in_precision, batches))

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, apart from its batch and rate."""
        return {
            "adapter": [parameter.detach() for parameter in self.parameters],
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for parameter, saved in zip(self.parameters, state["adapter"], strict=True):
                parameter.copy_(saved)
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])


def _lora(recipe: Recipe) -> Any:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
    )


class _LogitsAt:
    """Logits only where they are needed: the vocabulary is what costs most in a small model."""

    def __init__(self, head: Any) -> None:
        self._of_thread = threading.local()
        head.register_forward_pre_hook(lambda _, hidden: (hidden[0][self._of_thread.positions],))

    @contextmanager
    def only(self, positions: Any) -> Iterator[None]:
        """positions: bool (batch, length). The logits are then (count of True, vocabulary)."""
        self._of_thread.positions = positions
        try:
            yield
        finally:
            del self._of_thread.positions


def _cpu_is_fast() -> bool:
    """Whether it computes in bfloat16 itself; where that is emulated, float32 is faster."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and not _CPU_BFLOAT16.isdisjoint(cpuinfo.read_text().split())
