"""The picture of a history: given this saga and these faults, expect these lines, and these of Mermaid."""

import re
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from choreo.analysis.record_sequence import record_sequence
from choreo.lab.explore.explorer import Explorer
from choreo.lab.simulate.campaign import Lab
from choreo.render.diagram import history_diagram
from choreo.render.mermaid import history_mermaid
from choreo.render.names import shown
from choreo.render.screen import ASCII, Screen
from choreo.saga.definition import CrashPoint, FaultKind, Faults, Resource, RunOf, Saga, Step
from choreo.saga.guarantees import ALL_ON, Guarantees
from choreo.trace.record import Record
from services import catalogue
from tests.lab_sagas import EVERY_KIND, saga
from tests.terminal import lines

PLACE = Step("place_order")
CHARGE = Step("charge", effect={"credit": -60})
CREDIT = {"credit": Resource(200, 0)}
STYLES = ("choreography", "orchestration")


def counterexample(definition: Saga, style: str = "choreography") -> tuple[Record, ...]:
    """Return the records of the shortest history with a violation."""
    found = Explorer(definition, style, catalogue()).explore().counterexample
    assert found is not None
    return found.records


def simulated(definition: Saga, seed: int, rate: float = 0.0, style: str = "choreography") -> tuple[Record, ...]:
    """The records of one history, with every kind of fault of the definition at this rate."""
    rates = dict.fromkeys(definition.faults.kinds, rate)
    return tuple(Lab(definition, style, catalogue(), rates).play(seed).records)


def drawn(records: Sequence[Record], width: int = 80, show_all: bool = False, is_ascii: bool = False) -> list[str]:
    screen = Screen()
    screen.glyphs = ASCII if is_ascii else screen.glyphs
    return [line.plain for line in history_diagram(records, screen, width, show_all)]


def body(records: Sequence[Record], width: int = 160) -> str:
    """The picture without its header and its legend."""
    picture = drawn(records, width)
    return "\n".join(picture[2 : picture.index("")])


@cache
def charged_twice() -> tuple[Record, ...]:
    definition = saga(PLACE, CHARGE, resources=CREDIT, kinds=(FaultKind.DUPLICATE,), guarantees=Guarantees(inbox=False))
    return counterexample(replace(definition, faults=Faults((FaultKind.DUPLICATE,), 1, ("charge",))))


@cache
def never_published() -> tuple[Record, ...]:
    definition = saga(PLACE, CHARGE, resources=CREDIT, guarantees=Guarantees(outbox=False))
    faults = Faults((FaultKind.CRASH,), 1, ("charge",), (CrashPoint.UNPUBLISHED,))
    return counterexample(replace(definition, faults=faults))


@cache
def read_dirty(style: str = "choreography") -> tuple[Record, ...]:
    definition = saga(
        Step("free", effect={"credit": 60}, locks=("credit",)),
        Step("ask", fails="always"),
        Step("spend", effect={"credit": -100}),
        resources={"credit": Resource(40, 0)},
        runs=(RunOf("one", steps=("free", "ask")), RunOf("two", steps=("spend",))),
        kinds=(),
        guarantees=Guarantees(semantic_lock=False),
    )
    return counterexample(definition, style)


def test_a_local_transaction_that_happens_twice() -> None:
    """The second delivery is marked; the effects of both on the resource and the unheard events are at the right."""
    assert drawn(charged_twice(), 100) == lines("""
         client     place_order      charge
            │            │              │
      2     ●─ started ─►┃              │
      6     │            ●─ succeeded ─►┃  credit 140, ● succeeded
     10     │            ●─ succeeded ─►┃  twice, executed again, credit 80, ● succeeded
            │            ┃              ┃

      ● published   ► heard   ┃ in force
    """)


def test_a_crash_between_commit_and_publish() -> None:
    """A cross marks the lifeline; the committed transaction stays in force, and the redelivery has no effect."""
    assert drawn(never_published()) == lines("""
        client     place_order      charge
           │            │              │
     2     ●─ started ─►┃              │
     5     │            ●─ succeeded ─►┃  credit 140
     8     │            ┃              ✗  crashes between commit and publish
     9     │            ●─ succeeded ─▷┃  again
           │            ┃              ┃

      ● published   ► heard   ▷ nothing came of it   ┃ in force
    """)


def test_two_runs_are_told_apart_by_their_names() -> None:
    """The lifelines of a line show the steps in force in its run; at the end each run has a line."""
    assert drawn(read_dirty()) == lines("""
              client        free    spend   ask
                 │            │       │      │
      3  one     ●─ started ─►┃       │      │  credit 100
      7  one     │            ●─ succeeded ─►│  ask was told to refuse
     10  two     ●─ started ──┼──────►┃      │  credit 0, ● succeeded
     14  one     │            │◄── failed ───●  credit -60, ● compensated
         one     │            │       │      │
         two     │            │       ┃      │

      ● published   ► heard   ┃ in force
    """)


def test_the_orchestrator_stands_beside_the_client() -> None:
    """Commands and replies pass through it."""
    header, *rest = drawn(read_dirty("orchestration"))

    assert header.split() == ["client", "orchestrator", "free", "spend", "ask"]
    assert any("●─ execute ─" in line for line in rest)


def test_a_lost_event_ends_in_a_cross_before_the_lifeline() -> None:
    """Without redelivery, no line follows the lost event."""
    definition = saga(CHARGE, PLACE, resources=CREDIT, guarantees=Guarantees(redelivery=False))
    faults = Faults((FaultKind.DROP,), 1, ("place_order",))

    assert drawn(counterexample(replace(definition, faults=faults))) == lines("""
        client       charge       place_order
           │            │              │
     2     ●─ started ─►┃              │  credit 140
     6     │            ●─ succeeded ─✗│  lost
           │            ┃              │

      ● published   ► heard   ┃ in force
    """)


def test_an_event_that_cannot_be_read_is_one_line() -> None:
    """One line for any number of deliveries; without dead letters it has no other effect."""
    definition = saga(PLACE, CHARGE, resources=CREDIT, kinds=(FaultKind.POISON,), guarantees=ALL_ON)
    definition = replace(definition, guarantees=Guarantees(dead_letter=False))

    records = counterexample(replace(definition, faults=Faults((FaultKind.POISON,), 1, ("charge",))))

    assert "●─ succeeded ─►✗  cannot be read" in body(records)
    assert sum("cannot be read" in line for line in drawn(records)) == 1


def test_a_dead_letter_makes_the_saga_stuck() -> None:
    """It is put aside, and the outcome travels back to the client."""
    definition = saga(PLACE, CHARGE, kinds=(FaultKind.POISON,), guarantees=ALL_ON)
    definition = replace(definition, faults=Faults((FaultKind.POISON,), 1, ("charge",)))

    assert drawn(simulated(replace(definition, resources=CREDIT), 1, 1.0), 100) == lines("""
         client     place_order      charge  coordinator    dead letters
            │            │              │         │               │
      2     ●─ started ─►┃              │         │               │
      5     │            ●─ succeeded ─►✗         │               │  cannot be read (3 times)
      8     │            ┃              ✗         │               │  put aside as a dead letter
     10     │            ┃              │         │◄─ unreadable ─●
     12     │◄───────────╂──────────────┼─ stuck ─●               │
            │            ┃              │         │               │

      ● published   ► heard   ┃ in force
    """)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.DROP, ("✗┃  lost", "again")),
        (FaultKind.DUPLICATE, ("▷┃  twice",)),
        (FaultKind.DELAY, ("►┃  late",)),
        (FaultKind.PARTITION, ("lost: cut off", "again")),
        (FaultKind.POISON, ("►✗", "cannot be read (3 times)", "put aside as a dead letter")),
        (FaultKind.CRASH, ("✗  crashes ", "▲  is up again", "again")),
    ],
)
def test_every_kind_of_fault_is_told_in_words(kind: FaultKind, expected: tuple[str, ...]) -> None:
    """Some history with this kind of fault alone has them; those of a delay and a doubling are at the arrival."""
    definition = saga(PLACE, CHARGE, kinds=(kind,), resources=CREDIT, guarantees=ALL_ON)

    pictures = [body(simulated(definition, seed, 0.3)) for seed in range(1, 40)]

    for words in expected:
        assert any(words.replace("┃", bar) in picture for picture in pictures for bar in "┃│"), words


def test_a_crash_before_anything_strikes_the_delivery_itself() -> None:
    """There is one line for both, with the simulator and with the explorer."""
    definition = saga(
        PLACE, CHARGE, kinds=(FaultKind.CRASH,), resources=CREDIT, guarantees=Guarantees(redelivery=False)
    )
    faults = Faults((FaultKind.CRASH,), 1, ("charge",), (CrashPoint.BEFORE,))

    records = counterexample(replace(definition, faults=faults))

    assert "●─ succeeded ─►✗  crashes before it did anything" in body(records)
    assert sum("succeeded" in line for line in drawn(records)) == 1


def test_a_timer_comes_from_nowhere() -> None:
    """A timer is an arrowhead beside the lifeline of who waited."""
    definition = saga(PLACE, Step("charge", timeout_ms=5, latency_ms=(9, 9)), kinds=())

    assert "│◁ time is up" in body(simulated(definition, 1))


def test_what_failed_says_why_and_what_was_not_undone_stays_in_force() -> None:
    """A compensation that fails leaves its lifeline heavy."""
    definition = saga(
        Step("a", compensation_fails="always", attempts=1), Step("b", fails="always"), kinds=(), guarantees=ALL_ON
    )

    picture = drawn(simulated(definition, 1), 120)

    assert any("b was told to refuse" in line for line in picture)
    assert any("not undone: the compensation of a was told to fail" in line for line in picture)
    assert picture[picture.index("") - 1].count("┃") == 1


def test_a_request_that_starts_a_second_run() -> None:
    """Two runs of one saga go by their own ids; the front door stands at the right."""
    definition = saga(
        PLACE, runs=(RunOf("one", ask_again_ms=20),), kinds=(), guarantees=Guarantees(idempotent_request=False)
    )

    picture = drawn(counterexample(definition))

    assert picture[0].endswith("front door")
    assert any("run-1-again" in line and "started" in line for line in picture)
    assert any("requested" in line and "run-1 " in line for line in picture)


def test_what_repeats_itself_is_drawn_twice_and_counted() -> None:
    """A storm of updates stays a small picture."""
    update: dict[str, Any] = {"step": "b", "position": 1}
    records = [Record(1, 1, "saga.started", "publish", "s", "r", "client", id="r/s")]
    for number in range(2, 400, 2):
        heard = "ab"[number // 2 % 2]
        records += [
            Record(number, 0, "step.updated", "deliver", "s", "r", heard, id=f"{number}", **update),
            Record(number + 1, 0, "step.updated", "publish", "s", "r", heard, id=f"{number + 2}", **update),
        ]

    picture = drawn(records)

    assert len(picture) < 15
    assert any("more …" in line for line in picture)


def test_with_show_all_nothing_is_left_out() -> None:
    """A delivery without effect has a hollow head."""
    definition = saga(Step("a", after=()), Step("b", after=()), Step("c", after=("a", "b")), kinds=())
    records = simulated(definition, 1)

    some, everything = drawn(records, 120), drawn(records, 120, show_all=True)

    delivered = sum(record.action in ("deliver", "reply") for record in records)
    arrows = sum(1 for line in everything[2 : everything.index("")] if re.search("[►◄▷◁]", line))
    assert arrows == delivered
    assert len(some) < len(everything)
    assert not set("▷◁") & set("".join(some))


def test_in_ascii_the_drawing_is_the_same_in_other_signs() -> None:
    """One for one, as far as they are one column wide."""
    signs = str.maketrans("│┃─┼╂●◄►▷◁✗", "|#-+#o<>)(x")

    for records in (charged_twice(), never_published(), read_dirty()):
        printed = drawn(records, 100, is_ascii=True)

        assert [line.translate(signs) for line in drawn(records, 100)] == printed
        assert "".join(printed).isascii()


def test_where_there_is_little_room_names_are_stairs() -> None:
    """The events and their effects are in the text at the right."""
    assert drawn(never_published(), 45) == lines("""
        client
        │   place_order
        │   │   charge
     2  ●──►┃   │  saga started
     5  │   ●──►┃  place_order succeeded
        │   ┃   ┃  credit 140
     8  │   ┃   ✗  crashes between commit and
        │   ┃   ┃  publish
     9  │   ●──▷┃  place_order succeeded, again
        │   ┃   ┃

      ● published   ► heard
      ▷ nothing came of it   ┃ in force
    """)


def test_where_there_is_no_room_each_message_is_a_line() -> None:
    """A line has the participant, the text, and the cause."""
    assert drawn(read_dirty(), 40) == lines("""
      3  one  free    executed, credit 100
                      ← saga started
      7  one  ask     ask was told to refuse
                      ← free succeeded
     10  two  spend   executed, credit 0
                      publishes succeeded
                      ← saga started
     14  one  free    compensated
                      credit -60
                      publishes compensated
                      ← ask failed
    """)


def test_a_history_without_records_has_no_picture() -> None:
    """Neither here nor there."""
    assert drawn(()) == []
    assert history_mermaid(()) == "sequenceDiagram"


HOSTILE = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            "end",
            "client",
            "coordinator",
            "orchestrator",
            "a;b#c",
            "\x1b[31mred",
            "a\nb",
            "東京" * 9,
            "e\u0301" * 30,
        ]
    ),
    st.text(alphabet="abc_", min_size=20, max_size=60),
)
WIDTHS = st.sampled_from([40, 47, 60, 73, 80, 100, 160])


@st.composite
def histories(draw: st.DrawFn) -> tuple[Record, ...]:
    """Generate histories of sagas with any names, several runs and every kind of fault."""
    names = draw(st.lists(HOSTILE, min_size=1, max_size=6, unique=True))
    resource = draw(HOSTILE)
    steps = [Step(name, effect={resource: -1}, locks=(resource,), fails="may") for name in names]
    runs = draw(st.lists(HOSTILE, max_size=3).map(lambda ids: tuple(map(RunOf, ids))))
    definition = Saga(
        "saga",
        steps=tuple(steps),
        resources={resource: Resource(9)},
        runs=runs,
        guarantees=Guarantees(),
        faults=Faults(EVERY_KIND),
    )
    return simulated(definition, draw(st.integers(1, 99)), 0.1, draw(st.sampled_from(STYLES)))


@settings(deadline=None, max_examples=120)
@given(histories(), WIDTHS, st.booleans(), st.booleans())
def test_every_line_fits_the_width(records: tuple[Record, ...], width: int, show_all: bool, is_ascii: bool) -> None:
    """Every name and every layout fits, and only text is printed."""
    for line in drawn(records, width, show_all, is_ascii):
        assert cell_len(line) <= width
        assert all(character.isprintable() for character in line)
        assert line == line.rstrip()


@settings(deadline=None, max_examples=60)
@given(histories())
def test_no_fault_is_left_out(records: tuple[Record, ...]) -> None:
    """Each message has its notes, and those that stand for several records are counted."""
    told = list(chain.from_iterable(message.notes for message in record_sequence(records, shown).messages))
    texts = [word.text for word in told]

    lost = [record for record in records if record.action in ("drop", "partition")]
    crashes = [record for record in records if record.action == "crash"]
    letters = [record for record in records if record.action == "dead_letter"]
    assert sum(text.startswith("lost") for text in texts) == len(lost)
    assert sum(text.startswith("crashes ") for text in texts) == len(crashes)
    assert texts.count("put aside as a dead letter") == len(letters)
    assert ("late" in texts) >= any(record.action == "delay" for record in records)


TEXT = r"(?P<text>(?:[^#;\n]|#\d+;)+)"
STATEMENTS = (
    re.compile(rf"(?P<kind>actor|participant) p\d+ as {TEXT}"),
    re.compile(rf"p\d+(?P<kind>-\)|--\)|--x)p\d+: {TEXT}"),
    re.compile(rf"(?P<kind>Note) over p\d+: {TEXT}"),
)
BLOCK = ["    rect rgb(255,235,235)", "    end"]


def parse(diagram: str) -> list[tuple[str, str]]:
    """The statements as kind and text as it is shown; raises where the text is no sequence diagram."""
    first, *rest = diagram.split("\n")
    assert first == "sequenceDiagram"
    statements = []
    blocks = [line for line in rest if line in BLOCK]
    assert blocks in ([], BLOCK)
    for line in filter(lambda line: line not in BLOCK, rest):
        match = next(filter(None, (each.fullmatch(line.removeprefix("    ")) for each in STATEMENTS)), None)
        assert match is not None, f"no statement of a sequence diagram: {line!r}"
        text = match["text"]
        assert not re.search(r"(?i)(?<!\S)end(?!\S)", text), f"a bare end: {line!r}"
        assert text == text.strip(), f"blanks that get lost: {line!r}"
        statements.append((match["kind"], re.sub(r"#(\d+);", lambda entity: chr(int(entity[1])), text)))
    return statements


def test_mermaid_says_the_same() -> None:
    """Arrows have the numbers of the records; effects and faults are in notes."""
    assert history_mermaid(never_published()).splitlines() == lines("""
    sequenceDiagram
        actor p0 as client
        participant p1 as place_order
        participant p2 as charge
        p0-)p1: 2 started
        Note over p1: executed
        p1-)p2: 5 succeeded
        Note over p2: executed, credit 140
        Note over p2: crashes between commit and publish
        p1--)p2: 9 succeeded
        Note over p2: again
    """)


def test_in_mermaid_what_is_lost_has_a_crossed_arrow_and_runs_have_their_names() -> None:
    """As in the terminal."""
    definition = saga(CHARGE, PLACE, resources=CREDIT, guarantees=Guarantees(redelivery=False))
    lost = counterexample(replace(definition, faults=Faults((FaultKind.DROP,), 1, ("place_order",))))

    assert "p1--xp2: 6 succeeded (lost)" in history_mermaid(lost)
    assert "p0-)p2: two 10 started" in history_mermaid(read_dirty())


def test_in_mermaid_backward_recovery_of_one_run_is_on_red() -> None:
    """From the first step that failed to the end, as for a run; several runs go their ways at the same time."""
    one = history_mermaid(simulated(saga(PLACE, Step("ship", fails="always")), 1)).splitlines()
    two = history_mermaid(read_dirty()).splitlines()

    begin = one.index(BLOCK[0])
    assert one[begin + 1].endswith("failed")
    assert not any("failed" in line for line in one[:begin])
    assert one[-1] == BLOCK[1]
    assert any(line.endswith("failed") for line in two)
    assert not set(BLOCK) & set(two)


@settings(deadline=None, max_examples=100)
@given(histories(), st.booleans())
def test_every_mermaid_diagram_is_valid(records: tuple[Record, ...], show_all: bool) -> None:
    """Every name gives a valid diagram, and every participant is named in it."""
    statements = parse(history_mermaid(records, show_all))

    names = [shown(each.name) for each in record_sequence(records, shown, show_all).participants]
    assert [text for kind, text in statements if kind in ("actor", "participant")] == names
