"""The vocabulary as Outlines is told of it: the bytes of each token, and the ends of a text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

Tokens = dict[bytes, list[int]]
REPLACEMENT = "\ufffd"

# The start and the end of a text in ASCII; no text of ours has them inside. The token that ends a
# text stands for both.
START, END = "\x02", "\x03"


def repairing(reduced: Callable[[Any], Tokens]) -> Callable[[Any], Tokens]:
    """The function, which maps a tokenizer to the ids of its tokens by their bytes, put right.

    For a token that ends inside a character, as one for a blank and half of a "Ç" does, vLLM tells
    the bytes of the replacement character: a grammar then takes the character for complete and
    forbids its other half, and names come out broken.
    """
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}

    def repaired(tokenizer: Any) -> Tokens:
        tokens = reduced(tokenizer)
        for token, id in tokenizer.get_vocab().items():
            text = tokenizer.convert_tokens_to_string([token])
            # A tokenizer that doesn't spell tokens in bytes has others, which stay as they are.
            if REPLACEMENT not in text or not byte_of.keys() >= set(token):
                continue
            told, own = text.encode(), bytes(byte_of[letter] for letter in token)
            if own != told and id in tokens.get(told, ()):
                tokens[told].remove(id)
                tokens.setdefault(own, []).append(id)
        return {told: ids for told, ids in tokens.items() if ids}

    return repaired


def with_marks(tokens: Tokens, end: int, specials: Iterable[int]) -> Any:
    """Outlines' vocabulary, in which the token `end` stands for START and for END.

    Behind what could be the end of a text, Outlines offers no token that ends where the text could
    not: inside of a character, or behind the point of 0.5. If a text can only end behind END, it
    does. Outlines itself must be told of one more token as the end: another special one, or one of
    those left out, as there must be no other token that has a mark. It is never written.
    """
    from outlines_core import Vocabulary

    marks = {START.encode(): [end], END.encode(): [end]}
    others = {
        token: ids for token, ids in tokens.items() if not any(mark in token for mark in marks)
    }
    left_out = [id for token in tokens.keys() - others.keys() for id in tokens[token]]
    spare = next(id for id in (*specials, *sorted(left_out)) if id != end)
    return Vocabulary(spare, {**others, **marks})


def marked(regex: str) -> str:
    """The same texts between the marks, for such a vocabulary.

    Outlines also makes the automaton that looks for the regex anywhere in a text, though nobody
    uses it. As START is nowhere in a text, that one is as small as the other; it would have states
    for each pair of strings that the text could be in: 64 tools took 13 s.
    """
    return f"{START}(?:{regex}){END}"


def name_of(tokens: Tokens, end: int) -> str:
    """Names a vocabulary, in every process alike."""
    listed = f"{end} {sorted(tokens.items())}"
    return hashlib.sha256(listed.encode()).hexdigest()
