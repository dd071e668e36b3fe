"""What vLLM loads from us into each of its processes, by the entry point in pyproject.toml.

It mends some things of vLLM 0.32 with Outlines:

- In its server, each request's regex is parsed anew to see whether Outlines can build it
  (`validate_regex_is_buildable` in vllm/v1/structured_output/backend_outlines.py): for the grammar
  of a plan that is up to 40 ms before the first token, in which nobody else's tokens are sent
  either. We have the regexes that were found good remembered.
- Tokens that end inside a character are told wrong, a text can't go on with one where it could
  end, and many tools take very long to compile: vocabulary.py has all three.
- Its cache of compiled grammars on disk is none: index_cache.py says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from serving.index_cache import IndexCache
from serving.vocabulary import marked, name_of, repairing, with_marks

REMEMBERED = 64  # regexes; a toolbox needs one for each number a plan begins with, and two more


def register() -> None:
    """Mends vLLM in this process. A second call changes nothing."""
    from vllm import envs
    from vllm.v1.structured_output import backend_outlines, utils

    if backend_outlines.get_outlines_vocabulary is _vocabulary:
        return
    backend_outlines.validate_regex_is_buildable = lru_cache(REMEMBERED)(
        backend_outlines.validate_regex_is_buildable
    )
    utils._reduced_vocabulary = repairing(utils._reduced_vocabulary)
    backend_outlines.get_outlines_vocabulary = _vocabulary
    backend = backend_outlines.OutlinesBackend
    backend._compile_index = _marked(backend._compile_index)
    backend.compile_grammar = _started(backend.compile_grammar)
    if envs.VLLM_V1_USE_OUTLINES_CACHE:
        directory = Path(utils.get_outlines_cache_path())
        backend_outlines.get_outlines_cache = lambda: IndexCache(directory)


def _vocabulary(tokenizer: Any) -> Any:
    """In the place of `get_outlines_vocabulary`; made once for a tokenizer, too."""
    from vllm.v1.structured_output import utils

    if not hasattr(tokenizer, "_outlines_vocabulary"):
        tokens, end = utils._reduced_vocabulary(tokenizer), tokenizer.eos_token_id
        told = with_marks(tokens, end, tokenizer.all_special_ids)
        vocabulary = utils.OutlinesVocabulary(told)
        vocabulary._hash = name_of(tokens, end)
        tokenizer._outlines_vocabulary = vocabulary
    return tokenizer._outlines_vocabulary


def _marked(compile_index: Callable[..., Any]) -> Callable[..., Any]:
    def compiled(backend: Any, regex: str, vocabulary: Any) -> Any:
        return compile_index(backend, marked(regex), vocabulary)

    return compiled


def _started(compile_grammar: Callable[..., Any]) -> Callable[..., Any]:
    """The model writes what comes behind START."""

    def compiled(backend: Any, *args: Any, **kwargs: Any) -> Any:
        grammar = compile_grammar(backend, *args, **kwargs)
        grammar.guide.advance(backend.tokenizer.eos_token_id, return_tokens=False)
        return grammar

    return compiled
