"""A gold round while it is made: each call gets its id and its result as it is written."""

from __future__ import annotations

import re
from collections.abc import Callable

from executor.builtin import calculate
from executor.values import text_of
from train.samples import Round

_REFERENCE = re.compile(r"\$(\d+)")


class Draft:
    """One plan for the bundled tools, with what its tasks give."""

    def __init__(self, first_id: int = 1, earlier: dict[int, str] | None = None) -> None:
        self._first_id = first_id
        self._known = dict(earlier or {})
        self._lines: list[str] = []
        self._results: dict[int, str] = {}

    @property
    def next_id(self) -> int:
        return self._first_id + len(self._lines)

    def value(self, ref: str) -> str:
        """The result that a reference stands for."""
        return self._known[int(ref.removeprefix("$"))]

    def search(self, query: str, result: str) -> str:
        """A look-up with the result it is given; returns its reference."""
        return self._call("search", query, lambda _: result)

    def calculate(self, expression: str) -> str:
        """A calculation, done; returns its reference. Raises ToolError if it can't be done."""
        return self._call("calculate", expression, lambda text: text_of(calculate(text)))

    def round(self, ending: str) -> Round:
        plan = "\n".join([*self._lines, f"{self.next_id}. join()"])
        return Round(plan=plan, results=self._results, ending=ending)

    def _call(self, tool: str, argument: str, run: Callable[[str], str]) -> str:
        id = self.next_id
        needs = [int(found) for found in _REFERENCE.findall(argument)]
        lost = [need for need in needs if is_lost(self._known[need])]
        if lost:
            result = f"skipped: it needs ${lost[0]}, which gave no result"
        else:
            result = run(_REFERENCE.sub(lambda match: self._known[int(match[1])], argument))
        # References are written as they stand in a plan; nothing else in our texts needs an escape.
        quoted = argument.replace('"', '\\"')
        self._lines.append(f'{id}. {tool}("{quoted}")')
        self._known[id] = self._results[id] = result
        return f"${id}"


def is_lost(result: str) -> bool:
    return result.startswith(("failed: ", "skipped: "))
