"""Sagas of a chain of steps, by choreography, as one writes them with SimPy: what the simulator is measured against.

Laws: a process for each participant, and a Store that is its inbox; an event is put into the stores of all who hear it
once a timeout has passed. Knows nothing of choreo but the services. Quick wherever SimPy leaves the choice: processes
serve all runs, messages are plain tuples, and what arrives is put into the inboxes by a callback of the timeout.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from simpy import Environment, Event, Store

from choreo.saga.service import Refused, Service, ServiceOf

LATENCY_MS = 1
COORDINATOR, CLIENT = "coordinator", "client"
STARTED, COMPLETED, COMPENSATED = "saga/started", "saga/completed", "saga/compensated"

Message = tuple[str, str, str | None]
"""A topic, the run, and the topic of what brought it about."""

Entry = tuple[int, str, str, str, str | None, str]
"""Of the trace: when, what happened, the message, and who published or heard it."""


class SimpySagas:
    """So many runs in one environment; `trace` has what happened, once it was run."""

    def __init__(self, steps: Sequence[str], service_of: ServiceOf, runs: int) -> None:
        self.env = Environment()
        self.trace: list[Entry] = []
        self._steps, self._runs = steps, runs
        self._inboxes = {name: Store(self.env) for name in (*steps, COORDINATOR, CLIENT)}
        self._subscribers = self._wired()
        for position, step in enumerate(steps):
            self.env.process(self._participant(position, step, service_of(step)))
        self.env.process(self._coordinator())
        self.env.process(self._client())

    def run(self) -> None:
        """Every saga is asked for at once; then go on until nothing is left to happen."""
        for number in range(1, self._runs + 1):
            self._publish(STARTED, f"run-{number}", None, CLIENT)
        self.env.run()

    def delivered(self) -> list[tuple[int, str, str, str]]:
        """When, which topic, of which run, and who heard it."""
        return [(when, topic, run, who) for when, what, topic, run, _, who in self.trace if what == "deliver"]

    # Who hears whom, and how it reaches them

    def _wired(self) -> dict[str, list[Any]]:
        steps = self._steps
        subscribers = {STARTED: [steps[0]], COMPLETED: [CLIENT], COMPENSATED: [CLIENT]}
        for before, step, after in zip((None, *steps), steps, (*steps[1:], COORDINATOR), strict=False):
            subscribers[f"step/{step}/succeeded"] = [after]
            for fact in ("failed", "compensated"):
                subscribers[f"step/{step}/{fact}"] = [COORDINATOR] if before is None else [before, COORDINATOR]
        return {topic: [self._way_to(self._inboxes[name]) for name in names] for topic, names in subscribers.items()}

    def _way_to(self, inbox: Store) -> Any:
        put = inbox.put
        return lambda timeout: put(timeout.value)

    def _publish(self, topic: str, run: str, cause: str | None, source: str) -> None:
        self.trace.append((self.env.now, "publish", topic, run, cause, source))
        self.env.timeout(LATENCY_MS, (topic, run, cause)).callbacks.extend(self._subscribers[topic])

    # Who does what

    def _participant(self, position: int, step: str, service: Service) -> Iterator[Event]:
        env, hear, told, publish = self.env, self._inboxes[step].get, self.trace.append, self._publish
        before = f"step/{self._steps[position - 1]}/succeeded" if position else STARTED
        succeeded, failed, compensated = (f"step/{step}/{fact}" for fact in ("succeeded", "failed", "compensated"))
        receipts: dict[str, object] = {}
        while True:
            topic, run, cause = yield hear()
            told((env.now, "deliver", topic, run, cause, step))
            if topic == before:
                try:
                    receipts[run] = service.execute(f"{run}/{position}")
                except Refused:
                    publish(failed, run, topic, step)
                else:
                    publish(succeeded, run, topic, step)
            elif run in receipts:
                service.compensate(f"{run}/{position}", receipts.pop(run))
                publish(compensated, run, topic, step)

    def _coordinator(self) -> Iterator[Event]:
        env, hear, told, publish = self.env, self._inboxes[COORDINATOR].get, self.trace.append, self._publish
        first, last = self._steps[0], self._steps[-1]
        outcome_of = {
            f"step/{last}/succeeded": COMPLETED,
            f"step/{first}/failed": COMPENSATED,
            f"step/{first}/compensated": COMPENSATED,
        }
        while True:
            topic, run, cause = yield hear()
            told((env.now, "deliver", topic, run, cause, COORDINATOR))
            if topic in outcome_of:
                publish(outcome_of[topic], run, topic, COORDINATOR)

    def _client(self) -> Iterator[Event]:
        env, hear, told = self.env, self._inboxes[CLIENT].get, self.trace.append
        while True:
            topic, run, cause = yield hear()
            told((env.now, "deliver", topic, run, cause, CLIENT))


class SimpySagasByProcess(SimpySagas):
    """The same, with a process for each message on its way, as the example "Event Latency" of SimPy's pages has it."""

    def _way_to(self, inbox: Store) -> Callable[[Message], Event]:
        put: Callable[[Message], Event] = inbox.put
        return put

    def _publish(self, topic: str, run: str, cause: str | None, source: str) -> None:
        self.trace.append((self.env.now, "publish", topic, run, cause, source))
        self.env.process(self._latency((topic, run, cause)))

    def _latency(self, message: Message) -> Iterator[Event]:
        yield self.env.timeout(LATENCY_MS)
        for put in self._subscribers[message[0]]:
            put(message)
