"""Outlines' indexes on disk and in memory, so that no engine compiles a grammar twice.

vLLM has a cache of its own on disk (VLLM_V1_USE_OUTLINES_CACHE), which grows without end, reads the
index anew at each request, and is never hit after a restart, for it names vocabularies by the order
in which a hash table happens to list them (vocabulary.py names ours).
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cachetools import LRUCache

DISK_BYTES = 2 << 30
MEMORY_BYTES = 1 << 30  # as on disk; in memory an index takes more

_log = logging.getLogger(__name__)


class IndexCache:
    """What vLLM's backend asks of its cache: `key in cache`, `cache[key]`, `cache[key] = index`.

    The file of an index carries the time of its last use; the oldest ones go when all of them
    are larger than `disk_bytes`. A file that can't be read or written is a miss, and is logged.
    """

    def __init__(
        self, directory: Path, disk_bytes: int = DISK_BYTES, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._disk_bytes = disk_bytes
        self._memory: LRUCache[str, _Sized] = LRUCache(memory_bytes, getsizeof=lambda it: it.size)
        self._lock = threading.Lock()  # vLLM compiles in several threads
        self._asked = threading.local()

    def __contains__(self, key: str) -> bool:
        """Whether the index is there; then this thread gets it next, whatever is thrown out."""
        with self._lock:
            found = self._memory.get(key) or self._read(key)
            if found is not None:
                self._keep(key, found)
        self._asked.found = (key, found)
        return found is not None

    def __getitem__(self, key: str) -> Any:
        asked, found = self._asked.found
        if asked != key or found is None:
            raise KeyError(key)
        return found.index

    def __setitem__(self, key: str, index: Any) -> None:
        (data,) = index.__reduce__()[1]
        with self._lock:
            self._keep(key, _Sized(index, len(data)))
            self._write(key, data)

    def _keep(self, key: str, found: _Sized) -> None:
        if found.size <= self._memory.maxsize:
            self._memory[key] = found

    def _file(self, key: str) -> Path:
        of = f"{version('outlines_core')} {key}"
        return self._directory / f"{hashlib.sha256(of.encode()).hexdigest()}.index"

    def _read(self, key: str) -> _Sized | None:
        import outlines_core

        file = self._file(key)
        try:
            data = file.read_bytes()
            os.utime(file)
            return _Sized(outlines_core.Index.from_binary(data), len(data))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("%s: %s; the grammar is compiled anew", file, error)
            return None

    def _write(self, key: str, data: bytes) -> None:
        file = self._file(key)
        partial = file.with_suffix(f".{os.getpid()}")
        try:
            partial.write_bytes(data)
            partial.replace(file)
            self._shrink()
        except OSError as error:
            partial.unlink(missing_ok=True)
            _log.warning("%s: %s; the grammar is compiled again next time", file, error)

    def _shrink(self) -> None:
        files = sorted(self._directory.glob("*.index"), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        for file in files[:-1]:
            if total <= self._disk_bytes:
                break
            total -= file.stat().st_size
            file.unlink(missing_ok=True)


class _Sized:
    def __init__(self, index: Any, size: int) -> None:
        self.index = index
        self.size = size
