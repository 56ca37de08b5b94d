"""Every delivery twice, at once: the second publishes nothing, and the outcome is the same."""

import pytest

from choreo.compile import STYLES
from choreo.compile.table import STARTED
from choreo.protocol.event import Event, Run
from choreo.saga.definition import Saga
from choreo.saga.outcome import Outcome
from choreo.saga.plan import Itinerary
from tests.stories import Ledger

SAGAS: list[tuple[Itinerary, str | None, str | None]] = [
    (("a", "b", "c"), None, None),
    (("a", "b", "c"), "c", None),
    (("a", ("b", "c"), "d"), "d", None),
    (("a", ("b", "c"), "d"), "b", None),
    ((("a", "b", "c"), "d"), "d", "b"),
    ((("a", "b", "c"),), "a", "c"),
    (("a", ("b", "c"), ("d", "e")), "d", "b"),
]


def outcome_of(style: str, itinerary: Itinerary, fail_step: str | None, stuck: str | None, times: int) -> Outcome:
    """Drain first in, first out, with each delivery repeated; all but the first must publish no event."""
    table = STYLES[style](Saga.of(itinerary), Ledger().service_of)
    fail_position = None if fail_step is None else table.plan.position_of(fail_step)
    cells = list(table.cells)
    pending = [Event(STARTED, Run("run-1", "saga-1", "test.1.", fail_position, stuck))]
    for event in pending:
        for row in (row for row in table.subscriptions if row.topic.name == event.topic.name):
            cells[row.seat], published = row.react(cells[row.seat], event)
            pending.extend(published)
            for _ in range(times - 1):
                cells[row.seat], again = row.react(cells[row.seat], event)
                assert again == (), f"{row.subscriber} answers {event.topic.name} twice"
    outcome = cells[-1].receipt
    assert isinstance(outcome, Outcome)
    return outcome


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("saga", SAGAS, ids=str)
def test_a_delivery_that_is_made_twice_is_answered_once(
    style: str, saga: tuple[Itinerary, str | None, str | None]
) -> None:
    """Participants, coordinator, orchestrator and client are idempotent receivers."""
    once = outcome_of(style, *saga, times=1)

    thrice = outcome_of(style, *saga, times=3)

    assert thrice == once
