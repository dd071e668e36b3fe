"""What vLLM loads from us into each of its processes, by the entry point in pyproject.toml.

It mends three things of vLLM 0.32. In its server, each request's regex is parsed anew to see
whether Outlines can build it (`validate_regex_is_buildable` in vllm/v1/structured_output/
backend_outlines.py): for the grammar of a plan, 19 KB, that is 40 ms before the first token, in
which nobody else's tokens are sent either. We have the regexes that were found good remembered.

The other is in the engine. vLLM tells Outlines the bytes of each token, so that a grammar can say
which may come next. For a token that ends inside a character, as one for a blank and half of a "Ç"
does, it tells those of the replacement character (`_reduced_vocabulary` in
vllm/v1/structured_output/utils.py): a grammar then takes the character for complete and forbids its
other half, and names come out broken.

The third is the cache of compiled grammars, where one is asked for: index_cache.py says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from serving.index_cache import IndexCache, fingerprinted

Vocabulary = dict[bytes, list[int]]
REPLACEMENT = "\ufffd"
REMEMBERED = 64  # regexes; a toolbox needs one for each number a plan begins with, and two more


def register() -> None:
    """Mends vLLM in this process. A second call changes nothing more."""
    from vllm import envs
    from vllm.v1.structured_output import backend_outlines, utils

    utils._reduced_vocabulary = repairing(utils._reduced_vocabulary)
    utils.OutlinesVocabulary = fingerprinted(utils.OutlinesVocabulary)
    if envs.VLLM_V1_USE_OUTLINES_CACHE:
        directory = Path(utils.get_outlines_cache_path())
        backend_outlines.get_outlines_cache = lambda: IndexCache(directory)
    backend_outlines.validate_regex_is_buildable = lru_cache(REMEMBERED)(
        backend_outlines.validate_regex_is_buildable
    )


def repairing(reduced: Callable[[Any], Vocabulary]) -> Callable[[Any], Vocabulary]:
    """The function, which maps a tokenizer to the ids of its tokens by their bytes, put right."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}

    def repaired(tokenizer: Any) -> Vocabulary:
        vocabulary = reduced(tokenizer)
        for token, id in tokenizer.get_vocab().items():
            text = tokenizer.convert_tokens_to_string([token])
            # A tokenizer that doesn't spell tokens in bytes has others, which stay as they are.
            if REPLACEMENT not in text or not byte_of.keys() >= set(token):
                continue
            told, own = text.encode(), bytes(byte_of[letter] for letter in token)
            if own != told and id in vocabulary.get(told, ()):
                vocabulary[told].remove(id)
                vocabulary.setdefault(own, []).append(id)
        return {told: ids for told, ids in vocabulary.items() if ids}

    return repaired
