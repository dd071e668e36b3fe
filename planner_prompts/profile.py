"""How a model is addressed: what stands before the question."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from executor.errors import UsageError

FILE = "planner.json"  # beside the weights: {"profile": "tuned"}


@dataclass(frozen=True, slots=True)
class Profile:
    """`system` names the text file of the system message.

    `bundled_examples`: whether the worked examples for the bundled tools are shown.
    """

    name: str
    system: str
    bundled_examples: bool


FEW_SHOT = Profile("few-shot", "planner", bundled_examples=True)
# A tuned model knows the plan language; what it must still read are the tools.
TUNED = Profile("tuned", "tuned", bundled_examples=False)

PROFILES = {profile.name: profile for profile in (FEW_SHOT, TUNED)}


def profile_named(name: str, what: str) -> Profile:
    """Raises UsageError, which says that `what` is wrong, for a name that is none."""
    try:
        return PROFILES[name]
    except (KeyError, TypeError):  # from a file, it may be no text
        raise UsageError(f"{what} is {name!r}; it must be {' or '.join(PROFILES)}") from None


def profile_of(directory: Path) -> Profile:
    """What the planner.json of a directory of weights says; few-shot if there is none.

    Raises UsageError if the file can't be read or names no profile.
    """
    file = directory / FILE
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["profile"]
    except FileNotFoundError:
        return FEW_SHOT
    except OSError as error:
        raise UsageError(f"can't read {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):  # the last: nested without end
        raise UsageError(f'{file} must be JSON such as {{"profile": "{TUNED.name}"}}') from None
    return profile_named(name, f"the profile in {file}")
