"""The sequence diagram: how it looks in each form, and that it shows what happened."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from choreo.analysis.recording import Recording
from choreo.recorder import record
from choreo.render.diagram import diagram
from choreo.render.screen import ASCII, Screen
from choreo.saga.plan import Itinerary
from tests.stories import Mishap, sagas
from tests.terminal import choreo, lines, recorded, saga_of

GROUPED = ("place_order", ("charge", "reserve"), "ship")
STYLES = st.sampled_from(["choreography", "orchestration"])
both_styles = pytest.mark.parametrize("style", ["choreography", "orchestration"])


def drawn(recording: Recording, width: int = 80, show_all: bool = False) -> list[str]:
    return [line.plain for line in diagram(recording, Screen(), width, show_all)]


def test_a_wide_orchestration() -> None:
    """The orchestrator stands beside the client; commands and replies pass through it."""
    trip = recorded("orchestration", "book_flight", "book_hotel", "book_car", fail_step="book_car")

    assert drawn(trip) == lines("""
         client        orchestrator      book_flight  book_hotel  book_car
            │                │                │            │          │
      1     ●─── started ───►│                │            │          │
      2     │                ●─── execute ───►│            │          │
      3     │                │◄── succeeded ──●            │          │
      4     │                ●─── execute ────╂───────────►│          │
      5     │                │◄───────────────╂─ succeeded ●          │
      6     │                ●─── execute ────╂────────────╂─────────►│
      7     │                │◄───────────────╂────────────╂─ failed ─●
      8     │                ●─ compensate ───╂───────────►┃          │
      9     │                │◄─────── compensated ────────●          │
     10     │                ●─ compensate ──►┃            │          │
     11     │                │◄─ compensated ─●            │          │
     12     │◄─ compensated ─●                │            │          │
            │                │                │            │          │

      ● published   ► heard   ┃ in force
    """)


def test_a_wide_choreography_that_is_stuck() -> None:
    """A message with several subscribers has several heads; the lifeline of a step in force stays heavy to the end."""
    order = recorded("choreography", *GROUPED, fail_step="ship", fail_compensation="charge")

    assert drawn(order, 160) == lines("""
        client     place_order      charge  reserve         ship  coordinator
           │            │              │       │              │        │
     1     ●─ started ─►│              │       │              │        │
     2     │            ●─ succeeded ─►┼──────►│              │        │
     3     │            ┃              ●───── succeeded ─────►│        │
     4     │            ┃              ┃       ●─ succeeded ─►│        │
     5     │            ┃              ┃◄──────╂◄── failed ───●───────►│
     6     │            ┃◄──── compensated ────●──────────────┼───────►│
     7     │            ┃              ●──── compensation_failed ─────►│
     8     │◄───────────╂──────────────╂───────┼──────────────┼─ stuck ●
           │            ┃              ┃       │              │        │

      ● published   ► heard   ┃ in force
    """)


def test_with_all_those_are_drawn_who_did_nothing() -> None:
    """Their heads are hollow; without `--all` they are left out."""
    group = recorded("choreography", ("charge", "reserve"), "ship", fail_step="charge")

    with_all, without = drawn(group, show_all=True), drawn(group)

    assert with_all == lines("""
        client       charge  reserve           ship  coordinator
           │            │       │                │        │
     1     ●─ started ─►┼──────►│                │        │
     2     │            ●─────── failed ────────►┼───────►│
     3     │            │       ●── succeeded ──►│        │
     4     │            │◁──────╂◄── cancelled ──●───────►│
     5     │            │       ●─ compensated ─▷┼───────►│
     6     │◄───────────┼──── compensated ───────┼────────●
           │            │       │                │        │

      ● published   ► heard   ▷ nothing came of it   ┃ in force
    """)
    assert not set("▷◁") & set("".join(without))


def test_many_lifelines_stand_closer() -> None:
    """Their names are stairs, and the events are in the text at the right."""
    saga = recorded("choreography", "s1", "s2", ("s3", "s4"), "s5", "s6", "s7", fail_step="s5")

    assert drawn(saga) == lines("""
         client
         │   s1
         │   │   s2
         │   │   │   s3
         │   │   │   │   s4
         │   │   │   │   │   s5
         │   │   │   │   │   │   s6
         │   │   │   │   │   │   │   s7
         │   │   │   │   │   │   │   │   coordinator
      1  ●──►│   │   │   │   │   │   │   │  saga started
      2  │   ●──►│   │   │   │   │   │   │  s1 succeeded
      3  │   ┃   ●──►┼──►│   │   │   │   │  s2 succeeded
      4  │   ┃   ┃   ●───┼──►│   │   │   │  s3 succeeded
      5  │   ┃   ┃   ┃   ●──►│   │   │   │  s4 succeeded
      6  │   ┃   ┃   ┃◄──╂◄──●───┼───┼──►│  s5 failed
      7  │   ┃   ┃◄──╂───●───┼───┼───┼──►│  s4 compensated
      8  │   ┃   ┃◄──●───┼───┼───┼───┼──►│  s3 compensated
      9  │   ┃◄──●───┼───┼───┼───┼───┼──►│  s2 compensated
     10  │   ●───┼───┼───┼───┼───┼───┼──►│  s1 compensated
     11  │◄──┼───┼───┼───┼───┼───┼───┼───●  saga compensated
         │   │   │   │   │   │   │   │   │

      ● published   ► heard   ┃ in force
    """)


def test_very_many_steps_stand_below_each_other() -> None:
    """Read down and up again; a bracket joins a group, a bar marks a step in force."""
    steps = [f"s{number}" for number in range(1, 18)]
    saga = recorded("choreography", *steps, ("a", "b", "c"), "z", "y", fail_step="z", fail_compensation="s17")

    printed = drawn(saga)

    assert printed[:2] + printed[16:] == lines("""
                      forward, down   backward, up
         client        1 started
     ┃   s15          16 succeeded ▼
     ┃   s16          17 succeeded ▼
     ┃   s17          18 succeeded ▼  26 compensation_failed ✗
       ┌ a            19 succeeded ▼  25 compensated ▲
       │ b            20 succeeded ▼  24 compensated ▲
       └ c            21 succeeded ▼  23 compensated ▲
         z            22 failed ✗
         y               not begun
         coordinator                  27 stuck

      ┃ in force
    """)


def test_in_orchestration_the_steps_have_their_commands_beside_them() -> None:
    """Each number is that of the event list."""
    saga = recorded("orchestration", *[f"step{number}" for number in range(1, 25)], fail_step="step24")

    printed = drawn(saga)

    assert printed[2] == "     step1          2 execute  3 succeeded ▼  94 compensate 95 compensated ▲"
    assert printed[25] == "     step24        48 execute 49 failed ✗"


def test_names_that_are_cut_are_listed_below() -> None:
    """As far as they must be cut, and so that they can still be told apart."""
    printed = drawn(recorded("choreography", "a_long_name_that_ends_in_one", "a_long_name_that_ends_in_two", "c"), 70)

    assert printed[0].split() == ["client", "a_long_nam…n_one", "a_long_nam…n_two", "c", "coordinator"]
    assert printed[-2:] == [
        "  a_long_nam…n_one = a_long_name_that_ends_in_one",
        "  a_long_nam…n_two = a_long_name_that_ends_in_two",
    ]


def test_lifelines_stand_straight_whatever_the_names() -> None:
    """Wide and combining characters are counted by the columns that they take."""
    printed = drawn(recorded("choreography", "東京", "e\u0301\u0302te\u0301", "한국어", fail_step="한국어"))

    header, *rest = printed[: printed.index("")]
    columns = [{cell_len(line[:i]) for i, c in enumerate(line) if c in "│┃┼╂●"} for line in rest]
    assert all(places <= columns[0] for places in columns), "some are hidden by labels, none is elsewhere"
    assert len(columns[0]) == 5
    assert cell_len(header) <= 80


def test_in_ascii_the_drawing_is_the_same_in_other_signs() -> None:
    """One for one, as far as they are one column wide."""
    boxes = drawn(recorded("choreography", *GROUPED, fail_step="ship"), 100)
    screen = Screen()
    screen.glyphs = ASCII

    printed = [line.plain for line in diagram(recorded("choreography", *GROUPED, fail_step="ship"), screen, 100)]

    signs = str.maketrans("│┃─┼╂●◄►", "|#-+#o<>")
    assert [line.translate(signs) for line in boxes] == printed
    assert "".join(printed).isascii()


@both_styles
def test_ten_steps_and_sixty_steps_fit_eighty_columns(style: str) -> None:
    """And every step is there by its name."""
    for count in (10, 60):
        steps = [f"step_{number}" for number in range(count)]

        result = choreo("run", *steps, "--fail", steps[-1], "--style", style)

        picture = result.stdout.partition("\n\n")[2]
        assert result.exit_code == 0
        assert max(map(len, result.stdout.splitlines())) <= 80
        assert all(f"{step} " in picture or f"{step}\n" in picture for step in steps)


WIDTHS = st.sampled_from([40, 55, 73, 80, 100, 160, 250])


def recording_of(style: str, saga: tuple[Itinerary, Mishap]) -> Recording:
    itinerary, mishap = saga
    return recorded(
        style,
        *itinerary,
        fail_step=mishap.fail_step,
        fail_compensation=mishap.fail_compensation,
        refusing=mishap.refusing,
        stubborn=mishap.stubborn,
    )


@settings(deadline=None, max_examples=150)
@given(STYLES, sagas(), WIDTHS, st.booleans())
def test_every_line_fits_the_width(style: str, saga: tuple[Itinerary, Mishap], width: int, show_all: bool) -> None:
    """Every name and every layout fits, and only text is printed."""
    for line in drawn(recording_of(style, saga), width, show_all):
        assert cell_len(line) <= width
        assert all(character.isprintable() for character in line)
        assert line == line.rstrip()


@settings(deadline=None, max_examples=100)
@given(STYLES, sagas(), st.booleans())
def test_every_reaction_is_an_arrowhead(style: str, saga: tuple[Itinerary, Mishap], show_all: bool) -> None:
    """One head for each delivery with an effect; hollow ones for the others, on request."""
    recording = recording_of(style, saga)

    body = "".join(body_of(recording, show_all))

    reacted = sum(delivery.reacted for delivery in recording.deliveries)
    ignored = len(recording.deliveries) - reacted
    assert body.count("►") + body.count("◄") == reacted
    assert body.count("▷") + body.count("◁") == (ignored if show_all else 0)
    assert body.count("●") == len(recording.events)


@settings(deadline=None, max_examples=100)
@given(STYLES, sagas())
def test_what_is_heavy_at_the_end_is_in_force(style: str, saga: tuple[Itinerary, Mishap]) -> None:
    """One heavy lifeline for each local transaction that stands, by the services' own account."""
    itinerary, mishap = saga
    ledger = mishap.ledger()
    asked = saga_of(itinerary, mishap.fail_step, mishap.fail_compensation)
    recording = record(asked, style, ledger.service_of)

    running_out = body_of(recording)[-1]

    assert running_out.count("┃") == len(ledger.standing) == len(recording.in_force())
    assert running_out.count("┃") + running_out.count("│") == len(recording.plan.steps) + 2


def body_of(recording: Recording, show_all: bool = False) -> list[str]:
    """The lines of the messages, and the one in which the lifelines run out; no name is in them."""
    picture = drawn(recording, 2000, show_all)
    return picture[2 : picture.index("")]


def test_a_pipe_is_as_wide_as_columns_says_or_eighty() -> None:
    """The width does not depend on any terminal."""
    steps = [f"step_{number}" for number in range(6)]

    assert choreo("run", *steps, COLUMNS="").stdout == choreo("run", *steps, width=80).stdout
    assert choreo("run", *steps, width=160).stdout != choreo("run", *steps, width=80).stdout
