"""The bank of made-up tools, read from domains/*.yaml: what they are called, take, give and mean.

A file holds domains, or, common.yaml, the lists and sentences that all of them share.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Literal

import pydantic
import yaml

from executor.builtin.facts import Fact, facts
from train.bundled.split import is_held_out_entity
from train.varied.phrasing import Drawn, Scalar, Values


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Parameter(_Record):
    """`text` makes the value from other slots; `types` are JSON Schema's, to choose from."""

    names: tuple[str, ...] = pydantic.Field(default=(), alias="as")
    values: Values = pydantic.Field(default=[], alias="of", union_mode="left_to_right")
    text: str = ""
    types: tuple[str, ...] = ()
    several: bool = False
    optional: bool = False
    default: Scalar | None = None


class ToolContent(_Record):
    """A tool with its alternatives.

    `each` is what is repeated when the tool is asked for several things at once. Values come from
    the parameters, from more `slots`, or several at once from a row of `rows`. `gives` is the
    result, or its fields; `computes` an expression for it. `noun` names the result, `deed` what
    the call does. What arithmetic may be done with is in `sums`, `$` for the result and `$.price`
    for a field, and `measure` names it where `noun` doesn't. An `alone` tool is missed if it is
    not there: no other tool of its domain could do its work.
    """

    names: tuple[str, ...]
    does: tuple[str, ...]
    params: dict[str, Parameter]
    slots: dict[str, Values] = {}
    rows: Literal["facts"] | tuple[dict[str, str], ...] = ()
    each: str
    gives: str | dict[str, str] = ""
    computes: str = ""
    noun: str = ""
    deed: str = "get {noun}"
    sums: str = ""
    measure: str = ""
    alone: bool = False
    asks: tuple[str, ...]
    says: tuple[str, ...]
    fails: tuple[str, ...] = ()


class Chain(_Record):
    """The result of `first` feeds `then`: `$` is the whole of it, `$.id` a field."""

    first: str
    then: str
    feeds: dict[str, str]
    each: str
    asks: tuple[str, ...]
    noun: str = ""
    deed: str = "get {noun}"
    says: tuple[str, ...]


class Domain(_Record):
    """`kin` names domains with tools for similar things, and `rivals` such tools of this one.

    No toolbox holds both of two, nor is a question for the one called unanswerable with the other.
    """

    tools: dict[str, ToolContent]
    chains: tuple[Chain, ...] = ()
    kin: tuple[str, ...] = ()
    rivals: tuple[tuple[str, ...], ...] = ()


class Combination(_Record):
    """Arithmetic over results: `{+}` is their sum, `{,}` their list.

    One with a `unit` is for results in that unit.
    """

    asks: tuple[str, ...]
    counts: tuple[int, ...]
    expression: str
    says: tuple[str, ...]
    factor: Values = pydantic.Field(default=[], union_mode="left_to_right")
    unit: str = ""


class Common(_Record):
    lists: dict[str, list[Scalar]]
    fails: tuple[str, ...]
    couldnt: tuple[str, ...]
    refusals: tuple[str, ...]
    impossible: tuple[str, ...]
    combinations: tuple[Combination, ...]


@cache
def common() -> Common:
    return Common.model_validate(_yaml("common.yaml"))


@cache
def training() -> dict[str, Domain]:
    files = (file.name for file in resources.files(__package__).joinpath("domains").iterdir())
    chosen = sorted(name for name in files if name.startswith("training"))
    return {name: domain for file in chosen for name, domain in _domains(file).items()}


@cache
def held_out() -> dict[str, Domain]:
    return _domains("held_out.yaml")


def _domains(file: str) -> dict[str, Domain]:
    return pydantic.TypeAdapter(dict[str, Domain]).validate_python(_yaml(file))


def _yaml(file: str) -> Any:
    text = resources.files(__package__).joinpath("domains", file).read_text(encoding="utf-8")
    return yaml.safe_load(text)


@cache
def fact_rows() -> tuple[dict[str, Drawn], ...]:
    """Slots of facts to ask for: `entity` as a sentence writes it, `attribute`, `fact`."""
    return tuple(
        {
            "entity": Drawn(_with_article(fact), fact.entity),
            "attribute": Drawn(fact.attribute, fact.attribute),
            "fact": Drawn(fact.text, fact.text),
        }
        for fact in facts()
        if fact.category in ("mountain", "river", "country") and not is_held_out_entity(fact.entity)
    )


def _with_article(fact: Fact) -> str:
    plain = fact.category != "river" and not fact.entity.startswith("United")
    return fact.entity if plain else f"the {fact.entity}"
