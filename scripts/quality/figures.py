"""Shares with their intervals, by measure and by group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from quality.runs import Outcome

Z = 1.959964  # the 95 % of a confidence interval, in standard deviations


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `n`, with a Wilson 95 % confidence interval; `n` is above 0."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval: it holds the value, and is wide where there is little."""
        center = (self.value + Z**2 / (2 * self.n)) / (1 + Z**2 / self.n)
        spread = sqrt(self.value * (1 - self.value) / self.n + Z**2 / (4 * self.n**2))
        half = Z * spread / (1 + Z**2 / self.n)
        low, high = max(0.0, center - half), min(1.0, center + half)
        return min(low, self.value), max(high, self.value)  # but for rounding, they are so


Mark = bool | tuple[int, int] | None
# The share of values is one over all values, not over rows: it treats them as independent.
MEASURES: dict[str, Callable[[Outcome], Mark]] = {
    "plan exact": lambda outcome: outcome.exact,
    "plan useful": lambda outcome: outcome.useful,
    "answer right": lambda outcome: outcome.right,
    "replan right": lambda outcome: outcome.replan,
    "tools right": lambda outcome: outcome.tools,
    "values right": lambda outcome: outcome.values,
}


def share(outcomes: Iterable[Outcome], measure: str) -> Share | None:
    """None where the measure is defined for no outcome."""
    hits = n = 0
    for outcome in outcomes:
        mark = MEASURES[measure](outcome)
        if mark is not None:
            hit, of = mark if isinstance(mark, tuple) else (int(mark), 1)
            hits, n = hits + hit, n + of
    return Share(hits, n) if n else None


def by_shape(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    return _grouped(outcomes, lambda outcome: outcome.shape)


def by_width(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    return _grouped(outcomes, lambda outcome: f"width {outcome.width:2}")


def _grouped(
    outcomes: Sequence[Outcome], key: Callable[[Outcome], str]
) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in sorted(outcomes, key=key):
        groups.setdefault(key(outcome), []).append(outcome)
    return groups
