"""All settings in one frozen object; our only reader of the environment."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from executor.errors import UsageError
from planner_prompts.grammar import BUDGETS, Backend
from planner_prompts.profile import Profile, profile_named

EMBEDDED = "embedded"
EMBEDDED_RAW = "embedded-raw"  # not tuned
GPU_MODEL = "Qwen/Qwen3-4B-Instruct-2507"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Times are in seconds, sizes in tokens unless they say otherwise."""

    model: str = ""  # a hub id, a path, or an embedded one; empty: what fits the machine
    profile: Profile | None = None  # None: as the weights say; few-shot on somebody else's vLLM
    engine_url: str = ""  # somebody else's vLLM; empty: our own
    engine_key: str = ""
    cache_dir: Path = field(default_factory=lambda: Path.home() / ".cache" / "headstart")

    backend: Backend = "outlines"  # of the engine, for grammars

    deadline: float = 120.0  # of a run: planner, tools and joiner together
    max_plans: int = 2
    max_tasks: int = 16  # in one plan
    max_rewrites: int = 2  # of lines that can't be run, in one plan; of answers that don't fit
    line_chars: int = 4000  # of one line of a plan
    max_running: int = 16  # tasks of a run at once
    plan_tokens: int = 1024
    answer_tokens: int = 512
    result_chars: int = 2000  # of one result, as the joiner reads it
    temperature: float = 0.0

    data_dir: Path = field(default_factory=lambda: Path.home() / ".local" / "share" / "headstart")
    max_runs: int = 32  # at once, in the gateway
    max_waiting: int = 128  # runs that wait for a place
    keep_days: float = 30.0  # runs in the history
    grace: float = 30.0  # for runs to end in when the gateway is to end
    traces_endpoint: str = ""  # of an OpenTelemetry collector; empty: none

    engine_start: float = 900.0  # until the engine must be healthy
    engine_check: float = 180.0  # for the proof and the warming of an engine that is

    @property
    def keys_file(self) -> Path:
        return self.data_dir / "keys.json"

    @property
    def history_file(self) -> Path:
        return self.data_dir / "history.db"

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Reads HEADSTART_* and where traces go; raises UsageError for a value that is none."""
        home = env.get("XDG_CACHE_HOME") or "~/.cache"
        cache = env.get("HEADSTART_CACHE") or f"{home}/headstart"
        default = cls()
        return cls(
            model=env.get("HEADSTART_MODEL", default.model),
            profile=_profile(env, "HEADSTART_PROFILE"),
            engine_url=env.get("HEADSTART_ENGINE_URL", default.engine_url),
            engine_key=env.get("HEADSTART_ENGINE_KEY", default.engine_key),
            backend=_backend(env, "HEADSTART_BACKEND"),
            cache_dir=Path(cache).expanduser(),
            data_dir=_data_dir(env),
            max_runs=_whole(env, "HEADSTART_MAX_RUNS", default.max_runs, least=1),
            max_waiting=_whole(env, "HEADSTART_MAX_WAITING", default.max_waiting, least=0),
            keep_days=_number(env, "HEADSTART_KEEP_DAYS", default.keep_days, least=0),
            grace=_number(env, "HEADSTART_GRACE", default.grace, least=0),
            traces_endpoint=_traces_endpoint(env),
            deadline=_number(env, "HEADSTART_DEADLINE", default.deadline, least=1),
            max_plans=_whole(env, "HEADSTART_MAX_PLANS", default.max_plans, least=1),
            max_rewrites=_whole(env, "HEADSTART_MAX_REWRITES", default.max_rewrites, least=0),
            temperature=_number(env, "HEADSTART_TEMPERATURE", default.temperature, least=0),
        )


def _data_dir(env: Mapping[str, str]) -> Path:
    home = env.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(env.get("HEADSTART_DATA") or f"{home}/headstart").expanduser()


def _traces_endpoint(env: Mapping[str, str]) -> str:
    """As OpenTelemetry has it: that of traces is whole, that of all signals is a base."""
    base = env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/")
    return env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (f"{base}/v1/traces" if base else "")


def _profile(env: Mapping[str, str], name: str) -> Profile | None:
    return profile_named(env[name], name) if env.get(name) else None


def _backend(env: Mapping[str, str], name: str) -> Backend:
    wanted = env.get(name) or "outlines"
    for backend in BUDGETS:
        if backend == wanted:
            return backend
    raise UsageError(f"{name} is {wanted!r}; it must be {' or '.join(BUDGETS)}")


def _number(env: Mapping[str, str], name: str, default: float, *, least: int) -> float:
    try:
        number = float(env.get(name) or default)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < least:
        raise UsageError(f"{name} is {env[name]!r}; it must be a number, {least} or more")
    return number


def _whole(env: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    number = _number(env, name, default, least=least)
    if not number.is_integer():
        raise UsageError(f"{name} is {env[name]!r}; it must be a whole number")
    return int(number)
