"""From a JSON Schema to types: what a plan may write for a value of it.

References to definitions are followed, and recursion ends at a stated depth. What a regular
language can't hold, such as bounds, is left to the tool's own check of its arguments.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from executor.errors import ToolDefinitionError
from executor.schema_checks import check_json, check_name, check_schema
from executor.schema_size import DATA, Schema, check_size
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

RECURSION = 2  # how often a definition may stand within itself
MAX_SIZE = 2_000  # schemas within one, after its `$ref`s are followed
MAX_SIZES = 5 * MAX_SIZE  # in all parameters of a tool
MAX_IN_A_ROW = 100  # items of an array that have schemas of their own
MAX_PATTERNS = 16  # of a tool that are tried for the grammar, which takes time; the seal has all

_BUT_A_NAME = ("additionalProperties", "patternProperties", "propertyNames")
REFUSED = ("$dynamicRef", "$recursiveRef")  # keywords that nothing here follows
_UNROLLED = 4  # items of an array that are written one by one, so that few may be required
_INFERRED = {"properties": "object", "additionalProperties": "object", "items": "array"}


def with_null(schema: Any) -> Any:
    """The schema with OpenAPI's `nullable: true` said as JSON Schema says it."""
    if isinstance(schema, (list, tuple)):
        return [with_null(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    said = {
        key: part if key in DATA else with_null(part)
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
    reader = Reader(parameters)
    for name, schema in parameters.get("properties", {}).items():
        check_name(name, f"{where}({name})")
        found = reader.read_parameter(schema, f"{where}({name})")
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
    return Reader(said).read(said, where) or Anything()


class Reader:
    """Reads one schema. A result of None says that no value fits, or none that ends in time."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._size = 0  # of the parameter that is read
        self._sizes = 0
        self._depth = 0
        self._within: list[str] = []
        self._patterns: set[str] = set()
        self._sound: set[str] = set()  # `$ref`s that lead to a schema

    def read_parameter(self, schema: Any, where: str) -> Type | None:
        self._sizes += self._size
        if self._sizes > MAX_SIZES:
            raise ToolDefinitionError(
                f"{where}: the parameters before it describe more than {MAX_SIZES} values"
            )
        self._size = 0
        return self.read(schema, where)

    def read(self, schema: Any, where: str) -> Type | None:
        self._size += 1
        if self._size > MAX_SIZE:
            raise ToolDefinitionError(f"{where}: describes more than {MAX_SIZE} values")
        if isinstance(schema, bool):
            return Anything() if schema else None
        for keyword in REFUSED:
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
            return _choice(schema, where)
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
            return Scalar("string", pattern=self._pattern(schema.get("pattern", "")))
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
            merged = _merged(merged, self.resolved(part, where), where)
        self._within += names
        try:
            return self.read(merged, where)
        finally:
            del self._within[len(self._within) - len(names) :]

    def _pattern(self, pattern: str) -> str:
        if len(self._patterns) < MAX_PATTERNS:
            self._patterns.add(pattern)
        return pattern if pattern in self._patterns else ""

    def resolved(self, schema: Any, where: str) -> Any:
        """What a `$ref` leads to, or the schema itself. What stands beside a `$ref` is left out."""
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema
        target: Any = self._root
        try:
            head, *steps = unquote(schema["$ref"]).split("/")
            if head != "#":
                raise KeyError(head)
            for step in steps:
                step = step.replace("~1", "/").replace("~0", "~")
                if isinstance(target, Sequence) and not step.isdecimal():
                    raise KeyError(step)  # among them -1, which is Python's
                target = target[int(step) if isinstance(target, Sequence) else step]
        except (LookupError, ValueError, TypeError, AttributeError):
            raise ToolDefinitionError(
                f"{where}: its $ref {schema['$ref']!r} leads nowhere in the parameters' schema"
            ) from None
        if schema["$ref"] not in self._sound:
            check_schema(target, f"{where}: its $ref {schema['$ref']!r} leads to no schema")
            self._sound.add(schema["$ref"])
        return target

    def _union(self, schemas: Iterable[Any], where: str) -> Type | None:
        found = [self.read(each, where) for each in schemas]
        choices = tuple(each for each in found if each is not None)
        return Union(choices) if len(choices) > 1 else next(iter(choices), None)

    def _array(self, schema: Schema, where: str) -> Type | None:
        if len(schema.get("prefixItems", ())) > MAX_IN_A_ROW:
            raise ToolDefinitionError(f"{where}: more than {MAX_IN_A_ROW} prefixItems")
        items = self._part(schema.get("items", True), f"{where}[]")
        first = [self._part(each, f"{where}[]") for each in schema.get("prefixItems", ())]
        most = schema.get("maxItems")
        if most is not None:
            most = int(most)  # for 3.0 is an integer, too
            if most < schema.get("minItems", 0):
                return None
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
            check_name(name, f"{where}.{name}")
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


def _choice(schema: Schema, where: str) -> Type | None:
    values = schema["enum"] if "enum" in schema else [schema["const"]]
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    fitting = [each for each in values if not kinds or any(is_a(each, kind) for kind in kinds)]
    for each in fitting:
        check_json(each, where)
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
