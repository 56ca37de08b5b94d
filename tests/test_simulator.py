"""The simulator: one seed, one history; faults that fire, shrink and replay; and campaigns on all cores."""

import hashlib
import os
import pty
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from choreo.api import open_services
from choreo.compile import STYLES
from choreo.lab.model.world import World
from choreo.lab.report import Conclusion, Report
from choreo.lab.simulate import campaign
from choreo.lab.simulate.campaign import Lab, rates_of, simulate
from choreo.lab.simulate.shrink import ddmin
from choreo.lab.simulate.simulator import Simulation
from choreo.lessons import definition_of
from choreo.saga.definition import FaultKind, Faults, RunOf, Saga, Step
from choreo.saga.guarantees import Guarantees
from choreo.trace.record import encode_record
from services import catalogue
from services.sagas import order, trip
from tests.lab_sagas import CHAIN, EVERY_KIND, POISONED, SUITE, saga
from tests.stories import ROOT

OPENED = partial(open_services, "services")
DISTURBED = replace(order, faults=Faults(EVERY_KIND, 2))


def lab(definition: Saga, style: str = "choreography") -> Lab:
    return Lab(definition, style, catalogue(), rates_of(definition))


def campaign_of(definition: Saga, seeds: int = 300, style: str = "choreography", processes: int = 1) -> Report:
    return simulate(definition, style, OPENED, range(1, seeds + 1), processes=processes)


def trace_of(definition: Saga, seed: int) -> bytes:
    return b"\n".join(map(encode_record, lab(definition).play(seed).records))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", SUITE)
def test_nothing_is_found_where_nothing_is_broken(name: str, style: str) -> None:
    """Two hundred histories of every saga of the suite, with every kind of fault: safe, and all faults have fired."""
    report = campaign_of(replace(SUITE[name], faults=Faults(EVERY_KIND)), 200, style)

    assert report.verdict is Conclusion.SAFE, (report.violations, report.counterexample)
    assert report.never_fired == ()
    assert report.histories == 200


def test_a_seed_is_a_history() -> None:
    """The same seed gives the same bytes, in one lab after another and in the same lab again; another seed others."""
    same = lab(DISTURBED)

    first = [b"".join(map(encode_record, same.play(seed).records)) for seed in (7, 8, 7)]

    assert first[0] == first[2] == b"".join(map(encode_record, lab(DISTURBED).play(7).records))
    assert first[0] != first[1]


def test_a_seed_is_the_same_history_in_every_process(tmp_path: object) -> None:
    """Byte for byte, under two hash seeds, as the command line writes it."""
    digests = []
    for hash_seed in ("1", "4242"):
        path = f"{tmp_path}/{hash_seed}.jsonl"
        command = [sys.executable, "-m", "choreo", "simulate", "lesson-12-mended", "--seed", "5", "--trace", path]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        with open(path, "rb") as file:
            digests.append((hashlib.sha256(file.read()).hexdigest(), done.stdout.split(" in ")[0]))

    assert digests[0] == digests[1]


def test_a_violation_shrinks_to_the_faults_that_matter() -> None:
    """One of many faults is left: no violation occurs without it, and a replay confirms it."""
    broken = replace(CHAIN, guarantees=Guarantees(inbox=False), faults=Faults(EVERY_KIND))
    mine = lab(broken)
    seed = next(seed for seed in range(1, 500) if (h := mine.play(seed)).violations and len(h.fired) > 2)

    shrunk = mine.shrink(mine.play(seed))

    assert {b.code for b in shrunk.violations} & {b.code for b in mine.play(seed).violations}
    assert len(shrunk.fired) < len(mine.play(seed).fired)
    for left_out in shrunk.fired:
        script = [fired.verdict for fired in shrunk.fired if fired is not left_out]
        assert not {b.code for b in mine.play(seed, script).violations} & {b.code for b in shrunk.violations}


@given(st.integers(1, 40), st.data())
def test_what_is_left_after_shrinking_is_minimal(count: int, data: st.DataObject) -> None:
    """Exactly the required combination is left, in order."""
    parts = [str(number) for number in range(count)]
    needed = data.draw(st.lists(st.sampled_from(parts), unique=True, min_size=1).map(sorted_by_number))

    assert ddmin(parts, lambda some: all(part in some for part in needed)) == needed


def sorted_by_number(parts: list[str]) -> list[str]:
    return sorted(parts, key=int)


def test_what_needs_no_fault_shrinks_to_none() -> None:
    """A bug that is there without any fault is reported without any."""
    assert ddmin(["a", "b"], lambda some: True) == []
    report = campaign_of(definition_of(2, is_mended=False))
    assert report.counterexample is not None
    assert report.counterexample.faults == ()


def test_a_fault_that_never_fires_is_a_finding() -> None:
    """A campaign meant to test crashes, in which none occurred, says so."""
    definition = saga(Step("a"), kinds=(FaultKind.CRASH,))
    report = campaign_of(replace(definition, faults=replace(definition.faults, subscribers=("nobody",))), 20)

    assert report.verdict is Conclusion.SAFE
    assert report.never_fired == ("crash",)
    assert report.is_finding


def test_fault_rates_differ_from_history_to_history() -> None:
    """Some histories have many faults of one kind and none of another (swarm)."""
    mine = lab(replace(order, faults=Faults((FaultKind.DROP, FaultKind.DUPLICATE))))
    kinds = [{fired.verdict.kind for fired in mine.play(seed).fired} for seed in range(300)]

    assert {FaultKind.DROP} in kinds
    assert {FaultKind.DUPLICATE} in kinds
    assert set() in kinds
    assert {FaultKind.DROP, FaultKind.DUPLICATE} in kinds


def test_the_number_of_processes_makes_no_difference() -> None:
    """The same report from one process as from two."""
    broken = replace(CHAIN, guarantees=Guarantees(honest_compensation=False), faults=Faults(EVERY_KIND))
    for definition in (DISTURBED, broken):
        one, two = (campaign_of(definition, 400, processes=count) for count in (1, 2))
        assert replace(one, elapsed_s=0) == replace(two, elapsed_s=0)


def test_a_storm_is_stopped() -> None:
    """Events without end: the history is cut off, and reported."""
    report = campaign_of(definition_of(13, is_mended=False), 1)

    assert {violation.code for violation in report.violations} & {"S12", "L1"}


def test_healthy_sagas_wait_behind_what_cannot_be_read() -> None:
    """Without dead letters the other saga does not end either; with them it does."""
    poisoned = replace(POISONED, guarantees=Guarantees(dead_letter=False))

    assert campaign_of(poisoned).verdict is Conclusion.VIOLATED
    assert campaign_of(POISONED).verdict is Conclusion.SAFE


def test_without_faults_and_plan_it_takes_the_time_that_it_must() -> None:
    """Virtual time: a chain of three takes a millisecond for each delivery, and runs start when they are told to."""
    definition = saga(Step("a"), Step("b", latency_ms=30), runs=(RunOf("one"), RunOf("two", start_ms=100)))

    simulation = Simulation(World(definition, "choreography", catalogue())).run()
    ends = [record.time for record in simulation.records() if record.action == "reply"]

    assert simulation.came_to_rest
    assert ends == [34, 134]


def test_both_drivers_of_a_history_agree() -> None:
    """With a plan without faults the records are the same as without a plan, except for the time."""
    definition = replace(trip, faults=Faults())
    steps = tuple(replace(step, fails="never") for step in definition.steps)
    definition = replace(definition, steps=steps)
    without = Simulation(World(definition, "choreography", catalogue())).run()

    undisturbed = Lab(definition, "choreography", catalogue(), {})
    told = [(record.action, record.id) for record in without.records()]

    assert told == [(record.action, record.id) for record in undisturbed.play(3).records]


def test_ctrl_c_ends_a_campaign_with_what_was_found_so_far() -> None:
    """The real process, interrupted once its progress bar has moved: exit status 1, and a report that says so."""
    command = [sys.executable, "-m", "choreo", "simulate", "services.sagas:order", "--seeds", "5000000", "--json"]
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    seen = b""
    while b"/5000000" not in seen:
        seen += os.read(ours, 65536)

    process.send_signal(signal.SIGINT)
    read_on = threading.Thread(target=read_to_the_end, args=(ours,))  # or else it waits for somebody to read its bar
    read_on.start()
    printed, _ = process.communicate(timeout=60)
    read_on.join()

    assert process.returncode == 1
    assert '"verdict": "incomplete"' in printed
    assert '"stopped": "it was interrupted"' in printed


def read_to_the_end(descriptor: int) -> None:
    with suppress(OSError):  # how Linux says that nobody has the other end any more
        while os.read(descriptor, 65536):
            pass
    os.close(descriptor)


def test_ten_thousand_deliveries_of_one_queue_do_not_tire_it() -> None:
    """Many runs at once, in one world."""
    definition = saga(Step("a"), Step("b"), runs=tuple(RunOf(f"saga-{n}") for n in range(2_000)), kinds=())

    simulation = Simulation(World(definition, "choreography", catalogue())).run()

    assert simulation.handled == 2_000 * 4
    assert simulation.came_to_rest


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is the number of histories done, and their total."""
    monkeypatch.setattr(campaign, "SEEDS_OF_A_TASK", 10)
    told: list[tuple[int, int]] = []

    simulate(CHAIN, "choreography", OPENED, range(1, 26), processes=1, progress=lambda *how_far: told.append(how_far))

    assert told == [(10, 25), (20, 25), (25, 25)]
