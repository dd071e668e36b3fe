"""Samples -> optimizer steps, made of micro-batches whose samples begin with the same tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from train.tuning.tokens import Encoded

IGNORED = -100  # a target that counts for nothing, in torch's terms
PARTS = 4  # of a step; a CPU computes as many at a time as it has cores for
WINDOW = 8  # steps among which samples are sorted by length, so that a batch has little padding
MICRO_TOKENS = 2048  # of a micro-batch, with padding; the embedded model takes 2 MB for each


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
        """How many are computed, without padding."""
        return self.shared + sum(len(sample.ids) - self.shared for sample in self.samples)

    def rows(self, start: int) -> tuple[list[list[int]], list[list[int]]]:
        """Inputs from `start` on and their targets, the tokens that follow; padded on the right.

        The padding needs no mask: attention is causal, and nothing behind it is learned.
        """
        width = max(len(sample.ids) for sample in self.samples) - 1 - start
        inputs, targets = [], []
        for sample in self.samples:
            ids = list(sample.ids[start:-1])
            target = [IGNORED] * width
            for begin, end in sample.spans:
                target[begin - 1 - start : end - 1 - start] = sample.ids[begin:end]
            inputs.append(ids + [ids[-1]] * (width - len(ids)))
            targets.append(target)
        return inputs, targets


Step = list[MicroBatch]


def epoch(samples: Iterable[Encoded], size: int, random: Random) -> list[Step]:
    """Every sample once, in steps of about `size` samples.

    A step has parts, each of samples that are alike in tools and length, which costs least. A step
    of one part would lean to one kind of question.
    """
    alike = max(1, size // PARTS)
    parts: list[list[Encoded]] = []
    rests: list[list[Encoded]] = []
    for group in _by_system(samples):
        random.shuffle(group)
        for window in _chunks(group, size * WINDOW):
            window.sort(key=lambda sample: len(sample.ids))
            rest = len(window) % alike
            rests.append(window[:rest])
            parts += _chunks(window[rest:], alike)
    random.shuffle(rests)
    parts += _chunks([sample for rest in rests for sample in rest], alike)
    random.shuffle(parts)
    in_step = size // alike
    return [_step(parts[at : at + in_step]) for at in range(0, len(parts), in_step)]


def _step(parts: Sequence[list[Encoded]]) -> Step:
    """What takes longest comes first, so that those who share the work end at about one time."""
    batches = [batch for part in parts for batch in micro_batches(part)]
    return sorted(batches, key=lambda batch: batch.tokens, reverse=True)


def micro_batches(samples: Iterable[Encoded]) -> Step:
    """Together what shares its tools, and what shares them with nothing."""
    groups = _by_system(samples)
    alone = [sample for group in groups if len(group) == 1 for sample in group]
    together = [group for group in groups if len(group) > 1] + ([alone] if alone else [])
    return [MicroBatch.of(part) for group in together for part in _within_memory(group)]


def _within_memory(samples: list[Encoded]) -> Iterable[list[Encoded]]:
    """Parts of about the same size."""
    tokens = len(samples) * (max(len(sample.ids) for sample in samples) - _shared(samples))
    parts = math.ceil(tokens / MICRO_TOKENS)
    return _chunks(samples, math.ceil(len(samples) / parts))


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
