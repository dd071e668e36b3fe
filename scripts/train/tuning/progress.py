"""How far a training is."""

from __future__ import annotations

from dataclasses import dataclass, field

VALIDATIONS = 4  # in a training, the last one at its end; there is one before it too


@dataclass(slots=True)
class Progress:
    """What a checkpoint tells of the past, and a card of the whole. Losses are means of a token."""

    total: int  # steps
    step: int = 0
    seconds: float = 0.0  # of the steps
    tokens: int = 0  # computed in them
    loss: float = 0.0  # smoothed
    validations: list[tuple[int, float]] = field(default_factory=list)

    def add(self, loss: float, tokens: int, seconds: float) -> None:
        """One more step is done."""
        self.loss += (loss - self.loss) / min(self.step + 1, 20)
        self.step += 1
        self.seconds += seconds
        self.tokens += tokens

    @property
    def is_over(self) -> bool:
        return self.step == self.total

    @property
    def validates(self) -> bool:
        done = len(self.validations) - 1  # without the one before the training
        return self.step * VALIDATIONS // self.total > done

    @property
    def line(self) -> str:
        left = (self.total - self.step) * self.seconds / self.step
        return (
            f"step {self.step} of {self.total}, loss {self.loss:.4f}, "
            f"{self.tokens / self.seconds:.0f} tokens/s, {duration(left)} left"
        )


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
