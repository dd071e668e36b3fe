"""Plan text -> sealed tasks, as the text arrives. No I/O, no clock.

Two steps. The scanner looks at each character once and finds the closing parenthesis of a call:
outside of strings a call holds no other. The reader then takes the whole call apart. So any
split of a text gives the same tasks, and the work is linear in the text.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from executor.errors import PlanError
from executor.plan import JOIN, Join, Task
from executor.reader import Reader
from executor.tools import ToolBox

_IN_CALL = re.compile(r'["\n)]')
_IN_STRING = re.compile(r'["\\\n]')


class _Place(Enum):
    CALL = auto()  # from the line's start to the closing parenthesis, outside of strings
    STRING = auto()
    ESCAPE = auto()  # right behind a backslash in a string
    TAIL = auto()  # behind the closing parenthesis


class PlanParser:
    """Feed it a plan in any pieces; it gives each task at its closing parenthesis.

    A fault is raised as `PlanError` once everything sealed before it has been given out: when
    a `feed` finds both, it returns the tasks, and the next `feed` or `close` raises.
    `line` and `column` count from 1 and say where the next character will stand.
    """

    def __init__(self, toolbox: ToolBox, first_id: int = 1) -> None:
        self._toolbox = toolbox
        self._next_id = first_id
        self._place = _Place.CALL
        self._pieces: list[str] = []  # of the line, up to its seal
        self.line = 1
        self.column = 1
        self._joined = False
        # Of the PlanError, which itself would hold, by its traceback, this parser.
        self._fault: tuple[str, int, int] | None = None

    def feed(self, text: str) -> list[Task | Join]:
        """Takes the next piece of text; returns what it sealed, in order."""
        if self._fault is not None:
            raise PlanError(*self._fault)
        sealed: list[Task | Join] = []
        try:
            self._scan(text, sealed)
        except PlanError as fault:
            self._fault = fault.reason, fault.line, fault.column
            if not sealed:
                raise
        return sealed

    def close(self) -> list[Task | Join]:
        """Says that the text has ended. Raises PlanError if the plan has not."""
        if self._fault is not None:
            raise PlanError(*self._fault)
        if self.unsealed.strip():
            raise self._error("the plan ends in the middle of a task")
        if not self._joined:
            raise self._error(f"the plan ends without {self._next_id}. {JOIN}()")
        return []

    @property
    def unsealed(self) -> str:
        """The last line, as far as it is read, if its task is not sealed."""
        return "".join(self._pieces)

    def _error(self, message: str) -> PlanError:
        return PlanError(message, self.line, self.column)

    def _scan(self, text: str, sealed: list[Task | Join]) -> None:
        position = 0
        while position < len(text):
            if self._place is _Place.TAIL:
                position = self._skip_tail(text, position)
            elif self._place is _Place.ESCAPE:
                self._place = _Place.STRING
                if text[position] == "\n":
                    continue  # to the error for a line break in a string
                position = self._keep(text, position, position + 1)
            else:
                position = self._scan_call(text, position, sealed)

    def _scan_call(self, text: str, position: int, sealed: list[Task | Join]) -> int:
        in_string = self._place is _Place.STRING
        found = (_IN_STRING if in_string else _IN_CALL).search(text, position)
        if found is None:  # most pieces of a streamed text
            self._pieces.append(text[position:])
            self.column += len(text) - position
            return len(text)
        if found.group() == "\n":
            self._keep(text, position, found.start())
            return self._break_line(found.end(), in_string)
        self._keep(text, position, found.end())
        match found.group():
            case ")":
                sealed.append(self._seal())
            case "\\":
                self._place = _Place.ESCAPE
            case _:
                self._place = _Place.CALL if in_string else _Place.STRING
        return found.end()

    def _keep(self, text: str, start: int, end: int) -> int:
        self._pieces.append(text[start:end])
        self.column += end - start
        return end

    def _break_line(self, position: int, in_string: bool) -> int:
        if in_string:
            raise self._error("a line break inside a string; write it as \\n")
        if self.unsealed.strip():
            raise self._error("the line ends before the task's closing parenthesis")
        self._new_line()
        return position

    def _skip_tail(self, text: str, position: int) -> int:
        if text[position] == "\n":
            self._new_line()
        elif text[position] in " \t\r":
            self.column += 1
        else:
            raise self._error("more text behind the task's closing parenthesis")
        return position + 1

    def _new_line(self) -> None:
        self._place = _Place.CALL
        self._pieces.clear()
        self.line += 1
        self.column = 1

    def _seal(self) -> Task | Join:
        call = "".join(self._pieces)
        if self._joined:
            self.column = 1
            raise self._error(f"a task behind {JOIN}(), which ends the plan")
        item = Reader(call, self.line, self._toolbox).item(self._next_id)
        self._joined = isinstance(item, Join)
        self._next_id += 1
        self._place = _Place.TAIL
        self._pieces.clear()
        return item


def tasks_of(plan: str, toolbox: ToolBox, first_id: int = 1) -> list[Task]:
    """The tasks of a whole plan. Raises PlanError for a text that is none."""
    parser = PlanParser(toolbox, first_id)
    items = parser.feed(plan)
    parser.close()
    return [item for item in items if isinstance(item, Task)]
