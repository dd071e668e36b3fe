"""The `search` tool and the fact base behind it."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.builtin.calculator import calculate
from executor.builtin.facts import Fact, facts, search
from executor.errors import ToolError

FOUND = [
    ("height of Mount Everest", "8849 m"),
    ("How tall is K2?", "8611 m"),
    ("Everest height", "8849 m"),
    ("Everest's elevation", "8849 m"),
    ("height of Everest in meters", "8849 m"),
    ("height of Kilimanjaro", "5895 m"),
    ("height of Kilimandjaro", "5895 m"),
    ("Mount Everst height", "8849 m"),
    ("Mont Everest height", "8849 m"),
    ("Burj Kalifa height", "828 m"),
    ("population France", "68400000 person"),
    ("how many people live in France", "68400000 person"),
    ("France's capital", "Paris"),
    ("what is the capital city of Peru", "Lima"),
    ("capital of Cote d'Ivoire", "Yamoussoukro"),
    ("when was the Eiffel Tower completed", "1889"),
    ("how big is Russia", "17098242 km^2"),
    ("how long is the Nile river", "6650 km"),
    ("how long do lions live", "27 year"),
    ("How fast is a cheetah?", "112 km/h"),
    ("top speed of cheetahs", "112 km/h"),
    ("how much does a blue whale weigh", "150000 kg"),
    ("how many moons does Mars have", "2"),
    ("moons of Jupiter", "95"),
    ("distance from Earth to the Moon", "384400 km"),
    ("distance of Mars from the Sun", "228000000 km"),
    ("where was Einstein born", "Ulm"),
    ("when was Einstein born", "1879-03-14"),
    ("who wrote Hamlet", "William Shakespeare"),
    ("who directed Titanic", "James Cameron"),
    ("when was the Titanic launched", "1911"),
    ("how deep is Lake Baikal", "1642 m"),
    ("symbol of gold", "Au"),
    ("Mercury density", "13534 kg/m^3"),
    ("planet Mercury diameter", "4879 km"),
    ("length of the Jordan", "251 km"),
    ("the Øresund Bridge's main span", "490 m"),
    ("Nile", "length: 6650 km; mouth: Mediterranean Sea"),
    ("Einstein born", "date of birth: 1879-03-14; place of birth: Ulm"),
]

REFUSED = [
    ("", "no words"),
    ("??", "no words"),
    ("x" * 501, "longer than 500"),
    ("capital of Xanadu", "names nothing known"),
    ("height", "names nothing known"),
    ("' OR 1=1 --", "names nothing known"),
    ('"NEAR(', "names nothing known"),
    ("colour of K2", "nothing on the colour of K2; known of K2: height, first ascent"),
    ("capital of K2", "nothing on the capital of K2"),
    ("who is the president of France", "nothing on the president of France"),
    ("population of France in 1900", "nothing on the population 1900 of France"),
    ("height of Everest base camp", "nothing on the height base camp of Mount Everest"),
    ("population of Mount Kenya", "nothing on the population of Mount Kenya"),
    ("France Germany population", "nothing on"),
    ("Pierre Curie born", "nothing on the pierre born of Marie Curie"),
    ("Annapurna II height", "nothing on"),
    ("Apollo 10 launch date", "names nothing known"),
    ("Elizabeth I date of birth", "names nothing known"),
    ("who directed Aliens", "names nothing known"),
    ("population of New England", "names nothing known"),
    ("diameter of Titanic", "nothing on"),
    ("Mercury", "ambiguous: Mercury (element); Mercury (planet)"),
    ("population of the Congo", "ambiguous"),
    ("how long is Titanic", "ambiguous: RMS Titanic; Titanic (film)"),
]


@pytest.mark.parametrize(("query", "answer"), FOUND)
def test_answers(query: str, answer: str) -> None:
    assert search(query) == answer


@pytest.mark.parametrize(("query", "reason"), REFUSED)
def test_refuses_rather_than_guesses(query: str, reason: str) -> None:
    with pytest.raises(ToolError) as refusal:
        search(query)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("query", ["{0.attribute} of {0.entity}", "{0.entity} {0.attribute}"])
def test_every_fact_is_found(query: str) -> None:
    wrong = {
        question: answer
        for fact in facts()
        if (answer := search(question := query.format(fact))) != fact.text
    }
    assert wrong == {}


@pytest.mark.parametrize("unit", sorted({fact.unit for fact in facts() if fact.unit}))
def test_calculate_reads_every_answer_of_a_unit(unit: str) -> None:
    for fact in facts():
        if fact.unit == unit:
            assert isinstance(calculate(fact.text), str)
            assert calculate(f"({fact.text}) / ({fact.text})") == 1


def test_base_is_large_and_without_duplicates() -> None:
    assert len(facts()) >= 500
    assert len({fact.category for fact in facts()}) >= 10
    counts = Counter((fact.entity, fact.attribute) for fact in facts())
    assert counts.most_common(1)[0][1] == 1


def test_rows_are_complete_sorted_and_consistent() -> None:
    keys = [(fact.category, fact.entity) for fact in facts()]
    assert keys == sorted(keys)
    assert len({entity for _, entity in keys}) == len(set(keys))
    assert len({(fact.attribute, fact.unit) for fact in facts()}) == len(
        {fact.attribute for fact in facts()}
    )
    assert all(fact.value and fact.source for fact in facts())


def test_numbers_with_units_are_plain() -> None:
    assert [fact for fact in facts() if fact.unit and not _is_number(fact)] == []


def _is_number(fact: Fact) -> bool:
    return float(fact.value) > 0 and "_" not in fact.value


def test_many_threads_get_the_same_answers() -> None:
    queries = [query for query, _ in FOUND] * 5
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(search, queries))
    assert answers == [answer for _, answer in FOUND] * 5


# Without a deadline, since the first example waits for the index.
@settings(deadline=None)
@given(st.text(max_size=120))
def test_any_text_is_answered_or_refused(query: str) -> None:
    assert "\n" not in _outcome(query)


def _outcome(query: str) -> str:
    try:
        return search(query)
    except ToolError as refusal:
        return str(refusal)


def test_the_calculator_keeps_each_quantity_as_it_is() -> None:
    for fact in facts():
        number, _, unit = fact.text.partition(" ")
        if re.fullmatch(r"-?[\d.]+(e\d+)?", number) and " " not in unit:
            kept = str(calculate(f"max({fact.text}, {fact.text})")).partition(" ")
            assert (float(kept[0]), kept[2]) == (float(number), unit), fact
