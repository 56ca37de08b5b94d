"""Report of a saved counterexample that is followed again.

Laws: says where a way cannot be followed any more, and claims nothing then.
"""

from collections.abc import Sequence
from time import perf_counter

from choreo.invariants.known import known_of
from choreo.invariants.monitor import Monitor
from choreo.invariants.own import OwnInvariant
from choreo.invariants.state_checks import monitored
from choreo.lab.follower import CannotFollow, Follower
from choreo.lab.model.simulated import simulated_steps
from choreo.lab.model.world import World
from choreo.lab.report import Conclusion, Counterexample, Report
from choreo.lab.saved import SavedCounterexample, is_same_saga
from choreo.lab.simulate.campaign import invariants_of
from choreo.saga.definition import Saga
from choreo.saga.guarantees import Guarantees
from choreo.saga.service import ServiceOf
from choreo.saga.usage import UsageError


class NotFollowed(AssertionError):
    """A saved counterexample whose way cannot be followed any more; the text says at which move, and what to do."""


def report_of_way(
    path: str, kept: SavedCounterexample, definition: Saga, service_of: ServiceOf, own: Sequence[OwnInvariant]
) -> Report:
    """Follow a way and report. Raises `NotFollowed`, and `UsageError` if an invariant that it violates is not given."""
    missing = [title for title in kept.own_titles if title not in [each.title for each in own]]
    if missing:
        raise UsageError("invariants", f"expected one titled {missing[0]!r}, which {path} violates, got none")
    definition = kept.with_inputs(definition)
    checked = invariants_of(definition)
    world = World(definition, kept.style, service_of, own)
    began = perf_counter()
    follower = Follower(
        world, Monitor(known_of(definition), (*checked, *monitored(own))), kept.way, _prevents(kept, definition)
    )
    try:
        followed = follower.follow()
    except CannotFollow as stop:
        raise NotFollowed(
            f"{path}: move {stop.number} of {len(kept.moves)} cannot be followed any more: {stop.why}; the saga or its "
            "services have changed since it was saved: explore or simulate again, and save a counterexample anew, or "
            "delete the file if there is none"
        ) from None
    finally:
        world.reset()
    found = Counterexample(kept.faults, followed.records) if followed.violations else None
    kinds = [str(move.fault) for move in kept.moves if move.fault is not None]
    return Report(
        Conclusion.VIOLATED if found else Conclusion.SAFE,
        kept.style,
        tuple(invariant.code for invariant in checked),
        tuple(dict.fromkeys(followed.violations)),
        followed.handled,
        {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        {outcome: followed.outcomes.count(outcome) for outcome in sorted(set(followed.outcomes))},
        perf_counter() - began,
        histories=1,
        counterexample=found,
        simulated=simulated_steps(definition),
        own=tuple(each.title for each in own),
        replay_of=path,
    )


def _prevents(kept: SavedCounterexample, definition: Saga) -> bool:
    """Return whether the saga is the saved one with other guarantees, which may prevent parts of the way."""
    before = kept.definition
    explored = {name: getattr(before.guarantees, name) and name not in kept.without for name in _names()}
    now = {name: getattr(definition.guarantees, name) for name in _names()}
    return explored != now and is_same_saga(before, definition)


def _names() -> tuple[str, ...]:
    return Guarantees.__struct_fields__
