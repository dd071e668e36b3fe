"""The cache of compiled grammars: what is kept, for how long, and what a broken disk does to it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from outlines_core import Index, Vocabulary

from serving.index_cache import IndexCache
from serving.vocabulary import name_of

ONE_LETTER = Vocabulary(1, {b"a": [0]})


def index(regex: str = "a+") -> Index:
    return Index(regex, ONE_LETTER)


def found(cache: IndexCache, key: str) -> Any:
    """What vLLM does to look a grammar up."""
    if key in cache:
        return cache[key]
    return None


def test_an_index_is_there_at_once_and_after_a_restart(tmp_path: Path) -> None:
    cache = IndexCache(tmp_path / "grammars")
    assert found(cache, "k") is None
    made = index()
    cache["k"] = made
    assert found(cache, "k") is made
    again = IndexCache(tmp_path / "grammars")
    assert found(again, "k") == made
    assert found(again, "k") is found(again, "k")  # read once
    assert found(again, "other") is None
    assert stat.S_IMODE((tmp_path / "grammars").stat().st_mode) == 0o700


def test_the_one_used_longest_ago_goes_first_and_the_newest_stays(tmp_path: Path) -> None:
    size = len(index().__reduce__()[1][0])
    cache = IndexCache(tmp_path, disk_bytes=2 * size, memory_bytes=0)
    for at, key in enumerate("ab"):
        cache[key] = index()
        os.utime(cache._file(key), (at, at))
    assert found(cache, "a")  # and so was used after b
    cache["c"] = index()
    assert [key for key in "abc" if found(cache, key)] == ["a", "c"]
    small = IndexCache(tmp_path, disk_bytes=0, memory_bytes=0)
    small["d"] = index()
    assert [key for key in "abcd" if found(small, key)] == ["d"]


def test_what_is_asked_for_is_given_even_if_it_is_thrown_out_meanwhile(tmp_path: Path) -> None:
    size = len(index().__reduce__()[1][0])
    cache = IndexCache(tmp_path, memory_bytes=size)
    cache["a"] = index()
    assert "a" in cache
    cache["b"] = index()
    for file in tmp_path.iterdir():
        file.unlink()
    assert cache["a"] == index()
    with pytest.raises(KeyError):
        cache["b"]


@pytest.mark.parametrize("content", [b"", b"no index"])
def test_a_damaged_file_is_a_miss_and_is_replaced(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    cache = IndexCache(tmp_path, memory_bytes=0)
    cache._file("k").write_bytes(content)
    assert found(cache, "k") is None
    assert "the grammar is compiled anew" in caplog.text
    cache["k"] = index()
    assert found(cache, "k") == index()


def test_a_disk_that_takes_nothing_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    cache = IndexCache(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    cache["k"] = index()
    assert found(cache, "k") == index()  # from memory
    assert "No space left on device" in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("order", [1, -1])
def test_a_vocabulary_is_named_by_its_tokens_only(order: int) -> None:
    tokens = {bytes([at, at + 1]): [at] for at in range(100)}
    name = name_of(tokens, 300)
    assert name_of(dict(list(tokens.items())[::order]), 300) == name
    others = [
        (tokens, 301),
        ({**tokens, b"x": [500]}, 300),
        ({**tokens, b"\x00\x01": [1], b"\x01\x02": [0]}, 300),
    ]
    assert len({name, *(name_of(*each) for each in others)}) == 4


MENDED = """
from vllm.v1.structured_output import backend_outlines
from serving.vllm_plugin import register
register(), register()
cache = backend_outlines.get_outlines_cache()
print(type(cache).__name__)
"""


@pytest.mark.parametrize(("asked", "name"), [("1", "IndexCache"), ("0", "LRUCache")])
def test_vllm_uses_it_where_a_cache_on_disk_is_asked_for(
    tmp_path: Path, asked: str, name: str
) -> None:
    env = {**os.environ, "VLLM_V1_USE_OUTLINES_CACHE": asked, "OUTLINES_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", MENDED], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == name
