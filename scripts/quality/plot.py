"""The shares by shape, with their intervals, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from executor.errors import UsageError
from quality.figures import by_shape, share
from quality.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".svg", ".png")
PANELS = ("plan exact", "plan useful", "answer right")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKS = "os^Dv<>"
LANE = 0.8  # of a row's height, shared by the series


def check_path(path: Path) -> None:
    """Raises UsageError for a file that no picture can be written to."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"the plot {path} must end in {' or '.join(SUFFIXES)}")


def draw(series: Sequence[Series], title: str, path: Path) -> None:
    """One panel a measure, one row a shape, one colour a series."""
    from matplotlib.figure import Figure  # takes half a second

    groups = [{"in all": each.outcomes, **by_shape(each.outcomes)} for each in series]
    shapes = list(dict.fromkeys(shape for found in groups for shape in found))
    height = 1.5 + len(shapes) * (0.13 + 0.09 * len(series)) + 0.2 * len(series)
    figure = Figure(figsize=(11, height), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, measure in zip(panels, PANELS, strict=True):
        for at, (each, found) in enumerate(zip(series, groups, strict=True)):
            offset = LANE * ((at + 0.5) / len(series) - 0.5)
            shares = [share(found.get(shape, ()), measure) for shape in shapes]
            points = [
                (row + offset, 100 * one.value, 100 * one.interval[0], 100 * one.interval[1])
                for row, one in enumerate(shares)
                if one is not None
            ]
            _points(axes, points, at, each.name)
        _dress(axes, measure, shapes)
    panels[0].set_yticks(range(len(shapes)), shapes)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"can't write the plot {path}: {error.strerror}") from None


def _points(
    axes: Axes, points: Sequence[tuple[float, float, float, float]], at: int, label: str
) -> None:
    colour = COLOURS[at % len(COLOURS)]
    axes.errorbar(
        [value for _, value, _, _ in points],
        [row for row, _, _, _ in points],
        xerr=(
            [value - low for _, value, low, _ in points],
            [high - value for _, value, _, high in points],
        ),
        fmt=MARKS[at % len(MARKS)],
        color=colour,
        markersize=4,
        elinewidth=1.2,
        capsize=2,
        label=label,
    )


def _dress(axes: Axes, measure: str, shapes: Sequence[str]) -> None:
    axes.set_title(measure, fontsize=10)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("% of questions, 95 % interval", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.3)
    for row in range(0, len(shapes), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="black", alpha=0.04, linewidth=0)
    axes.set_ylim(-0.5, len(shapes) - 0.5)
    axes.spines[["top", "right"]].set_visible(False)
