"""The lint: planted bugs of the wiring are found in the compiled tables, and a clean definition is clean."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from choreo.compile import STYLES
from choreo.compile.finding import Finding, Rule
from choreo.compile.linting import NO_SERVICE, lint
from choreo.compile.needs import Need, needs_of
from choreo.compile.table import Table
from choreo.compile.unmet import unmet
from choreo.compile.wiring import wired
from choreo.protocol.event import Fact
from choreo.saga.definition import Saga
from choreo.saga.file import definition_from
from services.sagas import order, trip
from tests.terminal import choreo, prose


def saga(*steps: Any, deaf: Any = (), relays: Any = (), **guarantees: bool) -> Saga:
    """A definition; a step may be told by its name alone."""
    return definition_from(
        {
            "saga": {"name": "saga"},
            "step": [{"name": s} if isinstance(s, str) else s for s in steps],
            "wiring": {"deaf": list(deaf), "relays": list(relays)},
            "guarantees": guarantees,
        }
    )


def step(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.where, finding.sentence) for finding in findings]


CHAIN = ("order", "charge", "reserve", "ship")
FORK = ("a", "b", step("c", after=["a"]), step("d", after=["b", "c"]))
LOOSE = ("a", step("b", after=["a"]), step("c", after=["a"]))
"""Two last steps, which meet at the coordinator alone."""


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("definition", [order, trip, saga(*CHAIN), saga(*FORK), saga(*LOOSE)])
def test_a_clean_definition_is_clean(definition: Saga, style: str) -> None:
    """The lint reports no finding for correct wiring."""
    assert lint(definition, style) == []


# --- a failure that never reaches a completed step --------------------------------------------------------------------


def test_a_step_that_does_not_hear_the_failure_of_the_next_is_found() -> None:
    """Lesson 2: stock is refused, payments is not subscribed, and the order is cancelled and charged."""
    definition = saga(*CHAIN, deaf=[["charge", "step/reserve/failed"]])

    assert lint(definition, "choreography") == [
        Finding(
            Rule.UNHEARD_FAILURE,
            "wiring.deaf[0]",
            "when reserve fails, charge does not hear step/reserve/failed: order and charge would stay in force",
        )
    ]


def test_the_orchestrator_hears_what_the_neighbour_does_not() -> None:
    """The same definition is fine in orchestration: no participant there subscribes to its neighbours."""
    definition = saga(*CHAIN, deaf=[["charge", "step/reserve/failed"]])

    assert lint(definition, "orchestration") == []


@pytest.mark.parametrize(
    ("style", "steps", "deaf", "sentence"),
    [
        (
            "choreography",
            CHAIN,
            ["charge", "step/reserve/compensated"],
            "when reserve is compensated after a failure of ship, charge does not hear step/reserve/compensated: order "
            "and charge would stay in force",
        ),
        (
            "choreography",
            FORK,
            ["c", "step/d/cancelled"],
            "when d is cancelled, c does not hear step/d/cancelled: a and c would stay in force",
        ),
        (
            "choreography",
            FORK,
            ["d", "step/b/failed"],
            "when b fails, d does not hear step/b/failed: it is not cancelled, and a and c, which may wait for that, "
            "would stay in force",
        ),
        (
            "choreography",
            LOOSE,
            ["c", "saga/cancelled"],
            "when another last step fails, c does not hear saga/cancelled: a and c would stay in force",
        ),
        (
            "orchestration",
            CHAIN,
            ["charge", "step/charge/compensate"],
            "when charge is to be undone, charge does not hear step/charge/compensate: order and charge would stay in "
            "force",
        ),
        (
            "orchestration",
            CHAIN,
            ["orchestrator", "step/reserve/compensated"],
            "when reserve is compensated after a failure of ship, orchestrator does not hear step/reserve/compensated: "
            "order and charge would stay in force",
        ),
    ],
)
def test_every_break_of_the_way_back_is_found(style: str, steps: Any, deaf: list[str], sentence: str) -> None:
    """A finding names the missing subscription, the case, and the steps that stay in force."""
    findings = lint(saga(*steps, deaf=[deaf]), style)

    assert ("wiring.deaf[0]", sentence) in told([f for f in findings if f.rule is Rule.UNHEARD_FAILURE])


# --- a path without an outcome, an event that nobody hears ------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "deaf", "sentence"),
    [
        (
            "choreography",
            ["coordinator", "step/ship/succeeded"],
            "when ship succeeds, coordinator does not hear step/ship/succeeded: the saga has no outcome",
        ),
        (
            "orchestration",
            ["orchestrator", "step/charge/compensation_failed"],
            "when charge cannot be compensated, orchestrator does not hear step/charge/compensation_failed: the saga "
            "has no outcome",
        ),
        (
            "choreography",
            ["ship", "step/reserve/succeeded"],
            "ship does not hear step/reserve/succeeded: it never begins, and the saga has no outcome",
        ),
        (
            "choreography",
            ["order", "saga/started"],
            "order does not hear saga/started: it never begins, and the saga has no ",
        ),
        (
            "orchestration",
            ["client", "saga/stuck"],
            "client does not hear saga/stuck: it is never told how the saga ended",
        ),
    ],
)
def test_a_path_without_an_outcome_is_found(style: str, deaf: list[str], sentence: str) -> None:
    """The collector, the client, or a step on the way forward lacks a subscription that it needs."""
    findings = [f for f in lint(saga(*CHAIN, deaf=[deaf]), style) if f.rule is Rule.NO_OUTCOME]

    ((where, said),) = told(findings)

    assert where == "wiring.deaf[0]"
    assert said.startswith(sentence)


def test_an_event_that_nobody_hears_is_found() -> None:
    """All its subscribers are unsubscribed, or it is a relay's own event without a subscriber."""
    deaf = [["charge", "step/reserve/failed"], ["coordinator", "step/reserve/failed"]]
    relays = [["charge", "step/order/succeeded", "news"]]

    findings = lint(saga(*CHAIN, deaf=deaf, relays=relays), "choreography")

    assert told([f for f in findings if f.rule is Rule.UNHEARD_EVENT]) == [
        ("wiring.deaf[0]", "nobody hears step/reserve/failed"),
        ("wiring.relays[0][2]", "nobody hears news, which charge publishes"),
    ]


def test_a_step_that_does_not_hear_its_own_timer_is_found() -> None:
    """Its compensation may fail, and is never retried then."""
    steps = ["order", step("charge", compensation_fails=1), "ship"]

    findings = lint(saga(*steps, deaf=[["charge", "step/charge/retry"]]), "choreography")

    assert [said for _, said in told(findings)] == [
        "charge does not hear step/charge/retry: its compensation is not tried again, and the saga has no outcome"
    ]


@pytest.mark.parametrize("style", STYLES)
def test_a_topic_that_nobody_publishes_is_found(style: str) -> None:
    """A misspelt topic, with a suggestion; topics of the other style are not suggested."""
    definition = saga(
        *CHAIN,
        deaf=[["charge", "step/reserve/failled"], ["charge", "step/charge/execut"]],
        relays=[["ship", "step/charge/execute", "step/ship/succeeded"], ["ship", "nothing", "step/ship/succeeded"]],
    )

    findings = lint(definition, style)

    assert told(findings) == [
        (
            "wiring.deaf[0][1]",
            "nobody publishes step/reserve/failled, which charge is said to hear; did you mean 'step/reserve/failed'?",
        ),
        (
            "wiring.deaf[1][1]",
            "nobody publishes step/charge/execut, which charge is said to hear; did you mean 'step/charge/execute'?",
        ),
        ("wiring.relays[1][1]", "nobody publishes nothing, which ship is said to hear"),
    ]


# --- rings ------------------------------------------------------------------------------------------------------------

STORM = (["a", "step/a/succeeded", "price"], ["b", "price", "stock"], ["a", "stock", "price"])


@pytest.mark.parametrize("style", STYLES)
def test_relays_that_feed_each_other_are_found(style: str) -> None:
    """Lesson 13: A reacts to B, B reacts to A, and the topics of the ring are told."""
    (finding,) = lint(saga("a", "b", relays=STORM, hop_limit=False), style)

    assert finding.rule is Rule.RING
    assert finding.where == "wiring.relays[1]"
    assert finding.sentence in (
        "price → stock → price: b and a would publish without end",
        "stock → price → stock: b and a would publish without end",
    )


def test_a_ring_is_bounded_by_the_hop_limit() -> None:
    """With the guarantee it comes to an end, and is no finding."""
    assert lint(saga("a", "b", relays=STORM), "choreography") == []


def test_a_ring_that_somebody_does_not_hear_is_none() -> None:
    """A deaf ear breaks it."""
    definition = saga("a", "b", relays=STORM, deaf=[["b", "price"]], hop_limit=False)

    assert Rule.RING not in [finding.rule for finding in lint(definition, "choreography")]


def test_every_ring_is_told_once() -> None:
    """Two rings, one of them of a single relay."""
    relays = [*STORM, ["b", "step/b/succeeded", "news"], ["b", "news", "news"]]

    findings = lint(saga("a", "b", relays=relays, hop_limit=False), "choreography")

    assert sorted(finding.where for finding in findings) == ["wiring.relays[1]", "wiring.relays[4]"]


# --- the point of no return -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_a_step_that_may_be_refused_after_the_pivot_is_found(style: str) -> None:
    """Lesson 3: shipped before it was paid."""
    definition = saga("order", step("ship", kind="pivot"), "charge", point_of_no_return=False)

    assert lint(definition, style) == [
        Finding(
            Rule.AFTER_PIVOT,
            "step[2].kind",
            "charge may be refused after ship, which is a pivot and cannot be undone",
        )
    ]


@pytest.mark.parametrize("kind", ["compensatable", "pivot"])
def test_a_step_that_may_be_refused_beside_the_pivot_is_found(kind: str) -> None:
    """The order of the two is undetermined."""
    definition = saga("a", step("ship", kind="pivot"), step("charge", after=["a"], kind=kind))

    findings = [finding for finding in lint(definition, "choreography") if finding.where == "step[2].kind"]

    assert told(findings) == [
        ("step[2].kind", "charge may be refused beside ship, which is a pivot and cannot be undone")
    ]


def test_a_retriable_step_beside_the_pivot_is_fine() -> None:
    """It is retried until it succeeds; only a step that may be refused is dangerous."""
    definition = saga("a", step("ship", kind="pivot"), step("tell", after=["a"], kind="retriable"))

    assert [finding.where for finding in lint(definition, "choreography")] == ["step[1].kind"]


# --- the checker itself -----------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> Saga:
    """Any graph of a few steps, some with time-outs or a latency."""
    steps = []
    for index in range(draw(st.integers(1, 6))):
        after = draw(st.lists(st.integers(0, index - 1), unique=True)) if index else []
        times = draw(st.sampled_from([{}, {"timeout_ms": 5}, {"latency_ms": 2}]))
        steps.append(step(str(index), after=[str(each) for each in after], **times))
    return saga(*steps)


def table_and_needs(definition: Saga, style: str) -> tuple[Table, list[Need]]:
    (run,) = definition.all_runs()
    table = wired(definition, run, style, lambda step: NO_SERVICE)
    return table, needs_of(table.plan, definition.steps_of(run), table.collector)


@pytest.mark.parametrize("style", STYLES)
@given(definition=graphs())
@settings(max_examples=60)
def test_what_must_be_heard_is_what_the_style_subscribes(style: str, definition: Saga) -> None:
    """Worked out twice, from the plan and by the style: the same, but for a row that matters with a time-out only."""
    table, needs = table_and_needs(definition, style)
    rows = {(row.seat, row.topic.name): row.topic for row in table.subscriptions}
    needed = {(need.seat, need.topic.name) for need in needs}

    assert needed <= set(rows)
    assert {topic.fact for key, topic in rows.items() if key not in needed} <= {Fact.COMPENSATED}
    assert lint(definition, style) == []


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("definition", [saga(*CHAIN), saga(*FORK), saga(*LOOSE), saga(step("a", timeout_ms=5), "b")])
def test_every_row_that_a_table_lacks_is_found(style: str, definition: Saga) -> None:
    """Without any one required row, the lint names the consequence."""
    table, needs = table_and_needs(definition, style)

    for need in needs:
        rows = [row for row in table.subscriptions if (row.seat, row.topic.name) != (need.seat, need.topic.name)]
        found = [found for found, _, _ in unmet(replace(table, subscriptions=tuple(rows)), needs)]
        assert set(found) == {need}


# --- on the command line ----------------------------------------------------------------------------------------------

TOML = """
[saga]
name = "order"
[[step]]
name = "charge"
[[step]]
name = "reserve"
[wiring]
deaf = [["charge", "step/reserve/failed"]]
"""


def test_the_command_tells_each_style_and_ends_with_the_status_of_a_finding(tmp_path: Path) -> None:
    """For people: the rule, the place, the sentence."""
    file = tmp_path / "order.toml"
    file.write_text(TOML)

    result = choreo("lint", str(file))

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "order, choreography: 1 finding",
        "  unheard-failure wiring.deaf[0]",
        "    when reserve fails, charge does not hear step/reserve/failed: charge",
        "    would stay in force",
        "order, orchestration: nothing found",
    ]


def test_for_programs_there_is_one_object_a_style(tmp_path: Path) -> None:
    """One JSON object on one line for each style that was asked for."""
    file = tmp_path / "order.toml"
    file.write_text(TOML)

    result = choreo("lint", str(file), "--json")

    one, other = map(json.loads, result.stdout.splitlines())
    assert (one["definition"], one["style"], other["style"]) == ("order", "choreography", "orchestration")
    assert [finding["rule"] for finding in one["findings"]] == ["unheard-failure"]
    assert other["findings"] == []


def test_a_clean_definition_ends_with_status_0() -> None:
    """No finding means status 0."""
    result = choreo("lint", "services.sagas:order", "--style", "orchestration")

    assert (result.exit_code, result.stdout) == (0, "order, orchestration: nothing found\n")


def test_a_bad_definition_is_wrong_use(tmp_path: Path) -> None:
    """Status 2, and a sentence with the error."""
    file = tmp_path / "bad.toml"
    file.write_text(TOML + "[[step]]\nname = 'x'\nefect = {}")

    result = choreo("lint", str(file), width=200)

    assert result.exit_code == 2
    assert "DEFINITION: step[2].efect: unknown key; did you mean 'effect'?" in prose(result.stderr)
