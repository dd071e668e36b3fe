"""What a caller wants the answer to be: JSON that fits a schema.

The grammar holds the answer's shape as it is written; bounds and the like are looked at when it is
whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor.errors import RunError, UsageError
from executor.schema_checks import check_schema
from executor.schema_size import Schema, check_size
from executor.schemas import type_of, with_null
from executor.types import Type
from executor.values import shorten
from planner_prompts.grammar import Backend, check_answer

WHERE = "the answer's schema"
FAULT_CHARS = 300  # of a fault's description, which may quote all of the answer


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """A schema that answers must fit, and their type, as far as a grammar holds it."""

    schema: Schema
    type: Type

    @classmethod
    def of(cls, schema: Schema, backend: Backend) -> AnswerForm:
        """Raises UsageError for what is no JSON Schema, or none that the backend can hold."""
        check_size(schema, WHERE)
        own = with_null(_as_json(schema))
        if not isinstance(own, dict):
            raise UsageError(f'{WHERE}: must be an object, such as {{"type": "integer"}}')
        check_schema(own, WHERE)
        type = type_of(own, WHERE)
        check_answer(type, backend)
        return cls(own, type)

    async def fault(self, answer: str) -> str:
        """As `fault_in` tells it."""
        return self.fault_in(answer)

    def fault_in(self, answer: str) -> str:
        """Why the text is no JSON that fits the schema; empty if it is."""
        import jsonschema  # costs a tenth of a second, and most questions don't need it
        import referencing

        try:
            value = json.loads(answer, object_pairs_hook=_members)
        except (ValueError, RecursionError) as error:
            return f"it is no JSON: {error}"
        # With a registry of its own, nothing that the schema refers to is fetched.
        validator = jsonschema.Draft202012Validator(self.schema, registry=referencing.Registry())
        try:
            fault = jsonschema.exceptions.best_match(validator.iter_errors(value))
        except (RecursionError, referencing.exceptions.Unresolvable) as error:
            raise RunError("no_ending", f"{WHERE} can't be checked: {error}") from None
        if fault is None:
            return ""
        path = fault.json_path.removeprefix("$").removeprefix(".")
        return shorten(": ".join(filter(None, [path, fault.message])), FAULT_CHARS)


def load_schema(path: Path) -> Any:
    """The JSON in a user's file. Raises UsageError if there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"can't read {WHERE} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"can't read {WHERE} {path}: not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{WHERE} {path} is no JSON: {error}") from None


def _as_json(schema: Any) -> Any:
    """A copy that holds nothing but what JSON can say, in whole characters."""
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"{WHERE} is no JSON: {error}") from None
    return json.loads(text)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two alike, programs read this one or that."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return members
