"""The Task Fetching Unit: what happens in, what to do out. No event loop, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.fetching import (
    ALLOWED,
    FetchingUnit,
    Instruction,
    Outcome,
    Ready,
    Settle,
    State,
    TransitionError,
)
from executor.plan import Ref, Task, Template
from executor.policy import Policy

ENDED = {state for state, after in ALLOWED.items() if not after}
POLICIES = {"tool": Policy(), "late": Policy(eager=False), "brave": Policy(on_input_error="pass")}


@pytest.fixture(autouse=True, scope="module")
def _validated() -> Iterator[None]:
    """After every step of every test, what must always hold is checked."""

    def checked(step: Any) -> Any:
        def take(unit: FetchingUnit, *args: Any, **kwargs: Any) -> list[Instruction]:
            instructions = step(unit, *args, **kwargs)
            unit.validate()
            return instructions

        return take

    with pytest.MonkeyPatch.context() as patch:
        for name in ("seal", "end_plan", "start", "finish", "cancel"):
            patch.setattr(FetchingUnit, name, checked(getattr(FetchingUnit, name)))
        yield


# What happens -> what to do. `seal 3 $1 $2` is a task that needs 1 and 2, `seal 3 late` one with
# side effects, `seal 3 brave` one that is called though an input failed; `done 1` and `failed 1`
# end a call; `ended` and `broken` end a plan. What is ready is started.
SCENES = {
    "a task without inputs starts at its seal": """
        seal 1       -> start 1
        seal 2       -> start 2
        done 2       ->
        done 1       ->
        ended        ->
    """,
    "a chain goes link by link": """
        seal 1       -> start 1
        seal 2 $1    ->
        seal 3 $2    ->
        ended        ->
        done 1       -> start 2
        done 2       -> start 3
        done 3       ->
    """,
    "an input that is done already is not waited for": """
        seal 1       -> start 1
        done 1       ->
        seal 2 $1    -> start 2
    """,
    "a diamond closes with its last input": """
        seal 1       -> start 1
        seal 2 $1    ->
        seal 3 $1    ->
        seal 4 $2 $3 ->
        done 1       -> start 2, start 3
        done 3       ->
        done 2       -> start 4
        done 4       ->
    """,
    "a task with side effects waits for the end of a valid plan": """
        seal 1 late  ->
        seal 2       -> start 2
        done 2       ->
        ended        -> start 1
    """,
    "and for its inputs": """
        seal 1         -> start 1
        seal 2 late $1 ->
        ended          ->
        done 1         -> start 2
    """,
    "it is never called if the plan breaks off; the others go on": """
        seal 1         -> start 1
        seal 2 late $1 ->
        seal 3 $2      ->
        seal 4 $1      ->
        broken         -> skipped 2 plan_incomplete, skipped 3 input_failed
        done 1         -> start 4
    """,
    "each plan of a run is ended for itself": """
        seal 1 late  ->
        ended        -> start 1
        done 1       ->
        seal 2 late  ->
        seal 3 $1    -> start 3
        broken       -> skipped 2 plan_incomplete
        seal 4 late  ->
        ended        -> start 4
    """,
    "a failure skips what needs it, and what needs that, and nothing else": """
        seal 1       -> start 1
        seal 2       -> start 2
        seal 3 $1    ->
        seal 4 $3 $2 ->
        seal 5 $2    ->
        failed 1     -> skipped 3 input_failed, skipped 4 input_failed
        done 2       -> start 5
    """,
    "a task that two failures skip is skipped once": """
        seal 1       -> start 1
        seal 2       -> start 2
        seal 3 $1 $2 ->
        failed 2     -> skipped 3 input_failed
        failed 1     ->
    """,
    "a task sealed after its input failed is skipped at its seal": """
        seal 1         -> start 1
        failed 1       ->
        seal 2 $1      -> skipped 2 input_failed
        seal 3 $2      -> skipped 3 input_failed
        seal 4 late $3 -> skipped 4 input_failed
        ended          ->
    """,
    "a path that leads nowhere fails the task that takes it": """
        seal 1         -> start 1
        seal 2 $1.name ->
        seal 3 $2      ->
        seal 4 $1      ->
        done 1         -> failed 2 bad_argument, start 4, skipped 3 input_failed
        seal 5 $1.name -> failed 5 bad_argument
        seal 6 $5      -> skipped 6 input_failed
    """,
    "who takes errors is called though an input failed, at once or later": """
        seal 1           -> start 1
        seal 2           -> start 2
        seal 3 brave $1  ->
        seal 4 $1        ->
        seal 5 brave $4  ->
        seal 6 brave $1 $2 ->
        failed 1         -> start 3, skipped 4 input_failed, start 5
        seal 7 brave $4  -> start 7
        done 2           -> start 6
    """,
    "cancelling ends what is open and leaves what has ended": """
        seal 1       -> start 1
        seal 2       -> start 2
        done 1       ->
        seal 3       -> start 3
        seal 4 $2    ->
        seal 5 late  ->
        cancel       -> cancelled 2 run_ended, cancelled 3 run_ended, cancelled 4 run_ended, \
cancelled 5 run_ended
        cancel       ->
    """,
}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_scene(scene: str) -> None:
    stage = Stage(scene)
    for step in stage.steps:
        event, expected = (part.strip() for part in step.split("->"))
        assert ", ".join(map(told, stage.take(event))) == expected, event


# What came before; what may not come now; what the refusal tells.
REFUSED = [
    ("seal 1", "seal 1", "task 1 is sealed twice"),
    ("", "seal 0", "task 0 .* does not count from 1"),
    ("", "seal 2 $1", r"task 2 refers to \$1, which is not sealed before it"),
    ("", "seal 1 $1", r"task 1 refers to \$1"),
    ("", "done 1", "task 1 can't become done: it was never sealed"),
    ("", "start 1", "task 1 can't become running: it was never sealed"),
    ("seal 1 late", "done 1", "task 1 can't become done: it was waiting$"),
    ("seal 1 late", "start 1", "task 1 can't become running: it was waiting$"),
    ("seal 1", "start 1", "task 1 can't become running: it was waiting, ready, running"),
    ("seal 1; done 1", "done 1", "task 1 can't become done: .*waiting, ready, running, done"),
    ("seal 1; done 1", "failed 1", "task 1 can't become failed: it was .* running, done"),
    ("seal 1; failed 1; seal 2 $1", "done 2", "task 2 can't become done: .*waiting, skipped"),
    ("seal 1; cancel", "done 1", "task 1 can't become done: it was .* running, cancelled"),
]


@pytest.mark.parametrize(("before", "event", "story"), REFUSED)
def test_a_refused_step_tells_its_story_and_changes_nothing(
    before: str, event: str, story: str
) -> None:
    stage = Stage(before.replace(";", "\n"))
    for step in stage.steps:
        stage.take(step)
    states = stage.states()
    with pytest.raises((ValueError, TransitionError), match=story):
        stage.take(event)
    assert stage.states() == states
    stage.unit.validate()


def test_states_along_the_way() -> None:
    stage = Stage("")
    seen = []
    for event in ("seal 1", "seal 2 late", "seal 3 $1", "done 1", "ended", "failed 2", "done 3"):
        stage.take(event)
        seen.append(" ".join(state.value for state in stage.states().values()))
    assert seen == [
        "running",
        "running waiting",
        "running waiting waiting",
        "done waiting running",
        "done running running",
        "done failed running",
        "done failed done",
    ]


def test_the_longest_known_path_is_measured_again_when_it_grows() -> None:
    stage = Stage("")
    heights = []
    for event in ("seal 1", "seal 2", "seal 3 $1", "seal 4 $3 $2", "seal 5 $1"):
        stage.take(event)
        heights.append([stage.unit.height(id) for id in stage.states()])
    assert heights == [[1], [1, 1], [2, 1, 1], [3, 2, 2, 1], [3, 2, 2, 1, 1]]


def test_an_input_that_failed_is_told_to_who_takes_errors() -> None:
    unit = unit_of()
    unit.seal(Task(1, "tool"))
    unit.start(1)
    unit.seal(Task(2, "brave", {"whole": Ref(1, ("name",)), "text": Template(("saw ", Ref(1)))}))
    [ready] = unit.finish(1, Outcome(State.FAILED, reason="timeout", message="no answer"))
    assert isinstance(ready, Ready)
    assert ready.args == {"whole": "error: no answer", "text": "saw error: no answer"}


def test_results_are_put_in_typed() -> None:
    unit = unit_of()
    unit.seal(Task(1, "tool"))
    unit.start(1)
    args = {
        "whole": Ref(1),
        "part": Ref(1, ("names", 1)),
        "text": Template(("about ", Ref(1, ("names", 0)))),
        "list": [Ref(1, ("height",)), 3],
    }
    unit.seal(Task(2, "tool", args))
    result = {"names": ["K2", "$9"], "height": 8611}
    [start] = unit.finish(1, Outcome(State.DONE, result))
    assert isinstance(start, Ready)
    assert start.args["whole"] == result
    assert start.args["part"] == "$9"  # a result is never scanned for references
    assert start.args["text"] == "about K2"
    assert start.args["list"] == [8611, 3]


def test_a_chain_of_tasks_that_fail_and_take_errors_may_be_long() -> None:
    unit = unit_of()
    unit.seal(Task(1, "tool", {}))
    unit.start(1)
    for id in range(2, 600):
        unit.seal(Task(id, "brave", {"a": Ref(1, ("no",)), "b": Ref(id - 1)}))
    assert len(unit.finish(1, Outcome(State.DONE, {}))) == 598


def test_a_skipped_task_says_because_of_whom() -> None:
    stage = Stage("")
    for event in ("seal 1", "seal 2 $1", "seal 3 $2", "seal 4 late"):
        stage.take(event)
    stage.take("failed 1")
    stage.take("broken")
    messages = {id: outcome.message for id, outcome in stage.unit.outcomes.items()}
    assert messages[2] == "it needs $1, which gave no result"
    assert messages[3] == "it needs $2, which gave no result"
    assert messages[4] == "it has side effects, and the plan was not completed"


@settings(deadline=None)
@given(st.data())
def test_any_run_keeps_the_rules(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 9), "tasks")
    late = data.draw(st.sets(st.integers(1, 9)), "with side effects")
    run = Rules(late)
    while len(run.needs) < count or run.running:
        sealed = len(run.needs)
        moves = ["seal"] * (sealed < count) + ["finish"] * bool(run.running)
        if data.draw(st.sampled_from(moves)) == "seal":
            wish = data.draw(st.sets(st.integers(1, 9), max_size=4))
            run.seal(sealed + 1, {need for need in wish if need <= sealed})
        else:
            which = data.draw(st.sampled_from(sorted(run.running)))
            run.finish(which, data.draw(st.sampled_from([State.DONE, State.DONE, State.FAILED])))
    run.end_plan(valid=data.draw(st.booleans(), "valid"))
    while run.running:
        run.finish(min(run.running), State.DONE)
    assert run.ended.keys() == run.needs.keys()
    assert run.unit.cancel() == []


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(1, 6)), max_size=6), st.integers(0, 6))
def test_cancelling_at_any_point_ends_each_task_once(wishes: list[set[int]], finished: int) -> None:
    run = Rules(late=set())
    for id, wish in enumerate(wishes, start=1):
        run.seal(id, {need for need in wish if need < id})
    for _ in range(min(finished, len(wishes))):
        run.finish(min(run.running), State.DONE)
    for instruction in run.unit.cancel():
        assert isinstance(instruction, Settle)
        assert instruction.outcome.state is State.CANCELLED
        run.end(instruction.task.id, State.CANCELLED)
    assert run.ended.keys() == run.needs.keys()


class Rules:
    """A run of the unit beside which the rules are kept by hand."""

    def __init__(self, late: set[int]) -> None:
        self.unit = unit_of()
        self.needs: dict[int, set[int]] = {}
        self.running: set[int] = set()
        self.ended: dict[int, State] = {}
        self._late = late
        self._plan_is_valid = False

    def seal(self, id: int, needs: set[int]) -> None:
        self.needs[id] = needs
        self._watch(self.unit.seal(task(id, needs, "late" if id in self._late else "tool")))

    def finish(self, id: int, state: State) -> None:
        self.running.remove(id)
        self.end(id, state)
        self._watch(self.unit.finish(id, Outcome(state)))

    def end_plan(self, *, valid: bool) -> None:
        self._plan_is_valid = valid
        self._watch(self.unit.end_plan(valid=valid))

    def end(self, id: int, state: State) -> None:
        assert id not in self.ended, "a task ends once"
        self.ended[id] = state

    def _watch(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            id = instruction.task.id
            if isinstance(instruction, Settle):
                self.end(id, instruction.outcome.state)
                lost = self.needs[id] & (self.ended.keys() - self._done())
                assert lost or (id in self._late and not self._plan_is_valid)
            else:
                assert id in self._may_start()
                self.running.add(id)
                self.unit.start(id)
        assert not self._may_start(), "who may start does"
        for id in self.needs.keys() - self.ended.keys():
            assert self.unit.state(id) not in ENDED

    def _done(self) -> set[int]:
        return {id for id, state in self.ended.items() if state is State.DONE}

    def _may_start(self) -> set[int]:
        return {
            id
            for id, needs in self.needs.items()
            if id not in self.running | self.ended.keys()
            and needs <= self._done()
            and (self._plan_is_valid or id not in self._late)
        }


class Stage:
    """Plays a scene's text on a unit."""

    def __init__(self, scene: str) -> None:
        self.steps = [line.strip() for line in scene.strip().splitlines() if line.strip()]
        self.unit = unit_of()
        self._sealed: list[int] = []

    def take(self, event: str) -> list[Instruction]:
        instructions = self._performed(event)
        for instruction in instructions:
            if isinstance(instruction, Ready):
                self.unit.start(instruction.task.id)
        return instructions

    def _performed(self, event: str) -> list[Instruction]:
        match event.split():
            case ["seal", id, *rest]:
                name = next(filter(POLICIES.get, rest), "tool")
                refs = [ref(word) for word in rest if word != name]
                instructions = self.unit.seal(Task(int(id), name, {"inputs": refs}))
                self._sealed.append(int(id))
                return instructions
            case ["done", id]:
                return self.unit.finish(int(id), Outcome(State.DONE, f"result {id}"))
            case ["failed", id]:
                return self.unit.finish(int(id), Outcome(State.FAILED, reason="error"))
            case ["start", id]:
                self.unit.start(int(id))
                return []
            case ["ended"]:
                return self.unit.end_plan(valid=True)
            case ["broken"]:
                return self.unit.end_plan(valid=False)
            case ["cancel"]:
                return self.unit.cancel()
        raise AssertionError(f"no such event: {event}")

    def states(self) -> dict[int, State]:
        return {id: self.unit.state(id) for id in self._sealed}


def unit_of() -> FetchingUnit:
    return FetchingUnit(POLICIES.__getitem__)


def ref(word: str) -> Ref:
    found = re.fullmatch(r"\$(\d+)(?:\.(\w+))?", word)
    assert found
    return Ref(int(found[1]), (found[2],) if found[2] else ())


def task(id: int, needs: set[int], name: str) -> Task:
    return Task(id, name, {"inputs": [Ref(need) for need in sorted(needs)]})


def told(instruction: Instruction) -> str:
    match instruction:
        case Ready(task):
            return f"start {task.id}"
        case Settle(task, outcome):
            return f"{outcome.state} {task.id} {outcome.reason}"
