"""Attention for training on a CPU: among samples in one row, whose common beginning stands once.

The row has no padding, and the samples need not be of a length. A sample is so short that the
weights of all its pairs fit into memory, and what is left to do is matrix products: two to four
times as fast there, in bfloat16, as torch's own, whose gradient was a quarter of a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "packed"
# Architectures whose attention has no window or state.
MODELS = ("llama",)

Ends = tuple[int, ...]  # where the common beginning ends, and each of the samples behind it


def serves(config: Any) -> bool:
    """Whether a model of this configuration has no more to its attention than is computed here."""
    return config.model_type in MODELS and not config.attention_dropout


class _Attention(torch.autograd.Function):  # type: ignore[misc]
    """q: (heads, tokens, size); k, v: (groups, tokens, size), a head's group being its number
    divided by heads / groups. Returns (heads, tokens, size)."""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, ends: Ends, scale: float) -> Any:
        unseen = _unseen(ends, q)
        out, weights = torch.empty_like(q), []
        for part in _parts(ends):
            new = part.stop - part.start
            scores = torch.matmul(_by_group(q, k, part), _seen(k, ends, part).transpose(-1, -2))
            own = scores.mul_(scale).view(len(q), new, -1)[..., -new:]
            own.add_(unseen[:new, :new])
            weights.append(torch.softmax(scores, -1))
            mixed = torch.matmul(weights[-1], _seen(v, ends, part))
            out[:, part] = mixed.view(len(q), new, -1)
        ctx.save_for_backward(q, k, v, *weights)
        ctx.ends, ctx.scale = ends, scale
        return out

    @staticmethod
    def backward(ctx: Any, to_out: Any) -> Any:
        q, k, v, *weights = ctx.saved_tensors
        ends = ctx.ends
        to_q, to_k, to_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for part, weight in zip(_parts(ends), weights, strict=True):
            mine, to_mixed = _by_group(q, k, part), _by_group(to_out, k, part)
            to_weight = torch.matmul(to_mixed, _seen(v, ends, part).transpose(-1, -2))
            to_scores = torch._softmax_backward_data(to_weight, weight, -1, weight.dtype)
            to_scores.mul_(ctx.scale)
            to_mine = torch.matmul(to_scores, _seen(k, ends, part))
            to_q[:, part] = to_mine.view(len(q), part.stop - part.start, -1)
            _add_to_seen(to_k, ends, part, torch.matmul(to_scores.transpose(-1, -2), mine))
            _add_to_seen(to_v, ends, part, torch.matmul(weight.transpose(-1, -2), to_mixed))
        return to_q, to_k, to_v, None, None


def _parts(ends: Ends) -> Iterator[slice]:
    """The common beginning, if there is one, and each sample's own tokens."""
    if ends[0]:
        yield slice(0, ends[0])
    for start, end in pairwise(ends):
        yield slice(start, end)


def _seen(keys: Any, ends: Ends, part: slice) -> Any:
    """What the part attends to: the common beginning and itself."""
    own = keys[:, part]
    return torch.cat((keys[:, : ends[0]], own), 1) if part.start else own


def _add_to_seen(total: Any, ends: Ends, part: slice, more: Any) -> None:
    own = part.stop - part.start
    total[:, part] += more[:, -own:]
    if part.start:
        total[:, : ends[0]] += more[:, :-own]


def _by_group(heads: Any, groups: Any, part: slice) -> Any:
    """The heads of a group have keys and values in common: one product instead of several."""
    return heads[:, part].reshape(len(groups), -1, heads.shape[-1])


def _unseen(ends: Ends, like: Any) -> Any:
    longest = max(part.stop - part.start for part in _parts(ends))
    least = torch.finfo(like.dtype).min
    return torch.full((longest, longest), least, dtype=like.dtype, device=like.device).triu_(1)


def _attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    mask: None,
    scaling: float,
    *,
    ends: Ends,
    **features: Any,
) -> tuple[Any, None]:
    """As transformers calls it, with one row, and `ends` as the model was called with them."""
    return _Attention.apply(query[0], key[0], value[0], ends, scaling).transpose(0, 1)[None], None


def _no_mask(*_: Any, **__: Any) -> None:
    """Who sees whom is told by `ends`."""


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, _no_mask)
