"""Settings -> a model: how it is addressed, and that it is warm for that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_vllm import server

from executor.builtin import TOOLBOX
from planner_prompts.profile import FEW_SHOT, TUNED, Profile
from planner_prompts.render import opening
from serving import startup, warmup
from serving.engine import Engine
from serving.engine_room import EngineRoom
from serving.scripted import ScriptedModel
from serving.settings import Settings


def quiet(_: str) -> None:
    """Nobody waits."""


@pytest.mark.parametrize(
    ("asked", "said", "profile"),
    [
        (None, FEW_SHOT, FEW_SHOT),
        (None, TUNED, TUNED),
        (FEW_SHOT, TUNED, FEW_SHOT),
        (TUNED, FEW_SHOT, TUNED),
    ],
    ids=lambda profile: profile and profile.name,
)
async def test_our_engine_is_addressed_as_its_weights_say_unless_the_settings_do(
    tmp_path: Path, sleeper: Engine, asked: Profile | None, said: Profile, profile: Profile
) -> None:
    (tmp_path / "config.json").write_text("{}")
    room = EngineRoom(tmp_path)
    settings = Settings(model=str(tmp_path), cache_dir=tmp_path, profile=asked)
    async with server() as url:
        running = replace(sleeper, url=url, weights=str(tmp_path), profile_name=said.name)
        room.remember(replace(running, proved=True, warm=("before",)))
        async with startup.model(settings, TOOLBOX, [], quiet) as model:
            assert model.profile == profile
    found = room.find()
    assert found is not None
    digest = warmup.digest(TOOLBOX, settings, profile)
    assert set(found.warm) == {"before", digest}


@pytest.mark.parametrize(("asked", "profile"), [(None, FEW_SHOT), (TUNED, TUNED)])
async def test_somebody_elses_engine_is_addressed_as_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: Profile | None, profile: Profile
) -> None:
    async def proved(_: object) -> None:
        """As far as this test goes."""

    monkeypatch.setattr(warmup, "prove_grammar", proved)
    async with server() as url:
        settings = Settings(engine_url=url, cache_dir=tmp_path, profile=asked)
        async with startup.model(settings, TOOLBOX, [], quiet) as model:
            assert model.profile == profile


@pytest.mark.parametrize("profile", [FEW_SHOT, TUNED], ids=lambda profile: profile.name)
async def test_an_engine_is_warmed_with_the_prompt_that_it_will_get(profile: Profile) -> None:
    model = ScriptedModel(["", "", ""])
    model.profile = profile
    await warmup.warm(model, TOOLBOX, (), Settings())
    *expected, _ = opening(TOOLBOX, (), "any", profile)
    assert [messages[:-1] for messages, _ in model.requests] == [expected] * 3
