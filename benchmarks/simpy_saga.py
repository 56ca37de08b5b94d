"""The order saga by choreography as one writes it with SimPy: what the simulator is measured against.

Laws: a process for each participant, and a Store that is its inbox; an event is put into the stores of all who hear it
once a timeout has passed. The quick way wherever SimPy has two: a callback of the timeout where its examples start a
process for each message, and processes that serve all runs. Knows nothing of choreo but the services.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from simpy import Environment, Event, Store

from choreo.domain.service import Refused, Service, ServiceOf

LATENCY_MS = 1
COORDINATOR, CLIENT = "coordinator", "client"

Message = tuple[str, str, str | None]
"""A topic, the run, and the topic of what brought it about."""

Entry = tuple[Any, ...]
"""Of the trace: when, what happened, the event, and who published or heard it."""


class SimpySagas:
    """So many runs of a chain of steps in one environment; `trace` has what happened once it was run."""

    def __init__(self, steps: Sequence[str], service_of: ServiceOf, runs: int) -> None:
        self.env = Environment()
        self.trace: list[Entry] = []
        self._runs = runs
        self._inboxes = {name: Store(self.env) for name in (*steps, COORDINATOR, CLIENT)}
        self._hearers = self._wired(steps)
        for position, step in enumerate(steps):
            before = f"{steps[position - 1]}.succeeded" if position else "saga.started"
            self.env.process(self._participant(step, position, service_of(step), before))
        self.env.process(self._coordinator(steps))
        self.env.process(self._client())

    def run(self) -> None:
        """Start every run, and go on until nothing is left to happen."""
        self.env.process(self._start())
        self.env.run()

    @property
    def deliveries(self) -> int:
        return sum(entry[1] == "deliver" for entry in self.trace)

    # Who hears whom

    def _wired(self, steps: Sequence[str]) -> dict[str, list[Callable[[Event], None]]]:
        """What to do, for each topic, with an event that has arrived."""
        hearers: dict[str, list[str]] = {"saga.completed": [CLIENT], "saga.compensated": [CLIENT]}
        for before, step, after in zip((None, *steps), steps, (*steps[1:], COORDINATOR), strict=False):
            hearers[f"{step}.succeeded"] = [after]
            hearers[f"{step}.failed"] = hearers[f"{step}.compensated"] = [COORDINATOR] + [before] * (before is not None)
        puts = {name: _put_into(inbox) for name, inbox in self._inboxes.items()}
        return {topic: [puts[name] for name in names] for topic, names in hearers.items()}

    def _publish(self, source: str, topic: str, run: str, cause: str | None) -> None:
        self.trace.append((self.env.now, "publish", topic, run, cause, source))
        self.env.timeout(LATENCY_MS, (topic, run, cause)).callbacks.extend(self._hearers[topic])

    def _start(self) -> Iterator[Event]:
        """A saga is asked for at once: the first participant has the request at time 0, as in the simulator."""
        inbox = next(iter(self._inboxes.values()))
        for number in range(1, self._runs + 1):
            run = f"run-{number}"
            self.trace.append((self.env.now, "publish", "saga.started", run, None, CLIENT))
            inbox.put(("saga.started", run, None))
        yield self.env.timeout(0)

    # Who does what

    def _participant(self, step: str, position: int, service: Service, before: str) -> Iterator[Event]:
        env, trace, publish, inbox = self.env, self.trace, self._publish, self._inboxes[step]
        succeeded, failed, compensated = f"{step}.succeeded", f"{step}.failed", f"{step}.compensated"
        receipts: dict[str, object] = {}
        while True:
            topic, run, cause = yield inbox.get()
            trace.append((env.now, "deliver", topic, run, cause, step))
            if topic == before:
                try:
                    receipts[run] = service.execute(f"{run}/{position}")
                except Refused:
                    publish(step, failed, run, topic)
                else:
                    publish(step, succeeded, run, topic)
            elif run in receipts:
                service.compensate(f"{run}/{position}", receipts.pop(run))
                publish(step, compensated, run, topic)

    def _coordinator(self, steps: Sequence[str]) -> Iterator[Event]:
        env, trace, publish, inbox = self.env, self.trace, self._publish, self._inboxes[COORDINATOR]
        outcome_of = {
            f"{steps[-1]}.succeeded": "saga.completed",
            f"{steps[0]}.failed": "saga.compensated",
            f"{steps[0]}.compensated": "saga.compensated",
        }
        while True:
            topic, run, cause = yield inbox.get()
            trace.append((env.now, "deliver", topic, run, cause, COORDINATOR))
            if topic in outcome_of:
                publish(COORDINATOR, outcome_of[topic], run, topic)

    def _client(self) -> Iterator[Event]:
        env, trace, inbox = self.env, self.trace, self._inboxes[CLIENT]
        while True:
            topic, run, cause = yield inbox.get()
            trace.append((env.now, "deliver", topic, run, cause, CLIENT))


def _put_into(inbox: Store) -> Callable[[Event], None]:
    put = inbox.put
    return lambda arrived: put(arrived.value)
