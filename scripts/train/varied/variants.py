"""One reading of a tool of the bank: its name, signature and description in one toolbox."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from executor.builtin.calculator import calculate
from executor.plan import Ref, Value
from executor.tools import Tool
from executor.values import text_of
from train.samples import ToolSpec
from train.varied.bank import Parameter, ToolContent, common, fact_rows
from train.varied.phrasing import Drawn, Scalar, Slots, draw, draw_text, fill
from train.wording import listed

_FIELDS = ("{does}. Gives {fields}.", "{does}: {fields}.", "{does}; returns {fields}.")


@dataclass(frozen=True)
class Variant:
    """`params` are the kept parameters' names by slot, `fields` the result's by the bank's name."""

    domain: str
    key: str
    tool: ToolContent
    spec: ToolSpec
    params: Mapping[str, str]
    fields: Mapping[str, str]

    @property
    def optional(self) -> frozenset[str]:
        return frozenset(slot for slot in self.params if self.tool.params[slot].optional)

    def draw(self, options: Iterable[str], rng: Random) -> dict[str, Drawn]:
        """Values for all that is required, and for these optional parameters."""
        lists = common().lists
        wanted = [*(self.params.keys() - self.optional), *options]
        drawn: dict[str, Drawn] = {}
        if self.tool.rows:
            drawn |= self._row(rng)
        for slot, values in self.tool.slots.items():
            drawn[slot] = draw(values, lists, rng)
        for slot in sorted(wanted):
            parameter = self.tool.params[slot]
            if parameter.text or slot in drawn:
                continue
            drawn[slot] = (
                _several(parameter, rng)
                if parameter.several
                else draw(parameter.values, lists, rng)
            )
        return drawn

    def _row(self, rng: Random) -> Mapping[str, Drawn]:
        if self.tool.rows == "facts":
            return rng.choice(fact_rows())
        return {
            slot: Drawn(wording, self._choices(slot).get(wording, wording))
            for slot, wording in rng.choice(self.tool.rows).items()
        }

    def _choices(self, slot: str) -> Mapping[str, Scalar]:
        values = self.tool.params[slot].values if slot in self.params else []
        return values if isinstance(values, dict) else {}

    def arguments(self, slots: Slots) -> dict[str, Value]:
        """By the parameters' names, for the slots that are filled; references stay as they are."""
        args: dict[str, Value] = {}
        texts = {slot: str(drawn.value) for slot, drawn in slots.items()}
        for slot, name in self.params.items():
            parameter = self.tool.params[slot]
            if parameter.text and slot not in slots:
                args[name] = fill(parameter.text, texts)
            elif slot in slots:
                args[name] = self._typed(name, slots[slot].value)
        return args

    def _typed(self, name: str, value: Value) -> Value:
        is_text = self.spec.parameters["properties"][name]["type"] == "string"
        return str(value) if is_text and isinstance(value, int | float) else value

    def result(self, slots: Slots, rng: Random) -> Any:
        """What such a call might give, by the bank's names of the fields."""
        lists = common().lists
        if self.tool.computes:
            texts = {slot: str(drawn.value) for slot, drawn in slots.items()}
            return calculate(fill(self.tool.computes, texts))
        gives = self.tool.gives
        if isinstance(gives, str):
            return draw_text(gives, slots, lists, rng)
        return {
            names.split("|")[0]: draw_text(text, slots, lists, rng) for names, text in gives.items()
        }

    def result_text(self, result: Any) -> str:
        if isinstance(result, dict):
            result = {self.fields[field]: value for field, value in result.items()}
        return text_of(result)

    def reference(self, task_id: int, path: str) -> Ref:
        """`$` or `$.field`, with the field's name as it is here."""
        _, _, field = path.partition(".")
        return Ref(task_id, (self.fields[field],) if field else ())


def make(domain: str, key: str, tool: ToolContent, rng: Random) -> Variant:
    """A variant of the tool: some of its optional parameters, everything under one of its names."""
    slots = [slot for slot, each in tool.params.items() if not each.optional or rng.random() < 0.6]
    if rng.random() < 0.5:
        rng.shuffle(slots)
    params = _names(tool, slots, rng)
    gives = tool.gives if isinstance(tool.gives, dict) else {}
    fields = {names.split("|")[0]: rng.choice(names.split("|")) for names in gives}
    does = rng.choice(tool.does)
    if fields:
        does = fill(rng.choice(_FIELDS), {"does": does, "fields": listed(list(fields.values()))})
    elif not does.endswith("."):
        does += "."
    schema = {
        "type": "object",
        "properties": {params[slot]: _schema(tool.params[slot], rng) for slot in slots},
        "required": [params[slot] for slot in slots if not tool.params[slot].optional],
    }
    spec = ToolSpec(name=rng.choice(tool.names), description=does, parameters=schema)
    return Variant(domain, key, tool, spec, params, fields)


def _names(tool: ToolContent, slots: Iterable[str], rng: Random) -> dict[str, str]:
    """The parameters' names by slot, all from one column of the alternatives: they go together."""
    column = rng.randrange(6)
    alternatives = {slot: tool.params[slot].names or (slot,) for slot in slots}
    return {slot: names[column % len(names)] for slot, names in alternatives.items()}


def bundled(domain: str, key: str, tool: ToolContent, original: Tool) -> Variant:
    """A tool of the bank under the name and signature of a bundled one with one parameter."""
    [slot], [name] = tool.params, original.properties
    return Variant(domain, key, tool, ToolSpec.of(original), {slot: name}, {})


def _schema(parameter: Parameter, rng: Random) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": rng.choice(parameter.types or (_type(parameter),))}
    choices = parameter.values if isinstance(parameter.values, dict) else {}
    is_plain = all(wording == value for wording, value in choices.items())
    if choices and schema["type"] == "string" and not (is_plain and rng.random() < 0.4):
        schema["enum"] = list(dict.fromkeys(choices.values()))
    if parameter.several:
        schema = {"type": "array", "items": schema}
    if parameter.default is not None and rng.random() < 0.5:
        schema["default"] = parameter.default
    return schema


def _type(parameter: Parameter) -> str:
    if parameter.text or not parameter.values:
        return "string"
    value = draw(parameter.values, common().lists, Random(0)).value  # noqa: S311
    return {bool: "boolean", int: "integer", float: "number"}.get(type(value), "string")


def _several(parameter: Parameter, rng: Random) -> Drawn:
    """Two to four different values, as one list."""
    found: dict[str, Any] = {}
    for _ in range(20):
        drawn = draw(parameter.values, common().lists, rng)
        found[drawn.wording] = drawn.value
    chosen = list(found)[: rng.randint(2, 4)]
    return Drawn(listed(chosen), [found[wording] for wording in chosen])
