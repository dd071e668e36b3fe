"""Samples -> optimizer steps, made of micro-batches whose samples begin with the same tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

from train.tuning.tokens import Encoded

IGNORED = -100  # a target that counts for nothing, in torch's terms
PARTS = 3  # of a step, each with samples of one toolbox
# Of a micro-batch, about, and without what is shared; the embedded model takes 2 MB for each.
MICRO_TOKENS = 1024


class Row(NamedTuple):
    """Token ids, their positions and the tokens that follow them, IGNORED where that isn't learned.

    `ends` are where the common beginning ends, and each of the samples behind it.
    """

    ids: list[int]
    positions: list[int]
    targets: list[int]
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """`shared` tokens begin every sample, and come before the first one to be predicted."""

    samples: tuple[Encoded, ...]
    shared: int

    @classmethod
    def of(cls, samples: Sequence[Encoded]) -> MicroBatch:
        return cls(tuple(samples), _shared(samples) if len(samples) > 1 else 0)

    @property
    def learned(self) -> int:
        return sum(sample.learned for sample in self.samples)

    @property
    def tokens(self) -> int:
        """How many are computed where rows are packed."""
        return self.shared + sum(len(sample.ids) - self.shared for sample in self.samples)

    def row(self) -> Row:
        """All samples one behind the other, without what they share but for the first time."""
        ids = list(self.samples[0].ids[: self.shared])
        positions = list(range(self.shared))
        targets = [IGNORED] * self.shared
        ends = [self.shared]
        for sample in self.samples:
            ids += sample.ids[self.shared : -1]
            positions += range(self.shared, len(sample.ids) - 1)
            targets += _targets(sample)[self.shared :]
            ends.append(len(ids))
        return Row(ids, positions, targets, tuple(ends))

    def rows(self) -> tuple[list[list[int]], list[list[int]]]:
        """A row of inputs and one of targets for each sample, padded on the right.

        The padding needs no mask: attention is causal, and nothing behind it is learned.
        """
        width = max(len(sample.ids) for sample in self.samples) - 1
        inputs, targets = [], []
        for sample in self.samples:
            padding = width + 1 - len(sample.ids)
            inputs.append([*sample.ids[:-1], *sample.ids[-1:] * padding])
            targets.append(_targets(sample) + [IGNORED] * padding)
        return inputs, targets


Step = list[MicroBatch]


def epoch(samples: Iterable[Encoded], size: int, random: Random) -> list[Step]:
    """Every sample once, in steps of about `size` samples.

    A step has parts, each of samples with the same tools, which costs least. A step of one part
    would lean to one kind of question.
    """
    alike = max(1, size // PARTS)
    parts: list[list[Encoded]] = []
    rests: list[list[Encoded]] = []
    for group in _by_system(samples):
        random.shuffle(group)
        rest = len(group) % alike
        rests.append(group[:rest])
        parts += _chunks(group[rest:], alike)
    random.shuffle(rests)
    parts += _chunks([sample for rest in rests for sample in rest], alike)
    random.shuffle(parts)
    in_step = size // alike
    steps = [parts[at : at + in_step] for at in range(0, len(parts), in_step)]
    return [micro_batches(sample for part in step for sample in part) for step in steps]


def micro_batches(samples: Iterable[Encoded]) -> Step:
    """Together what shares its tools, and what shares them with nothing.

    What takes longest comes first, so that those who share the work end at about one time.
    """
    groups = _by_system(samples)
    alone = [sample for group in groups if len(group) == 1 for sample in group]
    together = [group for group in groups if len(group) > 1] + ([alone] if alone else [])
    batches = [MicroBatch.of(part) for group in together for part in _within_memory(group)]
    return sorted(batches, key=lambda batch: batch.tokens, reverse=True)


def _within_memory(samples: Sequence[Encoded]) -> list[list[Encoded]]:
    """Parts of about as many tokens, each of samples that are alike in length."""
    shared = _shared(samples)
    by_length = sorted(samples, key=lambda sample: len(sample.ids))
    through = list(accumulate(len(sample.ids) - shared for sample in by_length))
    count = math.ceil(through[-1] / MICRO_TOKENS)
    parts: list[list[Encoded]] = [[] for _ in range(count)]
    for sample, end in zip(by_length, through, strict=True):
        parts[math.ceil(end * count / through[-1]) - 1].append(sample)
    return [part for part in parts if part]


def _targets(sample: Encoded) -> list[int]:
    """For every token but the last the one that follows, where that is to be learned."""
    targets = [IGNORED] * (len(sample.ids) - 1)
    for begin, end in sample.spans:
        targets[begin - 1 : end - 1] = sample.ids[begin:end]
    return targets


def _shared(samples: Sequence[Encoded]) -> int:
    # What the first and the last in order have in common, all between them have too.
    least, most = min(s.ids for s in samples), max(s.ids for s in samples)
    end = min(sample.start for sample in samples) - 1
    return next((at for at in range(end) if least[at] != most[at]), end)


def _by_system(samples: Iterable[Encoded]) -> list[list[Encoded]]:
    groups: dict[str, list[Encoded]] = {}
    for sample in samples:
        groups.setdefault(sample.system, []).append(sample)
    return list(groups.values())


def _chunks(samples: list[Encoded], size: int) -> list[list[Encoded]]:
    return [samples[at : at + size] for at in range(0, len(samples), size)]
