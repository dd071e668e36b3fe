"""Settings from the environment."""

from pathlib import Path
from typing import Any

import pytest

from executor.errors import UsageError
from planner_prompts.profile import FEW_SHOT, TUNED
from serving.settings import Settings

GOOD: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({}, {}),
    ({"HEADSTART_OTHER": "x", "DEADLINE": "5"}, {}),
    ({"HEADSTART_MODEL": "embedded"}, {"model": "embedded"}),
    ({"HEADSTART_PROFILE": "few-shot"}, {"profile": FEW_SHOT}),
    ({"HEADSTART_PROFILE": "tuned"}, {"profile": TUNED}),
    ({"HEADSTART_PROFILE": ""}, {"profile": None}),
    (
        {"HEADSTART_ENGINE_URL": "http://gpu:8000", "HEADSTART_ENGINE_KEY": "k"},
        {"engine_url": "http://gpu:8000", "engine_key": "k"},
    ),
    ({"HEADSTART_BACKEND": "guidance"}, {"backend": "guidance"}),
    ({"HEADSTART_DEADLINE": "2.5"}, {"deadline": 2.5}),
    ({"HEADSTART_DEADLINE": ""}, {"deadline": 120.0}),
    ({"HEADSTART_MAX_PLANS": "1"}, {"max_plans": 1}),
    ({"HEADSTART_MAX_REWRITES": "0"}, {"max_rewrites": 0}),
    ({"HEADSTART_TEMPERATURE": "0"}, {"temperature": 0.0}),
    ({"HEADSTART_TEMPERATURE": " 0.7 "}, {"temperature": 0.7}),
    ({"HEADSTART_CACHE": "/data"}, {"cache_dir": Path("/data")}),
    ({"HEADSTART_CACHE": "~/data"}, {"cache_dir": Path.home() / "data"}),
    ({"XDG_CACHE_HOME": "/xdg"}, {"cache_dir": Path("/xdg/headstart")}),
    ({"XDG_CACHE_HOME": "/xdg", "HEADSTART_CACHE": "/data"}, {"cache_dir": Path("/data")}),
    ({"XDG_CACHE_HOME": "", "HEADSTART_CACHE": ""}, {}),
    (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318/"},
        {"traces_endpoint": "http://otel:4318/v1/traces"},
    ),
    (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://o/t"},
        {"traces_endpoint": "http://o/t"},
    ),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {}),
]


@pytest.mark.parametrize(("env", "changed"), GOOD, ids=[str(env) for env, _ in GOOD])
def test_the_environment_changes_what_it_names_and_nothing_else(
    env: dict[str, str], changed: dict[str, Any]
) -> None:
    assert Settings.from_env(env) == Settings(**changed)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("HEADSTART_PROFILE", "loud", "it must be few-shot or tuned"),
        ("HEADSTART_PROFILE", "Tuned", "it must be few-shot or tuned"),
        ("HEADSTART_BACKEND", "xgrammar", "it must be outlines or guidance"),
        ("HEADSTART_DEADLINE", "soon", "it must be a number, 1 or more"),
        ("HEADSTART_DEADLINE", "2s", "it must be a number, 1 or more"),
        ("HEADSTART_DEADLINE", "0", "it must be a number, 1 or more"),
        ("HEADSTART_DEADLINE", "-5", "it must be a number, 1 or more"),
        ("HEADSTART_DEADLINE", "nan", "it must be a number, 1 or more"),
        ("HEADSTART_DEADLINE", "inf", "it must be a number, 1 or more"),
        ("HEADSTART_DEADLINE", " ", "it must be a number, 1 or more"),
        ("HEADSTART_MAX_PLANS", "0", "it must be a number, 1 or more"),
        ("HEADSTART_MAX_PLANS", "two", "it must be a number, 1 or more"),
        ("HEADSTART_MAX_PLANS", "inf", "it must be a number, 1 or more"),
        ("HEADSTART_MAX_PLANS", "2.5", "it must be a whole number"),
        ("HEADSTART_TEMPERATURE", "warm", "it must be a number, 0 or more"),
        ("HEADSTART_TEMPERATURE", "-0.1", "it must be a number, 0 or more"),
        ("HEADSTART_TEMPERATURE", "nan", "it must be a number, 0 or more"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(name: str, value: str, reason: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Settings.from_env({name: value})
    assert str(refusal.value) == f"{name} is {value!r}; {reason}"
