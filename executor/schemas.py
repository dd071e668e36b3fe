"""From a JSON Schema to types: what a plan may write for a value of it.

References to definitions are followed, and recursion ends at a stated depth. What a regular
language can't hold, such as bounds, is left to the tool's own check of its arguments.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from executor.errors import ToolDefinitionError
from executor.types import (
    FORMATS,
    MAX_DEPTH,
    Anything,
    Array,
    Choice,
    Object,
    Scalar,
    Type,
    Union,
    is_a,
)

_log = logging.getLogger(__name__)

Schema = Mapping[str, Any]

RECURSION = 2  # how often a definition may stand within itself
MAX_PARTS = 20_000  # of a schema as it is given: keywords, their values, choices
MAX_NESTING = 200  # of these within each other
MAX_SIZE = 2_000  # schemas within one, after its `$ref`s are followed

_BUT_A_NAME = ("additionalProperties", "patternProperties", "propertyNames")
_DATA = ("const", "enum", "default", "examples")  # keywords whose value is no schema
_REFUSED = ("$dynamicRef", "$recursiveRef")
_UNROLLED = 4  # items of an array that are written one by one, so that few may be required
_INFERRED = {"properties": "object", "additionalProperties": "object", "items": "array"}


def check_size(schema: Any, where: str) -> None:
    """Raises ToolDefinitionError for what would take seconds to read, before it is read."""
    left = [(schema, 0)]
    seen = 0
    while left:
        each, depth = left.pop()
        seen += 1
        if seen > MAX_PARTS or depth > MAX_NESTING:
            raise ToolDefinitionError(
                f"{where}: its schema has more than {MAX_PARTS} parts, or is nested deeper than "
                f"{MAX_NESTING} levels"
            )
        if isinstance(each, Mapping):
            left += [(part, depth + 1) for part in each.values()]
        elif isinstance(each, (list, tuple)):
            left += [(part, depth + 1) for part in each]


def with_null(schema: Any) -> Any:
    """The schema with OpenAPI's `nullable: true` said as JSON Schema says it."""
    if isinstance(schema, (list, tuple)):
        return [with_null(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    said = {
        key: part if key in _DATA else with_null(part)
        for key, part in schema.items()
        if key != "nullable" or not isinstance(part, bool)
    }
    return {"anyOf": [said, {"type": "null"}]} if schema.get("nullable") is True else said


def types_of(parameters: Schema, where: str) -> dict[str, Type]:
    """What may be written for each parameter, by name.

    An optional one that no value fits is left out, so that it can't be written. Raises
    ToolDefinitionError, which begins with `where`, the parameter and the path within it, for what
    can't be written or would be understood wrongly.
    """
    types = {}
    for name, schema in parameters.get("properties", {}).items():
        found = _Reader(parameters).read(schema, f"{where}({name})")
        if found is not None:
            types[name] = found
        elif name in parameters.get("required", ()):
            raise ToolDefinitionError(
                f"{where}({name}): no value fits: it would have to hold itself for ever, "
                "or none of its choices is of its type"
            )
        else:
            _log.warning("%s(%s): no value fits, so no plan will give it one", where, name)
    return types


def type_of(schema: Any, where: str) -> Type:
    """What a value of one schema can be. Raises ToolDefinitionError as `types_of` does."""
    check_size(schema, where)
    said = with_null(schema)
    return _Reader(said).read(said, where) or Anything()


class _Reader:
    """Reads one schema. A result of None says that no value fits, or none that ends in time."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._size = 0
        self._depth = 0
        self._within: list[str] = []

    def read(self, schema: Any, where: str) -> Type | None:
        self._size += 1
        if self._size > MAX_SIZE:
            raise ToolDefinitionError(f"{where}: describes more than {MAX_SIZE} values")
        if isinstance(schema, bool):
            return Anything() if schema else None
        for keyword in _REFUSED:
            if keyword in schema:
                raise ToolDefinitionError(f"{where}: {keyword} is not supported; use $ref")
        if "$ref" in schema:
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return self._all_of([beside, {"$ref": schema["$ref"]}], where)
        if "allOf" in schema:
            beside = {key: value for key, value in schema.items() if key != "allOf"}
            return self._all_of([beside, *schema["allOf"]], where)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                beside = {key: value for key, value in schema.items() if key != keyword}
                return self._union([{"allOf": [beside, each]} for each in schema[keyword]], where)
        if "const" in schema or "enum" in schema:
            return _choice(schema)
        inferred = (kind for keyword, kind in _INFERRED.items() if keyword in schema)
        kind: Any = schema.get("type") or next(inferred, None)
        if isinstance(kind, list):
            return self._union([{**schema, "type": each} for each in kind], where)
        if kind == "object":
            return self._object(schema, where)
        if kind == "array":
            return self._array(schema, where)
        if kind == "string":
            format = schema.get("format")
            if format in FORMATS:
                return Scalar("string", format)
            return Scalar("string", pattern=schema.get("pattern", ""))
        return Scalar(kind) if kind else Anything()

    def _part(self, schema: Any, where: str) -> Type | None:
        """A value within the one that is being read."""
        if self._depth == MAX_DEPTH:
            raise ToolDefinitionError(f"{where}: is nested deeper than {MAX_DEPTH} levels")
        self._depth += 1
        try:
            return self.read(schema, where)
        finally:
            self._depth -= 1

    def _all_of(self, parts: Sequence[Any], where: str) -> Type | None:
        """What fits all of them. A definition within itself is followed RECURSION times."""
        names = [each["$ref"] for each in parts if isinstance(each, Mapping) and "$ref" in each]
        if any(self._within.count(name) > RECURSION for name in names):
            return None
        merged: Any = True
        for part in parts:
            merged = _merged(merged, self._resolved(part, where), where)
        self._within += names
        try:
            return self.read(merged, where)
        finally:
            del self._within[len(self._within) - len(names) :]

    def _resolved(self, schema: Any, where: str) -> Any:
        """What a `$ref` leads to, or the schema itself. What stands beside a `$ref` is left out."""
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema
        target: Any = self._root
        try:
            head, *steps = schema["$ref"].split("/")
            if head != "#":
                raise KeyError(head)
            for step in steps:
                step = step.replace("~1", "/").replace("~0", "~")
                target = target[int(step) if isinstance(target, Sequence) else step]
        except (LookupError, ValueError, TypeError, AttributeError):
            raise ToolDefinitionError(
                f"{where}: its $ref {schema['$ref']!r} leads nowhere in the parameters' schema"
            ) from None
        return target

    def _union(self, schemas: Iterable[Any], where: str) -> Type | None:
        found = [self.read(each, where) for each in schemas]
        choices = tuple(each for each in found if each is not None)
        return Union(choices) if len(choices) > 1 else next(iter(choices), None)

    def _array(self, schema: Schema, where: str) -> Type | None:
        items = self._part(schema.get("items", True), f"{where}[]")
        first = [self._part(each, f"{where}[]") for each in schema.get("prefixItems", ())]
        most = schema.get("maxItems")
        while len(first) < min(schema.get("minItems", 0), _UNROLLED):
            first.append(items)
        if most is not None and most <= max(_UNROLLED, len(first)):
            first = [*first, *[items] * (most - len(first))][:most]
            items = None
        able: list[Type] = []
        for each in first:
            if each is None:
                break
            able.append(each)
        least = min(schema.get("minItems", 0), len(first))
        if len(able) < least:
            return None
        return Array(tuple(able), items if len(able) == len(first) else None, least)

    def _object(self, schema: Schema, where: str) -> Type | None:
        needed = schema.get("required", ())
        named = schema.get("properties", {})
        required: dict[str, Type] = {}
        optional: dict[str, Type] = {}
        for name, each in {**named, **{name: True for name in needed if name not in named}}.items():
            found = self._part(each, f"{where}.{name}")
            if found is not None:
                (required if name in needed else optional)[name] = found
            elif name in needed:
                return None
        # Any other name is allowed where nothing is said of it; a plan needs it where none is told.
        others = schema.get(
            "additionalProperties", not named or any(k in schema for k in _BUT_A_NAME)
        )
        return Object(required, optional, self._part(others, f"{where}.*"))


def _choice(schema: Schema) -> Type | None:
    values = schema["enum"] if "enum" in schema else [schema["const"]]
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    fitting = [each for each in values if not kinds or any(is_a(each, kind) for kind in kinds)]
    return Choice(tuple(fitting)) if fitting else None


def _merged(one: Any, other: Any, where: str) -> Any:
    """A schema for what fits both, as far as types go; the tool's own check knows the rest."""
    if one is True or other is False:
        return other
    if other is True or one is False:
        return one
    both = {**one, **other}
    for keyword in one.keys() & other.keys():
        a, b = one[keyword], other[keyword]
        match keyword:
            case "properties":
                shared = {name: {"allOf": [a[name], b[name]]} for name in a.keys() & b.keys()}
                both[keyword] = {**a, **b, **shared}
            case "required":
                both[keyword] = [*a, *b]
            case "enum":
                both[keyword] = [each for each in a if each in b]
            case "type":
                both[keyword] = _common_kinds(a, b)
                if not both[keyword]:
                    return False
            case "anyOf" | "oneOf" | "allOf" if a != b:
                raise ToolDefinitionError(f"{where}: has two sets of {keyword} at once; write one")
    return both


def _common_kinds(one: str | list[str], other: str | list[str]) -> list[str]:
    kinds = [each if isinstance(each, list) else [each] for each in (one, other)]
    if "number" in kinds[0]:
        kinds[0] = [*kinds[0], "integer"]
    if "number" in kinds[1]:
        kinds[1] = [*kinds[1], "integer"]
    return [each for each in kinds[0] if each in kinds[1]]
