"""Channels: the deliveries in flight, and those of them that may arrive next.

Laws: the deliveries in flight are a multiset, stored as a tuple in one canonical order. With `ordering` the deliveries
of a channel (one sender, one subscriber) keep the order in which they were sent, and only the first of them may arrive;
an unreadable delivery blocks the queue of its subscriber.
"""

from collections.abc import Iterable, Sequence

from choreo.lab.model.world import Delivery

Flight = tuple[int, ...]
"""Deliveries by number."""


class Channels:
    """Numbers deliveries at first sight; `number_of` and `deliveries` map in both directions."""

    def __init__(self, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._numbers: dict[tuple[object, int, int], int] = {}
        self.deliveries: list[Delivery] = []
        self._channel_of: list[tuple[str, int]] = []

    def number_of(self, delivery: Delivery) -> int:
        key = (delivery.event, delivery.route.index, delivery.poison)
        number = self._numbers.setdefault(key, len(self.deliveries))
        if number == len(self.deliveries):
            self.deliveries.append(delivery)
            self._channel_of.append((delivery.event.run.id, delivery.route.channel))
        return number

    def sent(self, flight: Flight, numbers: Sequence[int]) -> Flight:
        """Return the flight with these deliveries appended."""
        return self._sorted([*flight, *numbers]) if numbers else flight

    def arrived(self, flight: Flight, number: int) -> Flight:
        """Return the flight without the first delivery of that number."""
        index = flight.index(number)
        return flight[:index] + flight[index + 1 :]

    def replaced(self, flight: Flight, number: int, by: Sequence[int]) -> Flight:
        """Return the flight with the first delivery of that number replaced in its place in the channel."""
        index = flight.index(number)
        return self._sorted([*flight[:index], *by, *flight[index + 1 :]])

    def next(self, flight: Flight) -> tuple[int, ...]:
        """Return the distinct deliveries that may arrive next."""
        if not self._is_ordered:
            return tuple(dict.fromkeys(flight))
        poisoned = {self._queue(number) for number in flight if self.deliveries[number].poison}
        heads: dict[tuple[str, int], int] = {}
        for number in flight:
            heads.setdefault(self._channel_of[number], number)
        return tuple(
            number
            for number in heads.values()
            if self.deliveries[number].poison or not poisoned or self._queue(number) not in poisoned
        )

    def _queue(self, number: int) -> str:
        """Return the queue of a delivery: one for each subscriber, across runs; its own timers bypass it."""
        route = self.deliveries[number].route
        return route.address if route.is_local else route.subscriber

    def _sorted(self, numbers: Iterable[int]) -> Flight:
        if self._is_ordered:
            return tuple(sorted(numbers, key=self._channel_of.__getitem__))
        return tuple(sorted(numbers))
