"""Who may use the gateway, and for what: a file of hashed keys, read again when it changes.

A key is 32 random bytes, so a plain hash of it can't be reversed. The file is the owner's alone;
the key itself is shown once, when it is made, and kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from executor.errors import UsageError
from executor.tools import ToolBox
from serving.gateway.problems import Problem

log = logging.getLogger("headstart.keys")

PREFIX = "hs_"
MINUTE = 60.0
Stamp = tuple[int, int, int]  # of a file: it has changed if this has


class Key(BaseModel):
    """An entry of the file. What is None has no limit of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64)
    hash: str = Field(min_length=64, max_length=64)  # SHA-256, in hexadecimal digits
    tools: tuple[str, ...] | None = None
    max_runs: int | None = Field(None, ge=1)  # that go on or wait at once
    runs_per_minute: int | None = Field(None, ge=1)
    created: AwareDatetime
    expires: AwareDatetime | None = None


class KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[Key] = []


@dataclass(slots=True)
class Caller:
    """Whoever sends a request: the owner of a key, or, where there are no keys, anyone."""

    key: Key | None = None
    _starts: deque[float] = field(default_factory=deque)

    @property
    def name(self) -> str:
        """Under which its runs are kept."""
        return self.key.name if self.key else ""

    @property
    def reads(self) -> str | None:
        """Whose runs it may see; None: everybody's."""
        return self.key.name if self.key else None

    def may_use(self, tool: str) -> bool:
        return self.key is None or self.key.tools is None or tool in self.key.tools

    def check_start(self, going_on: Callable[[], int], now: float) -> None:
        """Raises Problem if one run more, beside those of its own that go on, is too many. `now` is
        in seconds, of any clock that only goes forward."""
        if self.key is None:
            return
        most, rate = self.key.max_runs, self.key.runs_per_minute
        if most is not None and going_on() >= most:
            detail = f"the key {self.name} may have {most} runs at once, and has them"
            raise Problem("too-many-runs", detail, retry_after=1)
        if rate is not None:
            while self._starts and self._starts[0] <= now - MINUTE:
                self._starts.popleft()
            if len(self._starts) >= rate:
                wait = 1 + int(self._starts[0] + MINUTE - now)
                detail = f"the key {self.name} may begin {rate} runs a minute, and has done so"
                raise Problem("too-many-runs", detail, retry_after=wait)

    @contextmanager
    def starts(self, now: float) -> Iterator[None]:
        """A run begins within, or it is an exception that keeps it from that."""
        if self.key is None or self.key.runs_per_minute is None:
            yield
            return
        self._starts.append(now)
        try:
            yield
        except BaseException:
            with suppress(ValueError):  # it was a minute ago, and is forgotten
                self._starts.remove(now)
            raise


ANYONE = Caller()
CALLER = web.RequestKey("caller", Caller)


class Keys:
    """The keys in a file, for the tools of this box. Where none are `required` and there is no
    file, anyone may call."""

    def __init__(self, path: Path, toolbox: ToolBox, *, required: bool) -> None:
        self._path = path
        self._toolbox = toolbox
        self._are_on = required
        self._stamp: Stamp | None = None
        self._callers: list[Caller] = []
        self._read_if_changed()
        if required and not self._callers:
            raise UsageError(
                f"to listen elsewhere than on the loopback there must be keys, and {path} has "
                "none; make one with ./scripts/keys.sh add NAME"
            )

    def caller(self, authorization: str, host: str) -> Caller:
        """Who sends these headers. Raises Problem for a key that is none, or has expired.

        Without keys the host must be the loopback's own name: a page on the web could have its
        own name point here, and ask in the reader's place.
        """
        self._read_if_changed()
        if not self._are_on:
            if not is_loopback(_name(host)):
                detail = f"there are no keys, so this is for the loopback alone, not for {host}"
                raise Problem("forbidden", detail)
            return ANYONE
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Problem("unauthorized", "send a key: Authorization: Bearer KEY")
        digest, found = _hash(key.strip()), None
        for caller in self._callers:  # all of them, whichever it is: the time tells nothing
            assert caller.key is not None
            if hmac.compare_digest(caller.key.hash, digest):
                found = caller
        if found is None or found.key is None:
            raise Problem("unauthorized", "the key is not known here")
        if found.key.expires is not None and found.key.expires <= datetime.now(UTC):
            raise Problem("unauthorized", f"the key {found.name} has expired")
        return found

    def _read_if_changed(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self._are_on |= stamp is not None  # and stay so: a file that is gone opens no door
        try:
            keys = read(self._path).keys if stamp else []
        except UsageError as error:  # whoever writes it will notice; callers should not
            if not self._callers:
                raise
            log.error("%s; the keys of before still hold", error)
            return
        known = {caller.key: caller for caller in self._callers}
        for key in keys:
            if key not in known:
                self._check_tools(key)
        self._callers = [known.get(key) or Caller(key) for key in keys]

    def _check_tools(self, key: Key) -> None:
        """A slip, or a tool that came with another tools file: the key opens what else it names."""
        if unknown := [name for name in key.tools or () if name not in self._toolbox]:
            names = ", ".join(unknown)
            log.warning(
                "the key %s names tools that are not here: %s; there are: %s",
                *(key.name, names, self._toolbox),
            )


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The host's name without a port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def add(
    path: Path,
    name: str,
    *,
    tools: tuple[str, ...] | None,
    max_runs: int | None,
    runs_per_minute: int | None,
    days: float | None,
) -> str:
    """Makes a key, which is returned and kept nowhere."""
    file = read(path)
    if any(each.name == name for each in file.keys):
        raise UsageError(f"there is a key {name} already; remove it first")
    key = PREFIX + secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    try:
        entry = Key(
            name=name,
            hash=_hash(key),
            tools=tools,
            max_runs=max_runs,
            runs_per_minute=runs_per_minute,
            created=now,
            expires=None if days is None else now + timedelta(days=days),
        )
    except ValidationError as error:
        [first, *_] = error.errors()
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    file.keys.append(entry)
    _write(path, file)
    return key


def remove(path: Path, name: str) -> None:
    """From the next request on it is no key any more."""
    file = read(path)
    left = [each for each in file.keys if each.name != name]
    if len(left) == len(file.keys):
        raise UsageError(f"there is no key {name}")
    _write(path, KeyFile(keys=left))


def read(path: Path) -> KeyFile:
    """The file's keys; none if there is no file. Raises UsageError if it can't be read."""
    try:
        return KeyFile.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return KeyFile()
    except (OSError, ValueError) as error:
        raise UsageError(f"can't read the keys in {path}: {_first_line(error)}") from None


def _write(path: Path, file: KeyFile) -> None:
    """In one step: a gateway never reads half of it."""
    partial = path.with_suffix(f".{os.getpid()}")
    opener: Callable[[str, int], int] = lambda name, flags: os.open(name, flags, 0o600)  # noqa: E731
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(partial, "w", encoding="utf-8", opener=opener) as out:
            out.write(file.model_dump_json(indent=2) + "\n")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"can't write the keys to {path}: {error.strerror}") from None


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, ValidationError):
        [first, *_] = error.errors()
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
