"""A model with a LoRA adapter to be trained: its loss, its steps, its state. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.helpers import disable_input_dtype_casting
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from train.tuning.batches import IGNORED, MicroBatch, Step
from train.tuning.recipe import Recipe

_CPU_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # as /proc/cpuinfo names it


class Learner:
    """The base weights stay as they are; the adapter's are float32.

    A CPU computes the tokens that a micro-batch shares once. A GPU has no need of that, and
    saves memory instead, by computing activations again where the gradient needs them.
    """

    def __init__(self, weights: Path, recipe: Recipe) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if self.device == "cuda" or _cpu_is_fast() else torch.float32
        torch.manual_seed(recipe.seed)
        model = AutoModelForCausalLM.from_pretrained(
            weights, dtype=self.dtype, attn_implementation="sdpa"
        )
        self.model = get_peft_model(model.to(self.device), _lora(recipe))
        self.model.train()
        self.shares = self.device == "cpu"
        if not self.shares:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self.parameters, weight_decay=0.0)
        self._clip = recipe.clip

    @property
    def arithmetic(self) -> str:
        device = "GPU" if self.device == "cuda" else "CPU"
        return f"{device}, in {str(self.dtype).removeprefix('torch.')}"

    def loss(self, batch: MicroBatch) -> Any:
        """Sum of the cross entropies of the tokens to be learned, float32."""
        model = self.model.get_base_model()
        head = model.get_output_embeddings()
        shared = batch.shared if self.shares else 0
        past = None
        if shared:
            prefix = torch.tensor([batch.samples[0].ids[:shared]], device=self.device)
            with _only_at(head, torch.zeros_like(prefix, dtype=torch.bool)):
                past = model(prefix, use_cache=True).past_key_values
            past.batch_repeat_interleave(len(batch.samples))
        inputs, targets = (torch.tensor(x, device=self.device) for x in batch.rows(shared))
        learned = targets != IGNORED
        with _only_at(head, learned):
            logits = model(inputs, past_key_values=past, use_cache=bool(shared)).logits
        return cross_entropy(logits.float(), targets[learned], reduction="sum")

    def step(self, step: Step, rate: float) -> float:
        """One step of the optimizer. Returns the mean loss of a token before it."""
        learned = sum(batch.learned for batch in step)
        total = 0.0
        for batch in step:
            with self._precision():
                loss = self.loss(batch) / learned
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.parameters, self._clip)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return total

    def mean_loss(self, steps: list[Step]) -> float:
        """Of a token to be learned, over all steps."""
        batches = [batch for step in steps for batch in step]
        with torch.no_grad(), self._precision():
            total = sum(self.loss(batch).item() for batch in batches)
        return float(total / sum(batch.learned for batch in batches))

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

    @contextmanager
    def _precision(self) -> Iterator[None]:
        with ExitStack() as entered:
            if self.dtype == torch.bfloat16:
                entered.enter_context(torch.autocast(self.device, torch.bfloat16))
                entered.enter_context(disable_input_dtype_casting(self.model))
            yield


def _lora(recipe: Recipe) -> Any:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
    )


@contextmanager
def _only_at(head: Any, positions: Any) -> Iterator[None]:
    """Logits only where they are needed: the vocabulary is what costs most in a small model.

    positions: bool (batch, length). The logits are then (count of True, vocabulary).
    """
    handle = head.register_forward_pre_hook(lambda _, hidden: (hidden[0][positions],))
    try:
        yield
    finally:
        handle.remove()


def _cpu_is_fast() -> bool:
    """Whether it computes in bfloat16 itself; where that is emulated, float32 is faster."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and not _CPU_BFLOAT16.isdisjoint(cpuinfo.read_text().split())
