"""Samples with many different toolboxes, so that a planner learns to read the tools it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from executor.builtin import TOOLBOX
from train.samples import Right, Round, Sample, ToolSpec
from train.varied import parts
from train.varied.bank import Domain, common, training
from train.varied.bank import held_out as held_out_domains
from train.varied.ending import sample_of
from train.varied.parts import Part
from train.varied.phrasing import fill
from train.varied.variants import Variant, bundled, make

PER_TOOLBOX = 25
MOST_TOOLS = 6
TRIES = 40  # for each sample, before a toolbox is taken to have no more
# Domains of general tools, which go with those of any other.
ARITHMETIC = "arithmetic"
FACTS = "facts"

Bank = Mapping[str, Domain]
Box = Sequence[Variant]

# Not every toolbox has chains and optional parameters, so those come up less than they weigh.
_SHAPES = {
    "tools-one": 15,
    "tools-same": 17,
    "tools-different": 15,
    "tools-chain": 27,
    "tools-optional": 15,
    "tools-none": 5,
    "tools-failed": 6,
}


def samples(seed: int, count: int) -> list[Sample]:
    """Samples to learn from, about 25 for each toolbox."""
    return _samples(training(), seed, count)


def held_out(seed: int, count: int) -> list[Sample]:
    """Samples with domains and tools that `samples` never shows."""
    return _samples(held_out_domains(), seed, count)


def _samples(bank: Bank, seed: int, count: int) -> list[Sample]:
    rng = Random(seed)  # noqa: S311
    made: list[Sample] = []
    while len(made) < count:
        box = _toolbox(bank, rng)
        made += _for_toolbox(bank, box, min(PER_TOOLBOX, count - len(made)), rng)
    rng.shuffle(made)
    return made


def _toolbox(bank: Bank, rng: Random) -> list[Variant]:
    """Tools of one domain or two, often with arithmetic, in any order."""
    special = [name for name in bank if name != ARITHMETIC]
    name = rng.choice(special)
    tools = _chosen(bank, name, rng.randint(1, MOST_TOOLS - 1), rng)
    others = [other for other in special if other not in _kin(bank, {name})]
    if rng.random() < 0.5:
        tools += _chosen(bank, rng.choice(others), rng.randint(1, 2), rng)
    kin = _kin(bank, {variant.domain for variant in tools})
    if FACTS in bank and not kin & {FACTS, ARITHMETIC} and rng.random() < 0.2:
        tools = [*tools[: MOST_TOOLS - 2], *_bundled(bank)]
    elif ARITHMETIC not in kin and rng.random() < 0.6:
        tools = [*tools[: MOST_TOOLS - 1], *_chosen(bank, ARITHMETIC, 1, rng)]
    box = {variant.spec.name: variant for variant in tools[:MOST_TOOLS]}
    shuffled = list(box.values())
    rng.shuffle(shuffled)
    return shuffled


def _bundled(bank: Bank) -> list[Variant]:
    """`search` and `calculate` just as every toolbox of a user has them."""
    return [
        bundled(FACTS, "query", bank[FACTS].tools["query"], TOOLBOX["search"]),
        bundled(ARITHMETIC, "calculate", bank[ARITHMETIC].tools["calculate"], TOOLBOX["calculate"]),
    ]


def _kin(bank: Bank, present: set[str]) -> set[str]:
    """These domains, and those with tools for similar things."""
    named = {kin for name in present for kin in bank[name].kin}
    return present | named | {name for name, domain in bank.items() if present & set(domain.kin)}


def _chosen(bank: Bank, name: str, count: int, rng: Random) -> list[Variant]:
    """Up to `count` tools of a domain, often the two of a chain before others."""
    domain = bank[name]
    keys = list(domain.tools)
    rng.shuffle(keys)
    if domain.chains and count > 1 and rng.random() < 0.75:
        chain = rng.choice(domain.chains)
        keys = [chain.first, chain.then, *keys]
    for rivals in domain.rivals:
        first, *rest = (key for key in keys if key in rivals)
        keys = [key for key in keys if key not in rest or key == first]
    return [make(name, key, domain.tools[key], rng) for key in list(dict.fromkeys(keys))[:count]]


def _for_toolbox(bank: Bank, box: Box, count: int, rng: Random) -> Iterator[Sample]:
    questions: set[str] = set()
    for _ in range(TRIES * count):
        if len(questions) == count:
            return
        shape = rng.choices(list(_SHAPES), list(_SHAPES.values()))[0]
        sample = _MAKERS[shape](bank, box, rng)
        if sample is not None and sample.question not in questions:
            questions.add(sample.question)
            yield sample


def _one(bank: Bank, box: Box, rng: Random) -> Sample | None:
    return _sample("tools-one", box, [parts.of_tool(rng.choice(box), 1, rng)], rng)


def _same(bank: Bank, box: Box, rng: Random) -> Sample | None:
    count = rng.choices((2, 3, 4, 5), (45, 35, 13, 7))[0]
    return _sample("tools-same", box, [parts.of_tool(rng.choice(box), count, rng)], rng)


def _optional(bank: Bank, box: Box, rng: Random) -> Sample | None:
    count = rng.choices((1, 2, 3), (70, 20, 10))[0]
    tools = [variant for variant in box if variant.optional]
    if not tools:
        return None
    part = parts.of_tool(rng.choice(tools), count, rng, with_options=True)
    return _sample("tools-optional", box, [part], rng)


def _different(bank: Bank, box: Box, rng: Random) -> Sample | None:
    if len(box) < 2:
        return None
    chosen = rng.sample(box, min(len(box), rng.choices((2, 3), (75, 25))[0]))
    counts = [rng.choices((1, 2), (85, 15))[0] for _ in chosen]
    found = [parts.of_tool(tool, n, rng) for tool, n in zip(chosen, counts, strict=True)]
    if rng.random() < 0.15:
        found = [*found[:-1], _chain_part(bank, box, rng)]
    return _sample("tools-different", box, found, rng)


def _chain_part(bank: Bank, box: Box, rng: Random) -> Part | None:
    by_key = {(variant.domain, variant.key): variant for variant in box}
    chains = [
        (by_key[name, chain.first], by_key[name, chain.then], chain)
        for name in sorted({variant.domain for variant in box})
        for chain in bank[name].chains
        if {(name, chain.first), (name, chain.then)} <= by_key.keys()
    ]
    summable = [variant for variant in box if variant.tool.sums]
    calculators = [variant for variant in box if variant.domain == ARITHMETIC]
    if calculators and summable and (not chains or rng.random() < 0.5):
        return parts.of_combination(rng.choice(summable), calculators[0], rng)
    if not chains:
        return None
    first, then, chain = rng.choice(chains)
    count = rng.choices((1, 2, 3), (70, 20, 10))[0]
    return parts.of_chain(first, then, chain, count, rng)


def _chain(bank: Bank, box: Box, rng: Random) -> Sample | None:
    return _sample("tools-chain", box, [_chain_part(bank, box, rng)], rng)


def _failed(bank: Bank, box: Box, rng: Random) -> Sample | None:
    """Any other kind of sample, where at least one call failed."""
    if rng.random() < 0.25:
        found = [_chain_part(bank, box, rng)]
    elif len(box) > 1 and rng.random() < 0.4:
        found = [parts.of_tool(tool, 1, rng) for tool in rng.sample(box, 2)]
    else:
        count = rng.choices((1, 2, 3), (35, 45, 20))[0]
        found = [parts.of_tool(rng.choice(box), count, rng)]
    return _sample("tools-failed", box, found, rng, failing=True)


def _sample(
    shape: str,
    box: Box,
    found: Sequence[Part | None],
    rng: Random,
    *,
    failing: bool = False,
) -> Sample | None:
    """None if one of the parts couldn't be made with this toolbox, or two ask for the same."""
    complete = [part for part in found if part is not None]
    calls = [(call.tool_name, str(call.args)) for part in complete for call in part.calls]
    if len(complete) < len(found) or len(set(calls)) < len(calls):
        return None
    return sample_of(shape, _specs(box), complete, rng, failing=failing)


def _none(bank: Bank, box: Box, rng: Random) -> Sample | None:
    """A question for tools that are not there."""
    question, deed = _unanswerable(bank, box, rng)
    refusals = [text for text in common().refusals if deed or "{deed}" not in text]
    ending = fill(rng.choice(refusals), {"deed": deed})
    return Sample(
        question=question,
        tools=_specs(box),
        rounds=(Round(plan="1. join()", ending=f"Answer: {ending}"),),
        shape="tools-none",
        right=Right(admits=True),
    )


def _unanswerable(bank: Bank, box: Box, rng: Random) -> tuple[str, str]:
    """A question and, if it can be said, what it asks to do."""
    present = {variant.domain for variant in box}
    here = {(variant.domain, variant.key) for variant in box}
    kin = _kin(bank, present)
    missing = [
        (name, key)
        for name, domain in bank.items()
        for key, tool in domain.tools.items()
        if name not in kin or (name in present and tool.alone and (name, key) not in here)
    ]
    if FACTS in present or rng.random() < 0.25:
        return rng.choice(common().impossible), ""
    name, key = rng.choice(missing)
    part = parts.of_tool(make(name, key, bank[name].tools[key], rng), 1, rng)
    assert part is not None, "one thing can always be asked for"
    return part.question, part.calls[0].deed


def _specs(box: Box) -> tuple[ToolSpec, ...]:
    return tuple(variant.spec for variant in box)


_MAKERS: dict[str, Callable[[Bank, Box, Random], Sample | None]] = {
    "tools-one": _one,
    "tools-same": _same,
    "tools-different": _different,
    "tools-chain": _chain,
    "tools-optional": _optional,
    "tools-none": _none,
    "tools-failed": _failed,
}
