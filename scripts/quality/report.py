"""What was measured, as a table for people and as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from quality.figures import MEASURES, Share, by_shape, by_width, share
from quality.runs import Outcome, Times
from quality.series import Series
from quality.sets import CaseSet

WIDE = 22  # characters of a column
TOKENS_NOTE = "tokens are counted by the engine's tokenizer from the texts"


def lines(cases: CaseSet, series: Sequence[Series]) -> Iterator[str]:
    """The table: a block for each series, in all, by shape, by width."""
    yield f"{cases.name}: {len(cases.cases)} questions; shares with their 95 % intervals, and n"
    for reason, count in cases.left_out.most_common():
        yield f"left out: {count} rows with {reason}"
    for each in series:
        yield from _block(each)


def _block(series: Series) -> Iterator[str]:
    outcomes = series.outcomes
    measures = [name for name in MEASURES if share(outcomes, name) is not None]
    yield ""
    yield _row(series.name, measures)
    groups = {"in all": outcomes, **by_shape(outcomes), **by_width(outcomes)}
    for name, group in groups.items():
        yield _row(f"  {name}", [_cell(share(group, measure)) for measure in measures])
    yield from _costs(outcomes)


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:34}" + "".join(f"{cell:>{WIDE}}" for cell in cells)


def _cell(found: Share | None) -> str:
    if found is None:
        return "-"
    low, high = found.interval
    return f"{found.value:.0%} ({100 * low:.0f}–{100 * high:.0f}) {found.n:4}"


def _costs(outcomes: Sequence[Outcome]) -> Iterator[str]:
    times = [outcome.times for outcome in outcomes if outcome.times is not None]
    if times:
        yield (
            f"  median of {len(times)} runs, one at a time, in seconds: first plan token "
            f"{_median(times, lambda each: each.first_token)}, first task "
            f"{_median(times, lambda each: each.first_task)}, in all "
            f"{_median(times, lambda each: each.all)}"
        )
    prompt, plan, ending = (
        statistics.fmean(getattr(outcome, name) for outcome in outcomes)
        for name in ("prompt_tokens", "plan_tokens", "ending_tokens")
    )
    yield (
        f"  mean tokens: prompt {prompt:.0f}, plan {plan:.0f}, ending {ending:.0f} ({TOKENS_NOTE})"
    )
    failed = Counter(each.ended for each in outcomes if each.ended not in ("answer", "plan"))
    if failed:
        reasons = ", ".join(f"{reason} {count}" for reason, count in failed.most_common())
        yield f"  runs that ended without an answer: {reasons}"


def _median(times: Sequence[Times], part: Callable[[Times], float | None]) -> str:
    found = [seconds for each in times if (seconds := part(each)) is not None]
    return f"{statistics.median(found):.2f}" if found else "-"


def as_json(cases: CaseSet, series: Sequence[Series]) -> dict[str, Any]:
    """Every run's outcome, and the shares in all."""
    return {
        "set": cases.name,
        "left_out": dict(cases.left_out),
        "tokens": TOKENS_NOTE,
        "series": [
            {
                "name": each.name,
                "shares": {name: _figures(share(each.outcomes, name)) for name in MEASURES},
                "runs": [asdict(outcome) for outcome in each.outcomes],
            }
            for each in series
        ],
    }


def _figures(found: Share | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"share": found.value, "interval": found.interval, "hits": found.hits, "n": found.n}
