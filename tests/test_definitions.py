"""Definitions from outside: read, or refused in one line that names the key, what was expected and what came."""

import copy
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.saga.definition import Kind, Resource, RunOf, Saga, Step
from choreo.saga.file import WrongDefinition, check, definition_from, read_definition
from choreo.saga.file.checking import ATTEMPTS_MAX, RUNS_MAX, STEPS_MAX
from choreo.saga.file.document import document_of
from choreo.saga.file.reading import BYTES_MAX, is_definition
from services.sagas import order, trip
from tests.terminal import choreo, prose

ORDER = """
[saga]
name = "order"

[[step]]
name = "charge"
effect = { credit = -60 }
fails = "may"
latency_ms = [1, 5]
timeout_ms = 50

[[step]]
name = "ship"
kind = "pivot"
after = ["charge"]

[[step]]
name = "notify"
kind = "retriable"
fails = 2

[resources]
credit = { initial = 100, minimum = 0 }

[[run]]
saga_id = "order-1"

[guarantees]
inbox = false

[wiring]
deaf = [["charge", "step/ship/failed"]]

[faults]
kinds = ["drop", "crash"]
budget = 2
"""


def table(*steps: Any, **more: Any) -> dict[str, Any]:
    """A parsed file: a step may be told by its name alone."""
    return {"saga": {"name": "saga"}, "step": [{"name": s} if isinstance(s, str) else s for s in steps], **more}


def step(name: str = "a", **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def complaint(given: Any) -> str:
    with pytest.raises(WrongDefinition) as caught:
        definition_from(given)
    return str(caught.value)


# --- what is right ----------------------------------------------------------------------------------------------------


def test_a_file_says_what_python_would(tmp_path: Path) -> None:
    """The same values, whether read from TOML or built."""
    file = tmp_path / "order.toml"
    file.write_text(ORDER)

    definition = read_definition(str(file))

    assert definition.name == "order"
    assert definition.steps[0] == Step("charge", effect={"credit": -60}, fails="may", latency_ms=(1, 5), timeout_ms=50)
    assert [s.kind for s in definition.steps] == [Kind.COMPENSATABLE, Kind.PIVOT, Kind.RETRIABLE]
    assert definition.resources == {"credit": Resource(100, minimum=0)}
    assert definition.runs == (RunOf("order-1"),)
    assert definition.guarantees.off == ("inbox",)


@pytest.mark.parametrize("definition", [order, trip])
def test_the_definitions_in_python_are_read_by_name(definition: Saga) -> None:
    """`services.sagas:order` is the value of that name."""
    assert read_definition(f"services.sagas:{definition.name}") == definition


NAMES = st.text(min_size=1, max_size=6)
FAILS = st.sampled_from(["never", "always", "may"]) | st.integers(0, 5)


@st.composite
def definitions(draw: st.DrawFn) -> Saga:
    """Definitions that make sense: any graph of a few steps, with resources and runs."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    resources = draw(st.dictionaries(NAMES, st.builds(Resource, st.integers(0, 99)), max_size=3))
    effects = st.dictionaries(st.sampled_from([*resources]), st.integers(-9, 9)) if resources else st.just({})
    steps = tuple(
        Step(
            name,
            after=draw(st.none() | st.lists(st.sampled_from(names[:index]), unique=True).map(tuple)) if index else None,
            effect=draw(effects),
            fails=draw(FAILS),
            compensation_fails=draw(FAILS),
            attempts=draw(st.integers(1, ATTEMPTS_MAX)),
            timeout_ms=draw(st.none() | st.integers(1, 99)),
            latency_ms=draw(st.none() | st.integers(0, 99) | st.tuples(st.integers(0, 9), st.integers(10, 99))),
        )
        for index, name in enumerate(names)
    )
    runs = tuple(map(RunOf, draw(st.lists(NAMES, max_size=3, unique=True))))
    return Saga(draw(NAMES), steps=steps, resources=resources, runs=runs)


@given(definitions())
@settings(max_examples=60)
def test_a_definition_survives_being_written_and_read(definition: Saga) -> None:
    """A definition built in Python equals its copy that was converted to plain values and read again."""
    assert definition_from(msgspec.to_builtins(document_of(definition))) == definition


# --- what has the wrong form ------------------------------------------------------------------------------------------

KINDS = 'expected "compensatable", "pivot" or "retriable", got'


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({}, "saga: expected a table, got nothing: it is required"),
        ([], "definition: expected a table, got an empty array"),
        ({"saga": "order"}, "saga: expected a table, got 'order'"),
        ({"saga": {}}, "saga.name: expected a string, got nothing: it is required"),
        ({"saga": {"name": 7}}, "saga.name: expected a string, got 7"),
        (table("a", steps=[]), "steps: unknown key; did you mean 'step'?"),
        (table("a", zzz=1), "zzz: unknown key; expected saga, step, resources, run, guarantees, wiring or faults"),
        (table({"fails": "may"}), "step[0].name: expected a string, got nothing: it is required"),
        ({"saga": {"name": "a"}, "step": {"name": "a"}}, "step: expected an array, got a table"),
        (table("a", 7), "step[1]: expected a table, got 7"),
        (table("a", step("b", kind="pivott")), f"step[1].kind: {KINDS} 'pivott'; did you mean 'pivot'?"),
        (table(step(kind=True)), f"step[0].kind: {KINDS} true"),
        (table(step(efect={})), "step[0].efect: unknown key; did you mean 'effect'?"),
        (table(step(effect=[])), "step[0].effect: expected a table, got an empty array"),
        (table(step(effect={"x": "1"})), "step[0].effect.x: expected a whole number, got '1'"),
        (table(step(effect={"x y": True})), "step[0].effect.'x y': expected a whole number, got true"),
        (table(step(writes={"x": 1.5})), "step[0].writes.x: expected a whole number or a string, got 1.5"),
        (table(step(after="b")), "step[0].after: expected an array, got 'b'"),
        (table(step(after=["b", 1])), "step[0].after[1]: expected a string, got 1"),
        (table(step(attempts=True)), "step[0].attempts: expected a whole number, got true"),
        (table(step(attempts=3.0)), "step[0].attempts: expected a whole number, got 3.0"),
        (table(step(timeout_ms="5")), "step[0].timeout_ms: expected a whole number, got '5'"),
        (table(step(latency_ms=[1, "x"])), "step[0].latency_ms[1]: expected a whole number, got 'x'"),
        (
            table(step(latency_ms=[1])),
            "step[0].latency_ms: expected a whole number or an array of 2 whole numbers, got an array of 1",
        ),
        (
            table(step(fails="sometimes")),
            'step[0].fails: expected "always", "may", "never" or a whole number, got \'sometimes\'',
        ),
        (table("a", resources={"x": 5}), "resources.x: expected a table, got 5"),
        (
            table("a", resources={"x": {"on_lock": "w"}}),
            'resources.x.on_lock: expected "refuse" or "wait", got \'w\'',
        ),
        (table("a", run=[{}]), "run[0].saga_id: expected a string, got nothing: it is required"),
        (table("a", guarantees={"inbox": 1}), "guarantees.inbox: expected true or false, got 1"),
        (table("a", guarantees={"inbx": True}), "guarantees.inbx: unknown key; did you mean 'inbox'?"),
        (table("a", wiring={"deaf": [["a"]]}), "wiring.deaf[0]: expected an array of 2 strings, got an array of 1"),
        (table("a", wiring={"relays": [["a", "b", 1]]}), "wiring.relays[0][2]: expected a string, got 1"),
        (
            table("a", faults={"kinds": ["dropp"]}),
            'faults.kinds[0]: expected "drop", "duplicate", "delay", "crash", "partition" or "poison", got \'dropp\''
            "; did you mean 'drop'?",
        ),
    ],
)
def test_a_wrong_form_is_told_by_key_expectation_and_value(wrong: Any, sentence: str) -> None:
    """At any depth: the place, the expected and the received value, and for a likely slip the suggestion."""
    assert complaint(wrong) == sentence


# --- what makes no sense ----------------------------------------------------------------------------------------------

STOCK = {"stock": {"initial": 1, "minimum": 0}}
NAME = {"name": {"initial": "new"}}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (table(), "step: expected at least one [[step]], got none"),
        (table(*map(str, range(STEPS_MAX + 1))), f"step: expected at most {STEPS_MAX} steps, got {STEPS_MAX + 1}"),
        (table("a", "b", "a"), "step[2].name: expected each name once, got 'a' as in step[0]"),
        (
            table("charge", step("b", after=["chrge"])),
            "step[1].after[0]: expected a step ('charge' or 'b'), got 'chrge'; ",
        ),
        (table("a", step("b", after=["a", "a"])), "step[1].after[1]: expected each name once, got 'a'"),
        (
            table(step("a", after=["b"]), "b"),
            "step: after: expected an order in which the steps can run, got a circle among a, b",
        ),
        (table(step(after=["a"])), "step: after: expected an order in which the steps can run, got a circle among a"),
        (table(step(attempts=0)), "step[0].attempts: expected at least 1, got 0"),
        (table(step(attempts=101)), "step[0].attempts: expected at most 100, got 101"),
        (table(step(timeout_ms=0)), "step[0].timeout_ms: expected at least 1, got 0"),
        (
            table(step(kind="pivot", timeout_ms=5)),
            "step[0].timeout_ms: expected none on a step that is pivot, got 5: a late success could not be undone",
        ),
        (table(step(latency_ms=-1)), "step[0].latency_ms: expected at least 0, got -1"),
        (table(step(latency_ms=[0, 10**30])), "step[0].latency_ms[1]: expected at most 1000000000000, got 10000000000"),
        (table(step(latency_ms=[5, 1])), "step[0].latency_ms: expected the least first, got [5, 1]"),
        (table(step(fails=-1)), "step[0].fails: expected at least 0, got -1"),
        (table(step(compensation_fails=-1)), "step[0].compensation_fails: expected at least 0, got -1"),
        (
            table(step(effect={"stok": 1}), resources=STOCK),
            "step[0].effect.stok: expected a resource ('stock'), got 'stok'; did you mean 'stock'?",
        ),
        (table(step(reads=["x"])), "step[0].reads[0]: expected a resource (but there is no [resources]), got 'x'"),
        (table(step(writes={"x": 1}), resources=STOCK), "step[0].writes.x: expected a resource ('stock'), got 'x'"),
        (table(step(locks=["x"]), resources=STOCK), "step[0].locks[0]: expected a resource ('stock'), got 'x'"),
        (
            table(step(effect={"name": 1}), resources=NAME),
            "step[0].effect.name: expected a resource whose initial value is a number, got 'new'",
        ),
        (
            table(step(effect={"stock": 1}), step("b", writes={"stock": "none"}), resources=STOCK),
            "step[1].writes.stock: expected a number, because it is in an effect too, got 'none'",
        ),
        (
            table("a", resources={"x": {"initial": 1, "minimum": 2}}),
            "resources.x.initial: expected at least the minimum, 2, got 1",
        ),
        (
            table("a", resources={"x": {"initial": "new", "minimum": 2}}),
            "resources.x.minimum: expected none, because the initial value is a string, got 2",
        ),
        (
            table("a", run=[{"saga_id": "x"}, {"saga_id": "x"}]),
            "run[1].saga_id: expected each name once, got 'x' as in run[0]",
        ),
        (table("a", run=[{"saga_id": str(i)} for i in range(RUNS_MAX + 1)]), "run: expected at most 100 runs, got 101"),
        (table("a", run=[{"saga_id": "x", "start_ms": -1}]), "run[0].start_ms: expected at least 0, got -1"),
        (table("a", run=[{"saga_id": "x", "ask_again_ms": 0}]), "run[0].ask_again_ms: expected at least 1, got 0"),
        (table("a", run=[{"saga_id": "x", "steps": ["b"]}]), "run[0].steps[0]: expected a step ('a'), got 'b'"),
        (
            table("a", run=[{"saga_id": "x", "steps": []}]),
            "run[0].steps: expected at least one step, got an empty array",
        ),
        (
            table("x", step("b", after=["x"]), run=[{"saga_id": "1", "steps": ["b", "x"]}]),
            "run[0].steps: after: expected an order in which the steps can run, got a circle among b, x",
        ),
        (table("a", wiring={"deaf": [["b", "t"]]}), "wiring.deaf[0][0]: expected a step ('a', 'coordinator', "),
        (table("a", wiring={"relays": [["client", "t", "t"]]}), "wiring.relays[0][0]: expected a step ('a'), got 'cli"),
        (table("a", faults={"hearers": ["clint"]}), "faults.hearers[0]: expected a participant ('a', 'coordinator', "),
        (table("a", faults={"budget": -1}), "faults.budget: expected at least 0, got -1"),
        (
            table(step("ship", kind="pivot"), "charge"),
            "step[1].kind: expected \"retriable\" after the pivot 'ship', got \"compensatable\" for 'charge'; with",
        ),
        (
            table(step(kind="pivot"), step("b", kind="retriable"), step("c", kind="pivot")),
            "step[2].kind: expected one pivot on each path, got 'c' after the pivot 'a'",
        ),
        (
            table(step(kind="retriable"), "b", step("c", kind="pivot")),
            "step[0].kind: expected \"compensatable\" before the pivot 'c', got \"retriable\" for 'a'",
        ),
    ],
)
def test_what_makes_no_sense_is_told(wrong: Any, sentence: str) -> None:
    """Well-formed, but impossible to run: the key, the expected and the received value."""
    assert complaint(wrong).startswith(sentence)


@pytest.mark.parametrize(
    "given",
    [
        table(step("ship", kind="pivot"), "charge", guarantees={"point_of_no_return": False}),
        table(step(kind="retriable"), "b"),
        table("a", step("b", kind="pivot"), step("c", after=["a"])),
        table("a", faults={"hearers": ["a", "coordinator", "orchestrator", "client", "front door"]}),
        table(step(after=["b"]), "b", run=[{"saga_id": "x", "steps": ["b"]}]),
        table("a", "b", "c", run=[{"saga_id": "x", "steps": ["c", "a"]}]),
        table("", "coordinator", "a/b"),
    ],
)
def test_what_is_unusual_is_not_refused(given: Any) -> None:
    """An unusual but possible definition is left to the lint."""
    check(definition_from(given))


# --- whatever comes ---------------------------------------------------------------------------------------------------

KEYS = (
    st.sampled_from(["saga", "step", "run", "resources", "name", "kind", "after", "effect", "wiring", "deaf"]) | NAMES
)
SCALARS = st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.none() | st.dates() | st.times()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


def read_or_refused(given: Any) -> None:
    try:
        definition_from(given)
    except WrongDefinition as error:
        (line,) = str(error).splitlines()
        assert line.isprintable()
        assert len(line) < 1_000


@given(VALUES)
@settings(max_examples=200)
def test_nothing_but_a_wrong_definition_is_raised(given: Any) -> None:
    """Any TOML value is a definition, or is refused in one line."""
    read_or_refused(given)


@given(st.data(), VALUES)
@settings(max_examples=200)
def test_one_wrong_value_in_a_good_definition_is_refused_in_a_line(data: st.DataObject, value: Any) -> None:
    """Any value in place of any other, at any depth."""
    given = copy.deepcopy(GOOD)
    place, key = data.draw(st.sampled_from(_places(given)))
    place[key] = value

    read_or_refused(given)


GOOD = table(
    step("a", effect={"stock": -1}, latency_ms=[1, 2]),
    step("b", after=["a"], reads=["stock"], writes={"name": "x"}, locks=["stock"], fails=1, timeout_ms=5),
    resources=STOCK | NAME,
    run=[{"saga_id": "x", "steps": ["a"]}, {"saga_id": "y", "ask_again_ms": 3}],
    guarantees={"inbox": False},
    wiring={"deaf": [["a", "step/b/failed"]], "relays": [["a", "x", "y"]]},
    faults={"kinds": ["drop"], "hearers": ["a"], "budget": 1, "crash_points": ["after"]},
)


def _places(given: Any) -> list[tuple[Any, Any]]:
    """Every value of a table, as the container and its key."""
    found, left = [], [given]
    for container in left:
        keys = list(container) if isinstance(container, dict) else range(len(container))
        found += [(container, key) for key in keys]
        left += [container[key] for key in keys if isinstance(container[key], dict | list)]
    return found


def test_numbers_beyond_all_digits_are_refused() -> None:
    """Python itself would not print them."""
    assert complaint(table(step(fails=10**5000))) == (
        "step[0].fails: expected at most 1000000000000, got a number of very many digits"
    )


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "saga: expected a table, got nothing: it is required"),
        (b"[saga]\nname =", "order.toml': expected TOML, got: Invalid value (at end of document)"),
        (b"[saga\n", "order.toml': expected TOML, got: Expected ']' at the end of a table declaration (at line 1, "),
        (b"x = \xff", "order.toml': expected text in UTF-8, but byte 4 is 0xff"),
        (b"#" * (BYTES_MAX + 1), f"order.toml': expected at most {BYTES_MAX} bytes, got more"),
        (b"x = " + b"[" * 50_000, "order.toml': line 1: expected at most 32 open brackets, got more"),
        (b"x = " + b"9" * 5_000, "order.toml': expected TOML, got: Exceeds the limit"),
    ],
)
def test_a_file_that_says_nothing_sensible_is_refused(
    content: bytes, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not TOML, not text, too much: one line, with the place where it is known."""
    monkeypatch.chdir(tmp_path)
    Path("order.toml").write_bytes(content)

    with pytest.raises(WrongDefinition) as caught:
        read_definition("order.toml")

    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("no.toml", "'no.toml': expected a TOML file, module:attribute, or lesson-N; there is no such file"),
        ("", "'': expected a TOML file, module:attribute, or lesson-N; there is no such file"),
        ("folder.toml", "'folder.toml': expected a file that can be read, got Is a directory"),
        ("file/x.toml", "'file/x.toml': expected a file that can be read, got Not a directory"),
        (
            "a\0.toml",
            "'a\\x00.toml': expected a TOML file, module:attribute, or lesson-N, got ValueError: embedded null",
        ),
        ("\ud800.toml", "'\\ud800.toml': expected a TOML file, module:attribute, or lesson-N, got UnicodeEncodeError"),
        ("x" * 5_000, "'xxxx"),
    ],
)
def test_a_path_that_leads_to_no_file_is_refused(
    path: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, a folder, behind a file, or no path at all."""
    monkeypatch.chdir(tmp_path)
    Path("folder.toml").mkdir()
    Path("file").write_text("")

    with pytest.raises(WrongDefinition) as caught:
        read_definition(path)

    assert str(caught.value).startswith(sentence)


# --- modules and lessons ----------------------------------------------------------------------------------------------

MODULE = """
from choreo.saga.definition import Saga, Kind, Step
good = Saga("good", steps=(Step("a", kind="pivot"),))
mistyped = Saga("x", steps=(Step("a", attempts="3"),))
senseless = Saga("x")
odd = Saga("x", steps=(Step("a", effect={"x": object()}),))
number = 7
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of definitions in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mysagas.py").write_text(MODULE)
    (tmp_path / "mybroken.py").write_text("raise ZeroDivisionError('one\\ntwo')")
    monkeypatch.delitem(sys.modules, "mysagas", raising=False)
    return "mysagas"


def test_modules_of_the_current_directory_count(module: str) -> None:
    """A value written as a string is converted as the schema says."""
    assert read_definition(f"{module}:good").steps[0].kind is Kind.PIVOT


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("mysagas:mistyped", "step[0].attempts: expected a whole number, got '3'"),
        ("mysagas:senseless", "step: expected at least one [[step]], got none"),
        ("mysagas:odd", "mysagas:odd: expected plain values, got TypeError: Encoding objects of type object is unsup"),
        ("mysagas:number", "mysagas:number: expected a Saga, got a value of type int"),
        ("mysagas:god", "mysagas:god: expected a definition in mysagas, got no 'god'; did you mean 'good'?"),
        ("mybroken:x", "mybroken:x: expected a module that can be imported, got 'mybroken' (ZeroDivisionError: one)"),
        ("no.such:x", "no.such:x: expected a module that can be imported, got 'no.such' (ModuleNotFoundError: No mod"),
    ],
)
def test_a_module_that_has_no_good_definition_is_refused(module: str, source: str, sentence: str) -> None:
    """Any failure of a user's module is reported in one line."""
    with pytest.raises(WrongDefinition) as caught:
        read_definition(source)

    assert str(caught.value).startswith(sentence)


def test_a_lesson_is_opened_by_its_name() -> None:
    """A lesson's definition comes from the lessons module, and is checked like any other."""
    asked = []

    def open_lesson(name: str) -> Saga:
        asked.append(name)
        return trip

    assert read_definition("lesson-5-mended", open_lesson) == trip
    assert asked == ["lesson-5-mended"]


def test_a_lesson_that_does_not_exist_is_refused() -> None:
    """There are not so many."""
    with pytest.raises(WrongDefinition, match=r"^lesson-999: expected "):
        read_definition("lesson-999")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("order.toml", True),
        ("a:b.toml", True),
        ("services.sagas:order", True),
        ("lesson-5", True),
        ("lesson-12-mended", True),
        ("lesson-x", False),
        ("book_flight", False),
        ("a:", False),
        ("a: b", False),
        ('["a:b"]', False),
        ("a+b", False),
    ],
)
def test_a_definition_is_known_by_its_form(word: str, expected: bool) -> None:
    """Any other word is the name of a step."""
    assert is_definition(word) is expected


# --- on the command line ----------------------------------------------------------------------------------------------


def test_a_definition_is_run_as_an_itinerary() -> None:
    """The same picture as of its steps, and every step with the service that the definition names."""
    by_definition = choreo("run", "services.sagas:trip", "--fail", "book_car")
    by_steps = choreo("run", "book_flight", "book_hotel", "book_car", "--fail", "book_car")

    assert by_definition.exit_code == 0
    assert by_definition.stdout == by_steps.stdout


def defined(tmp_path: Path, text: str) -> str:
    file = tmp_path / "saga.toml"
    file.write_text(f'[saga]\nname = "saga"\n{text}')
    return str(file)


def steps_in_toml(*lines: str) -> str:
    return "".join(f"[[step]]\n{line}\n" for line in lines)


LEVELLED = steps_in_toml(
    'name = "a"', 'name = "b"', 'name = "c"\nafter = ["a"]', 'name = "d"\nafter = ["b", "c"]\nfails = "always"'
)


def test_what_the_definition_says_of_failures_happens(tmp_path: Path) -> None:
    """`fails = "always"` is --fail, and levels of the graph are groups."""
    by_definition = choreo("run", defined(tmp_path, LEVELLED))

    assert by_definition.stdout == choreo("run", "a", "b+c", "d", "--fail", "d").stdout


def test_a_compensation_that_always_fails_leaves_the_saga_stuck(tmp_path: Path) -> None:
    """`compensation_fails = "always"` is --fail-compensation."""
    text = steps_in_toml('name = "a"\ncompensation_fails = "always"', 'name = "b"\nfails = 1')

    result = choreo("run", defined(tmp_path, text))

    assert result.exit_code == 1
    assert result.stdout.count("a             retry") == 2, "tried three times in all"
    assert "stuck: b failed (b was told to refuse) and a could not be compensated" in prose(result.stdout)


def test_a_retriable_step_gets_over_a_few_failures(tmp_path: Path) -> None:
    """It is tried as often as the definition says, so the saga does not turn back."""
    text = steps_in_toml('name = "a"\nkind = "pivot"', 'name = "b"\nkind = "retriable"\nfails = 2\nattempts = 3')

    assert "completed: all 2 steps are in force" in choreo("run", defined(tmp_path, text)).stdout


def test_a_graph_is_run_as_it_is(tmp_path: Path) -> None:
    """Each step follows its own predecessors only."""
    text = steps_in_toml('name = "a"', 'name = "b"\nafter = []', 'name = "c"\nafter = ["a"]')

    result = choreo("run", defined(tmp_path, text))

    assert result.exit_code == 0
    assert "b             succeeded            ← 1 saga started" in result.stdout
    assert "c             succeeded            ← 2 a succeeded" in result.stdout


def test_after_the_pivot_there_is_no_way_back(tmp_path: Path) -> None:
    """A retriable step that never succeeds leaves the saga stuck: the pivot is not compensated."""
    text = steps_in_toml('name = "a"\nkind = "pivot"', 'name = "b"\nkind = "retriable"\nfails = "always"')

    result = choreo("run", defined(tmp_path, text))

    assert result.exit_code == 1
    assert result.stdout.count("b             attempt") == 2, "tried three times in all"
    assert "a is pivot and cannot be undone" in prose(result.stdout)


def test_a_definition_is_compared_in_both_styles(tmp_path: Path) -> None:
    """`compare` accepts the same definitions as `run`."""
    by_definition = choreo("compare", defined(tmp_path, LEVELLED), "--json")

    assert by_definition.exit_code == 0
    assert '"steps": ["a", ["b", "c"], "d"], "fail": "d"' in by_definition.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            steps_in_toml('name = "a"', 'name = "b"\ntimeout_ms = 50'),
            "step[1].timeout_ms: expected none, because this runner has no clock, got 50 for 'b'; choreo simulate "
            "obeys it",
        ),
        (
            steps_in_toml('name = "a"\nlatency_ms = [1, 5]'),
            "step[0].latency_ms: expected none, because this runner has no clock, got (1, 5) for 'a'",
        ),
        (
            steps_in_toml('name = "a"') + "\n[guarantees]\ninbox = false\n",
            "guarantees.inbox: expected true, got false: only the laboratory plants a bug",
        ),
        (
            steps_in_toml('name = "a"') + '\n[wiring]\ndeaf = [["a", "saga/started"]]\n',
            "wiring.deaf: expected none, got 1: only the laboratory plants a bug",
        ),
        (
            steps_in_toml('name = "a"\nfails = "always"', 'name = "b"\nafter = []\nfails = "always"'),
            "expected one step in parallel that always fails, got a and b; choreo simulate takes several",
        ),
        ("", 'step: expected at least one [[step]], got none; a step of that name is written ["'),
    ],
)
def test_what_the_in_process_runner_cannot_do_is_wrong_use(text: str, sentence: str, tmp_path: Path) -> None:
    """It never runs a definition differently from its text."""
    result = choreo("run", defined(tmp_path, text), width=300)

    assert result.exit_code == 2
    assert sentence in prose(result.stderr)
