"""How a planner is tuned. A checkpoint keeps to it: another recipe has another result."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Rank and alpha are LoRA's (Hu et al., 2021); shares are of 1."""

    seed: int = 0
    epochs: int = 1
    minutes: float | None = None  # None: as long as it takes
    endings: float = 0.5  # of the samples of one round; the others have only their plan
    batch: int = 12  # samples of one optimizer step
    longest: int = 1024  # tokens of a sample
    rank: int = 12
    alpha: int = 24
    learning_rate: float = 2e-3
    warm_up: float = 0.03
    clip: float = 1.0  # norm of the gradient
    held_back: float = 0.02  # of the samples, at most `most_held_back`
    most_held_back: int = 100

    def rate(self, step: int, total: int) -> float:
        """The learning rate of a step, counted from 0: a linear warm-up, then a cosine to 0."""
        warm = max(1, round(self.warm_up * total))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        progress = (step - warm) / max(1, total - warm)
        return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2
