"""Tools: typed functions that a plan may call. Schema and validator are built once, here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Unpack, overload

from executor.errors import ToolDefinitionError, UsageError
from executor.plan import JOIN, NAME, Value
from executor.policy import Options, Place, Policy
from executor.schema_size import Schema, check_size
from executor.schemas import type_of, types_of, with_null
from executor.signatures import (
    Validate,
    arguments_adapter,
    result_type,
    schema_of,
    schema_validator,
    signature_validator,
)
from executor.types import Anything, Type, arranged, has_an_order

MAX_NAME = 200  # letters
ANYTHING = Anything()
DEFAULT = Policy()


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function with a name, a description, and a JSON Schema of its parameters.

    `policy` says how its calls are run.
    """

    name: str
    description: str
    parameters: Schema
    function: Callable[..., Any]
    validate: Validate
    policy: Policy = DEFAULT
    returns: Type = ANYTHING  # what is known of its result
    types: Mapping[str, Type] = field(init=False, repr=False)  # of the parameters, by name
    required: tuple[str, ...] = field(init=False, repr=False)  # names that a call must give
    optional: tuple[str, ...] = field(init=False, repr=False)  # names that it may leave out
    runs_in: Place = field(init=False, repr=False)  # as its policy says, or as fits the function
    _with_order: frozenset[str] = field(init=False, repr=False)  # parameters that have objects

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ToolDefinitionError(
                f"a tool can't be called {self.name!r}: it needs a plain name"
            )
        if len(self.name) > MAX_NAME:
            raise ToolDefinitionError(
                f"a tool can't be called {self.name[:20]}...: it has more than {MAX_NAME} letters"
            )
        if self.name == JOIN:
            raise ToolDefinitionError(f"a tool can't be called {JOIN}: that word ends a plan")
        is_async = inspect.iscoroutinefunction(self.function)
        self.policy.check(self.name, is_async=is_async)
        if self.policy.runs_in == "process" and not _is_importable(self.function):
            raise ToolDefinitionError(
                f"{self.name}: to run in a process it must be a function at the top level of a "
                "module that can be imported, or of a tools file, but not of the script that runs"
            )
        for name in self.parameters.get("required", ()):
            if name not in self.properties:
                raise ToolDefinitionError(f"{self.name}({name}): is required, but has no schema")
        types = types_of(self.parameters, self.name)
        needed = frozenset(self.parameters.get("required", ()))
        # Kept, as each line of a plan asks for them.
        place: Place = self.policy.runs_in or ("loop" if is_async else "thread")
        ordered = frozenset(name for name, type in types.items() if has_an_order(type))
        object.__setattr__(self, "runs_in", place)
        object.__setattr__(self, "_with_order", ordered)
        object.__setattr__(self, "types", types)
        object.__setattr__(self, "required", tuple(name for name in types if name in needed))
        object.__setattr__(self, "optional", tuple(name for name in types if name not in needed))

    @classmethod
    def from_json_schema(
        cls,
        name: str,
        description: str,
        parameters: Schema,
        call: Callable[..., Any],
        returns: Schema | None = None,
        policy: Policy = DEFAULT,
    ) -> Tool:
        """A tool from a JSON Schema object; `call` takes the arguments by name, async or plain.

        `returns` is the schema of its result, if that is known.
        """
        check_size(parameters, name)
        parameters = with_null(parameters)
        validate = schema_validator(name, parameters)
        result = ANYTHING if returns is None else type_of(returns, f"{name}: its result")
        return cls(name, description, parameters, call, validate, policy, result)

    @property
    def properties(self) -> Mapping[str, Schema]:
        """The parameters' schemas by name, in the signature's order."""
        properties: Mapping[str, Schema] = self.parameters.get("properties", {})
        return properties

    def arranged(self, name: str, value: Value) -> Value:
        """A parameter's value with the members of its objects in the order a plan has them in."""
        return arranged(value, self.types[name]) if name in self._with_order else value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def _is_importable(function: Callable[..., Any]) -> bool:
    at_top = getattr(function, "__qualname__", "").isidentifier()
    return at_top and function.__module__ != "__main__"


class ToolBox:
    """The immutable set of tools that one run may use, in a fixed order.

    Boxes of the same tools are equal: what is made of one, such as a grammar, does for the other.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for item in tools:
            if not isinstance(item, Tool):
                raise ToolDefinitionError(f"{item!r} is no tool; put @tool above the function")
            if item.name in self._tools:
                raise ToolDefinitionError(f"two tools are called {item.name}; rename one")
            self._tools[item.name] = item
        self._hash = hash(tuple(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolBox) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return self._hash

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
def tool(**policy: Unpack[Options]) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, **policy: Unpack[Options]
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Makes a tool of a typed function, async or plain; its docstring becomes the description.

    Policy says what the keywords mean. Raises ToolDefinitionError, which names the function, the
    parameter and the reason, for a signature that a plan can't call.
    """

    def make(function: Callable[..., Any]) -> Tool:
        adapter = arguments_adapter(function)
        return Tool(
            name=function.__name__,
            description=inspect.getdoc(function) or "",
            parameters=schema_of(function, adapter),
            function=function,
            validate=signature_validator(adapter),
            returns=result_type(function),
            policy=Policy(**policy),
        )

    return make if function is None else make(function)
