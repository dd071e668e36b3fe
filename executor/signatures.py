"""From a function's signature or a JSON Schema to what a call may get."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NotRequired, Protocol

import pydantic
import pydantic_core
from typing_extensions import TypedDict

from executor.errors import ArgumentError, ToolDefinitionError
from executor.schema_checks import check_schema
from executor.schema_references import check_references
from executor.schema_size import Schema
from executor.schemas import type_of
from executor.types import Anything, Type

Arguments = Mapping[str, Any]


class Validate(Protocol):
    """Gives the arguments as the function takes them.

    Raises ArgumentError, with the path to the fault, unless that is in one of the `open`
    parameters, whose values are not known yet; with such ones, the arguments come back as they are.
    """

    def __call__(self, args: Arguments, open: Collection[str] = ()) -> dict[str, Any]: ...


_OF_NAMES = ("required", "additionalProperties")  # keywords that look at no value

_typed_dict: Any = TypedDict  # made at run time, which type checkers don't follow


def arguments_adapter(function: Callable[..., Any]) -> pydantic.TypeAdapter[Any]:
    """A validator for the arguments as a typed dictionary, where no parameter name is special."""
    name = getattr(function, "__name__", repr(function))
    if not inspect.isroutine(function):
        raise ToolDefinitionError(f"{name}: a tool is made from a function")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        signature = inspect.signature(function)
    except (NameError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise ToolDefinitionError(f"{name}: its signature can't be read: {error}") from None
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        where = f"{name}({parameter.name})"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ToolDefinitionError(f"{where}: a plan names each argument, so no * parameters")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ToolDefinitionError(f"{where}: a plan names arguments, so none positional-only")
        if parameter.name not in hints:
            raise ToolDefinitionError(
                f"{where}: has no type; write one, such as {parameter.name}: str"
            )
        hint = hints[parameter.name]
        _check_hint(where, hint, parameter.default)
        fields[parameter.name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    arguments: Any = _typed_dict(name, fields)
    arguments.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    return pydantic.TypeAdapter(arguments)


def _check_hint(where: str, hint: Any, default: Any) -> None:
    kind = inspect.formatannotation(hint)
    try:
        adapter = pydantic.TypeAdapter(hint)
        adapter.json_schema()
    except (pydantic.errors.PydanticUserError, pydantic_core.SchemaError):
        raise ToolDefinitionError(f"{where}: no JSON value can stand for {kind}") from None
    if default is inspect.Parameter.empty or default is None:  # None: not given, whatever the type
        return
    try:
        adapter.validate_python(default)
    except pydantic.ValidationError:
        raise ToolDefinitionError(f"{where}: its default {default!r} is no {kind}") from None


def schema_of(function: Callable[..., Any], adapter: pydantic.TypeAdapter[Any]) -> Schema:
    """The JSON Schema object of a function's parameters, with their defaults."""
    schema = adapter.json_schema()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty:
            default = pydantic_core.to_jsonable_python(parameter.default, fallback=str)
            schema["properties"][parameter.name]["default"] = default
    return schema


def result_type(function: Callable[..., Any]) -> Type:
    """What the function says that it gives: anything, if it says nothing that JSON can hold."""
    hint = typing.get_type_hints(function, include_extras=True).get("return", Any)
    try:
        schema = pydantic.TypeAdapter(hint).json_schema(mode="serialization")
    except pydantic.errors.PydanticUserError:
        return Anything()
    return type_of(schema, f"{function.__name__}: its result")


def signature_validator(adapter: pydantic.TypeAdapter[Any]) -> Validate:
    """Checks arguments against a signature."""
    check = adapter.validator.validate_python

    def validate(args: Arguments, open: Collection[str] = ()) -> dict[str, Any]:
        try:
            checked: dict[str, Any] = check(dict(args))
        except pydantic.ValidationError as error:
            for fault in error.errors(include_url=False):
                if fault["loc"][:1] == () or fault["loc"][0] not in open:
                    raise ArgumentError(f"{_path(fault['loc'])}: {fault['msg']}") from None
            return dict(args)
        return checked

    return validate


def schema_validator(name: str, parameters: Schema) -> Validate:
    """Checks arguments against a JSON Schema.

    Raises ToolDefinitionError if it is none, or not of an object.
    """
    import jsonschema  # costs a tenth of a second, and most toolboxes don't need it

    check_schema(parameters, name)
    if not isinstance(parameters, Mapping) or parameters.get("type") != "object":
        raise ToolDefinitionError(f'{name}: its parameters must be a schema of type "object"')
    check_references(parameters, name)
    _check_all_named(name, parameters)

    validator = jsonschema.Draft202012Validator(parameters)

    def validate(args: Arguments, open: Collection[str] = ()) -> dict[str, Any]:
        for error in validator.iter_errors(dict(args)):
            path = error.absolute_path
            if path[0] not in open if path else not open or error.validator in _OF_NAMES:
                raise ArgumentError(f"{_path(path)}: {error.message}")
        return dict(args)

    return validate


def _check_all_named(name: str, parameters: Schema) -> None:
    """Parameters are read from `properties`; elsewhere they would be lost without a word."""
    named = parameters.get("properties", {})
    if "$ref" in parameters:
        raise ToolDefinitionError(f"{name}: its parameters are a $ref; write their properties")
    for keyword in ("allOf", "anyOf", "oneOf"):
        for part in parameters.get(keyword, ()):
            told = part if isinstance(part, Mapping) else {}
            for each in (*told.get("properties", {}), *told.get("required", ())):
                if each not in named:
                    raise ToolDefinitionError(
                        f"{name}({each}): is only told of in {keyword}; write it into the "
                        "parameters' properties"
                    )
            if "$ref" in told:
                raise ToolDefinitionError(
                    f"{name}: its parameters' {keyword} has a $ref; write their properties"
                )


def _path(steps: Iterable[str | int]) -> str:
    joined = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return joined.lstrip(".") or "arguments"
