"""Takes one complete call of a plan apart: `3. search("x $1", limit=2)` -> `Task`. No I/O."""

from __future__ import annotations

import json
import math
import re

from executor.errors import PlanError
from executor.plan import JOIN, NAME, Join, Ref, Task, Template, Value
from executor.tools import Tool, ToolBox
from executor.types import MAX_DEPTH

_HEAD = re.compile(rf"[ \t]*([0-9]{{1,9}})\. ?({NAME.pattern})\(")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NAME = re.compile(rf"(?:({NAME.pattern})|{_STRING.pattern}) *= *")
_PATH = r"((?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:0|[1-9][0-9]{0,8})\])*)"
_REF = re.compile(rf"\$([1-9][0-9]{{0,8}}){_PATH}")
_DOLLAR = re.compile(rf"\$(?:(\$)|([1-9][0-9]{{0,8}})|\{{([1-9][0-9]{{0,8}}){_PATH}\}})")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None}


class Reader:
    """Recursive descent over one call, from its id to its closing parenthesis.

    `line` is the line's number in the plan, for the errors.
    """

    def __init__(self, text: str, line: int, toolbox: ToolBox) -> None:
        self._text = text
        self._line = line
        self._toolbox = toolbox
        self._at = 0
        self._id = 0

    def item(self, expected_id: int) -> Task | Join:
        head = _HEAD.match(self._text)
        if head is None:
            raise self._error("expected `<id>. <tool>(`")
        self._id, name = int(head[1]), head[2]
        if self._id != expected_id:
            raise self._error(f"expected the id {expected_id}, found {self._id}", head.start(1))
        self._at = head.end()
        if name == JOIN:
            self._expect(")")
            return Join(self._id)
        if name not in self._toolbox:
            raise self._error(f"no tool is called {name}", head.start(2))
        return Task(self._id, name, self._arguments(self._toolbox[name]))

    def _arguments(self, tool: Tool) -> dict[str, Value]:
        args: dict[str, Value] = {}
        while not self._take(")"):
            if args:
                self._expect(",")
                self._blanks()
            start = self._at
            name = self._parameter(tool, first=not args)
            if name in args:
                raise self._error(f"{tool.name} gets {name} twice", start)
            args[name] = self._value(MAX_DEPTH)
            self._blanks()
        missing = [name for name in tool.required if name not in args]
        if missing:
            raise self._error(f"{tool.name} needs {', '.join(missing)}")
        return args

    def _parameter(self, tool: Tool, *, first: bool) -> str:
        named = _NAME.match(self._text, self._at)
        if named is None:
            if first and len(tool.required) == 1:
                return tool.required[0]
            raise self._error("expected `name=value`")
        name = named[1] or self._decode(named[2])
        if name not in tool.types:
            raise self._error(f"{tool.name} has no parameter {name}")
        self._at = named.end()
        return name

    def _value(self, depth: int) -> Value:
        match self._text[self._at]:
            case '"':
                return self._string()
            case "$":
                return self._reference()
            case "[" if depth:
                return self._array(depth - 1)
            case "{" if depth:
                return self._object(depth - 1)
            case "[" | "{":
                raise self._error(f"nested deeper than {MAX_DEPTH} levels")
        for word, value in _WORDS.items():
            if self._take(word):
                return value
        return self._number()

    def _array(self, depth: int) -> list[Value]:
        self._expect("[")
        items: list[Value] = []
        self._blanks()
        while not self._take("]"):
            if items:
                self._expect(",")
                self._blanks()
            items.append(self._value(depth))
            self._blanks()
        return items

    def _object(self, depth: int) -> dict[str, Value]:
        self._expect("{")
        items: dict[str, Value] = {}
        self._blanks()
        while not self._take("}"):
            if items:
                self._expect(",")
                self._blanks()
            key = self._decode(self._match(_STRING, "a key in quotes")[1])
            self._blanks()
            self._expect(":")
            self._blanks()
            items[key] = self._value(depth)
            self._blanks()
        return items

    def _number(self) -> int | float:
        start = self._at
        text = self._match(_NUMBER, "a value")[0]
        try:
            number: int | float = json.loads(text)
            too_large = isinstance(number, float) and math.isinf(number)
        except ValueError:  # over 4300 digits
            too_large = True
        if too_large:
            raise self._error("a number too large to hold", start)
        return number

    def _reference(self) -> Ref:
        found = self._match(_REF, "a reference such as $1")
        return self._ref(found[1], found[2], found.start())

    def _ref(self, task_id: str, path: str, start: int) -> Ref:
        if int(task_id) >= self._id:
            raise self._error(f"${task_id} does not point to an earlier task", start)
        steps = (key or int(index) for key, index in _STEP.findall(path))
        return Ref(int(task_id), tuple(steps))

    def _string(self) -> str | Template:
        found = self._match(_STRING, "a string that is closed")
        body, start = found[1], found.start(1)
        parts: list[str | Ref] = [""]
        done = 0
        while (dollar := body.find("$", done)) >= 0:
            self._add_text(parts, body[done:dollar])
            mark = _DOLLAR.match(body, dollar)
            if mark is None:
                raise self._error(
                    "a $ in a string is $1, ${1.name}, or $$ for itself", start + dollar
                )
            if mark[1]:
                self._add_text(parts, "$", encoded=False)
            else:
                parts.append(self._ref(mark[2] or mark[3], mark[4] or "", start + dollar))
            done = mark.end()
        self._add_text(parts, body[done:])
        kept = tuple(part for part in parts if part != "")
        return (
            Template(kept)
            if any(isinstance(part, Ref) for part in kept)
            else "".join(map(str, kept))
        )

    def _add_text(self, parts: list[str | Ref], text: str, *, encoded: bool = True) -> None:
        text = self._decode(text) if encoded else text
        last = parts[-1]
        if isinstance(last, str):
            parts[-1] = last + text
        else:
            parts.append(text)

    def _decode(self, body: str) -> str:
        try:
            text: str = json.loads(f'"{body}"')
        except ValueError as error:
            raise self._error("not a JSON string: " + str(error).split(":")[0]) from None
        if _LONE_SURROGATE.search(text):
            raise self._error("half a surrogate pair in a string")
        return text

    def _match(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._error(f"expected {expected}")
        self._at = found.end()
        return found

    def _take(self, text: str) -> bool:
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._error(f"expected {text!r}")

    def _blanks(self) -> None:
        while self._take(" "):
            pass

    def _error(self, message: str, at: int | None = None) -> PlanError:
        return PlanError(message, self._line, (self._at if at is None else at) + 1)
