"""Tools: typed functions that a plan may call. Schema and validator are built once, here."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, overload

import pydantic
import pydantic_core
from typing_extensions import TypedDict

from executor.errors import ArgumentError, ToolDefinitionError, UsageError
from executor.plan import JOIN

Schema = Mapping[str, Any]
Arguments = Mapping[str, Any]

DEFAULT_TIMEOUT = 30.0  # seconds
SCALARS = frozenset({"string", "integer", "number", "boolean", "null"})
_typed_dict: Any = TypedDict  # made at run time, which type checkers don't follow
_NAME = re.compile(r"[^\W\d][\w.-]*")


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function with a name, a description, and a JSON Schema of its parameters.

    `timeout` is in seconds. `eager=False` marks side effects: such a call waits until the whole
    plan is sealed and valid. `idempotent=True` lets equal calls of a run share one execution.
    """

    name: str
    description: str
    parameters: Schema
    function: Callable[..., Any]
    validate: Callable[[Arguments], dict[str, Any]]
    timeout: float = DEFAULT_TIMEOUT
    eager: bool = True
    idempotent: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ToolDefinitionError(
                f"a tool can't be called {self.name!r}: it needs a plain name"
            )
        if self.name == JOIN:
            raise ToolDefinitionError(f"a tool can't be called {JOIN}: that word ends a plan")
        if not self.timeout > 0:
            raise ToolDefinitionError(f"{self.name}: timeout must be above 0 seconds")
        for name, schema in self.properties.items():
            _check_parameter(f"{self.name}({name})", name, schema)
        for name in self.parameters.get("required", ()):
            if name not in self.properties:
                raise ToolDefinitionError(f"{self.name}({name}): is required, but has no schema")

    @classmethod
    def from_json_schema(
        cls, name: str, description: str, parameters: Schema, call: Callable[..., Any]
    ) -> Tool:
        """A tool from a JSON Schema object; `call` takes the arguments by name, async or plain."""
        import jsonschema  # costs a tenth of a second, and most toolboxes don't need it

        try:
            jsonschema.Draft202012Validator.check_schema(parameters)
        except jsonschema.SchemaError as error:
            raise ToolDefinitionError(f"{name}: {error.json_path}: {error.message}") from None
        if parameters.get("type") != "object":
            raise ToolDefinitionError(f'{name}: its parameters must be a schema of type "object"')
        return cls(name, description, parameters, call, _schema_validator(parameters))

    @property
    def properties(self) -> Mapping[str, Schema]:
        """The parameters' schemas by name, in the signature's order."""
        properties: Mapping[str, Schema] = self.parameters.get("properties", {})
        return properties

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters that a call must give."""
        return tuple(n for n in self.properties if n in self.parameters.get("required", ()))

    @property
    def optional(self) -> tuple[str, ...]:
        """Names of the parameters that a call may leave out."""
        return tuple(n for n in self.properties if n not in self.parameters.get("required", ()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class ToolBox:
    """The immutable set of tools that one run may use, in a fixed order."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for item in tools:
            if not isinstance(item, Tool):
                raise ToolDefinitionError(f"{item!r} is no tool; put @tool above the function")
            if item.name in self._tools:
                raise ToolDefinitionError(f"two tools are called {item.name}; rename one")
            self._tools[item.name] = item

    def subset(self, names: Iterable[str]) -> ToolBox:
        """The tools of these names, in this box's order."""
        wanted = set(names)
        if unknown := wanted - self._tools.keys():
            raise UsageError(f"no such tool: {', '.join(sorted(unknown))}; there are: {self}")
        return ToolBox(item for item in self if item.name in wanted)

    def __getitem__(self, name: str) -> Tool:
        return self._tools[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __str__(self) -> str:
        return ", ".join(self._tools)


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *, timeout: float = ..., eager: bool = ..., idempotent: bool = ...
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    eager: bool = True,
    idempotent: bool = False,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Makes a tool of a typed function, async or plain; its docstring becomes the description.

    A plain function runs in a thread. Raises ToolDefinitionError, which names the function, the
    parameter and the reason, for a signature that a plan can't call.
    """

    def make(function: Callable[..., Any]) -> Tool:
        adapter = _arguments_adapter(function)
        return Tool(
            name=function.__name__,
            description=inspect.getdoc(function) or "",
            parameters=_schema_of(function, adapter),
            function=function,
            validate=_signature_validator(adapter),
            timeout=timeout,
            eager=eager,
            idempotent=idempotent,
        )

    return make if function is None else make(function)


def _arguments_adapter(function: Callable[..., Any]) -> pydantic.TypeAdapter[Any]:
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
        _check_hint(where, hint)
        fields[parameter.name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    arguments: Any = _typed_dict(name, fields)
    arguments.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    return pydantic.TypeAdapter(arguments)


def _check_hint(where: str, hint: Any) -> None:
    try:
        pydantic.TypeAdapter(hint).json_schema()
    except pydantic.errors.PydanticUserError:
        kind = inspect.formatannotation(hint)
        raise ToolDefinitionError(f"{where}: no JSON value can stand for {kind}") from None


def _schema_of(function: Callable[..., Any], adapter: pydantic.TypeAdapter[Any]) -> Schema:
    schema = adapter.json_schema()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty:
            default = pydantic_core.to_jsonable_python(parameter.default, fallback=str)
            schema["properties"][parameter.name]["default"] = default
    return schema


def _signature_validator(
    adapter: pydantic.TypeAdapter[Any],
) -> Callable[[Arguments], dict[str, Any]]:
    def validate(args: Arguments) -> dict[str, Any]:
        try:
            checked: dict[str, Any] = adapter.validate_python(dict(args))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ArgumentError(f"{_path(first['loc'])}: {first['msg']}") from None
        return checked

    return validate


def _schema_validator(parameters: Schema) -> Callable[[Arguments], dict[str, Any]]:
    import jsonschema

    validator = jsonschema.Draft202012Validator(parameters)

    def validate(args: Arguments) -> dict[str, Any]:
        error = next(validator.iter_errors(dict(args)), None)
        if error is not None:
            raise ArgumentError(f"{_path(error.absolute_path)}: {error.message}")
        return dict(args)

    return validate


def _path(steps: Iterable[str | int]) -> str:
    joined = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return joined.lstrip(".") or "arguments"


def _check_parameter(where: str, name: str, schema: Schema) -> None:
    if not _NAME.fullmatch(name):
        raise ToolDefinitionError(f"{where}: a parameter needs a plain name")
    _check_type(where, schema)


def _check_type(where: str, schema: Schema) -> None:
    """Refuses what the plan grammar can't write: so far all but scalars, choices and arrays."""
    kind = schema.get("type", "of no stated type") if isinstance(schema, Mapping) else schema
    if not isinstance(kind, str):
        raise ToolDefinitionError(f"{where}: needs one stated type, not {kind}")
    if "enum" in schema or "const" in schema:
        choices = schema.get("enum", [schema.get("const")])
        if not choices or any(isinstance(choice, (dict, list)) for choice in choices):
            raise ToolDefinitionError(f"{where}: choices must be single values")
    elif "anyOf" in schema:
        for choice in schema["anyOf"]:
            _check_type(where, choice)
    elif kind == "array" and isinstance(schema.get("items"), Mapping):
        _check_type(where + "[]", schema["items"])
    elif kind not in SCALARS:
        raise ToolDefinitionError(
            f"{where}: is {kind}; a parameter is text, a number, true or false, a choice of such "
            "values, or a list of them with its item type"
        )
