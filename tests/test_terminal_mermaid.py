"""`--mermaid`: a valid sequence diagram for any names. The grammar covers the used part of Mermaid's."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.analysis.naming import numbered
from choreo.analysis.recording import Recording
from choreo.analysis.run_sequence import seats_in_order
from choreo.compile import STYLES
from choreo.render.mermaid import escaped, mermaid
from choreo.render.names import shown
from choreo.saga.plan import Itinerary
from tests.stories import Mishap, sagas
from tests.terminal import choreo, lines, recorded

TEXT = r"(?P<text>(?:[^#;\n]|#\d+;)+)"
STATEMENTS = {
    "participant": re.compile(rf"(?:actor|participant) (?P<alias>p\d+) as {TEXT}"),
    "arrow": re.compile(rf"(?P<source>p\d+)(?P<line>--?)\)(?P<target>p\d+): {TEXT}"),
    "note": re.compile(rf"Note over p\d+(?:,p\d+)?: {TEXT}"),
    "open": re.compile(r"rect rgb\(255,235,235\)"),
    "close": re.compile(r"end"),
}
ENTITY = re.compile(r"#(\d+);")


def parse(diagram: str) -> list[tuple[str, re.Match[str]]]:
    """The statements, by kind; raises where the text is no sequence diagram."""
    first, *rest = diagram.split("\n")
    assert first == "sequenceDiagram"
    statements = [_statement(line.removeprefix("    ")) for line in rest]
    kinds = [kind for kind, _ in statements]
    assert kinds.count("open") == kinds.count("close") <= 1
    assert "open" not in kinds or kinds.index("open") < kinds.index("close")
    return statements


def _statement(line: str) -> tuple[str, re.Match[str]]:
    for kind, pattern in STATEMENTS.items():
        if match := pattern.fullmatch(line):
            text = match.groupdict().get("text", "")
            assert not re.search(r"(?i)(?<!\S)end(?!\S)", text), f"a bare end: {line!r}"
            assert text == text.strip(), f"blanks that get lost: {line!r}"
            return kind, match
    raise AssertionError(f"no statement of a sequence diagram: {line!r}")


def read(text: str) -> str:
    """A text as it is shown."""
    return ENTITY.sub(lambda entity: chr(int(entity[1])), text)


def test_a_diagram_is_printed_and_nothing_else() -> None:
    """Aliases for the names, asynchronous arrows with the numbers of the events, backward recovery on red."""
    result = choreo("run", "a;b", "end", "c", "--fail", "c", "--mermaid")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == lines("""
    sequenceDiagram
        %% simulated: a#59;b, #101;nd and c
        actor p0 as client
        participant p1 as a#59;b
        participant p2 as #101;nd
        participant p3 as c
        participant p4 as coordinator
        p0-)p1: 1 started
        p1-)p2: 2 succeeded
        p2-)p3: 3 succeeded
        rect rgb(255,235,235)
        p3-)p2: 4 failed
        p3-)p4: 4 failed
        Note over p3: c was told to refuse
        p2-)p1: 5 compensated
        p2-)p4: 5 compensated
        p1-)p4: 6 compensated
        p4-)p0: 7 compensated
        end
        Note over p0,p4: compensated#58; c failed (c was told to refuse)#59; #101;nd and a#59;b were compensated, in this order#59; nothing is in force.
    """)  # noqa: E501  # one line a statement


def test_a_saga_that_completes_has_nothing_on_red() -> None:
    """There is no block to open."""
    kinds = [kind for kind, _ in parse(mermaid(recorded("choreography", "a", "b")))]

    assert kinds == [*["participant"] * 4, *["arrow"] * 4, "note"]


def test_a_stuck_saga_is_a_finding_here_too() -> None:
    """The exit status is that of `choreo run`."""
    assert choreo("run", "a", "b", "--fail", "b", "--fail-compensation", "a", "--mermaid").exit_code == 1


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(STYLES)), sagas(), st.booleans())
def test_every_diagram_is_valid_and_shows_every_name_and_arrow(
    style: str, saga: tuple[Itinerary, Mishap], show_all: bool
) -> None:
    """Names of any characters; an arrow for each delivery with an effect, or for all."""
    recording = recording_of(style, saga)

    statements = parse(mermaid(recording, show_all))

    names = numbered(recording.table.subscribers)
    participants = [match for kind, match in statements if kind == "participant"]
    arrows = [match["line"] for kind, match in statements if kind == "arrow"]
    reacted = sum(delivery.reacted for delivery in recording.deliveries)
    ignored = len(recording.deliveries) - reacted
    assert [read(match["text"]) for match in participants] == [shown(names[s]) for s in seats_in_order(recording)]
    assert [match["alias"] for match in participants] == [f"p{index}" for index in range(len(names))]
    assert arrows.count("-") == reacted
    assert arrows.count("--") == (ignored if show_all else 0)


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


@settings(max_examples=300)
@given(
    st.text() | st.lists(st.sampled_from(["end", "END", " ", ";", "#", "\n", "%%", "as", ":", "<", "p0"])).map("".join)
)
def test_an_escaped_text_reads_as_it_was(text: str) -> None:
    """And it is one text on one line."""
    kind, statement = _statement(f"participant p0 as {escaped(text)}")

    assert kind == "participant"
    assert read(statement["text"]) == shown(text)


@pytest.mark.parametrize(
    "wrong",
    [
        "sequenceDiagram\n    participant p0 as a;b",
        "sequenceDiagram\n    participant p0 as a#b",
        "sequenceDiagram\n    participant p0 as end",
        "sequenceDiagram\n    participant p0 as ",
        "sequenceDiagram\n    p0->p1: 1 started",
        "sequenceDiagram\n    rect rgb(255,235,235)",
        "sequenceDiagram\n    end",
        "graph TD",
    ],
)
def test_the_grammar_refuses_what_mermaid_would(wrong: str) -> None:
    """A checker is tested with errors that it must find."""
    with pytest.raises(AssertionError):
        parse(wrong)
