"""Files with one JSON object a line."""

from __future__ import annotations

from pathlib import Path

from executor.errors import UsageError


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1. Raises UsageError if unreadable."""
    try:
        # Not splitlines(), which also parts a text at separators that JSON leaves as they are.
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"can't read {path}: not UTF-8 text") from None
    return [(at, line) for at, line in enumerate(lines, 1) if line.strip()]
