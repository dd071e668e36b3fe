"""Shares and their intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.figures import Share

# From the formula by hand: the well-known table of Wilson's score interval.
WILSON = [
    (0, 1, 0.0, 0.793),
    (1, 1, 0.207, 1.0),
    (0, 10, 0.0, 0.278),
    (5, 10, 0.237, 0.763),
    (81, 263, 0.255, 0.366),
    (1000, 1000, 0.996, 1.0),
]


@pytest.mark.parametrize(("hits", "n", "low", "high"), WILSON)
def test_wilson(hits: int, n: int, low: float, high: float) -> None:
    assert Share(hits, n).interval == pytest.approx((low, high), abs=5e-4)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_value_and_mirrors(counts: tuple[int, int]) -> None:
    hits, n = counts
    low, high = Share(hits, n).interval
    assert 0 <= low <= Share(hits, n).value <= high <= 1
    mirrored = Share(n - hits, n).interval
    assert (1 - high, 1 - low) == pytest.approx(mirrored)
