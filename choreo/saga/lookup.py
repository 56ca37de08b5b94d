"""Looking a service up by its name: the one that is meant, and not the one that stands in for unknown names.

Laws: pure. A catalogue is any function from name to service; the names that it knows are read from what it is made of,
and for suggestions only.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from choreo.saga.calling import UnfitService
from choreo.saga.raised import expect_no_ctrl_c, in_a_line
from choreo.saga.service import Service, ServiceOf, stand_in_of

NAMES_MAX, NAME_MAX, NAMED_MAX, ENCLOSED_MAX = 1_000, 60, 8, 50


class UnknownService(ValueError):
    """A definition names a service that the services given do not know."""


def known_services(service_of: ServiceOf, names: Iterable[str]) -> dict[str, Service]:
    """The service of each name, which is no stand-in. Raises `UnknownService`, with the nearest name."""
    services = {name: _service(service_of, name) for name in names}
    stand_in = stand_in_of(service_of)
    if stand_in is None or serves_every_name(service_of, services.values()):
        return services
    for name, service in services.items():
        if service is stand_in:
            raise UnknownService(f"{_expected(name)}{_known(service_of, name)}")
    return services


def serves_every_name(service_of: ServiceOf, services: Iterable[Service]) -> bool:
    """Whether a catalogue has one service for whatever it is asked for: then that stands in for nobody."""
    stand_in = stand_in_of(service_of)
    return all(service is stand_in for service in services) and next(_names_of(service_of), None) is None


def _service(service_of: ServiceOf, name: str) -> Service:
    try:
        service: Service | None = service_of(name)
    except UnfitService:
        raise
    except KeyError:
        raise UnknownService(f"{_expected(name)}{_known(service_of, name)}") from None
    except BaseException as error:  # whatever somebody else's catalogue raises
        expect_no_ctrl_c(error)
        raise UnknownService(f"{_expected(name)} ({in_a_line(error)}){_known(service_of, name)}") from None
    if service is None:
        raise UnknownService(f"{_expected(name)}{_known(service_of, name)}")
    return service


def _expected(name: str) -> str:
    return f"service: expected one of the services given, got {name[:NAME_MAX]!r}, which they do not know"


def _known(service_of: ServiceOf, name: str) -> str:
    """The nearest name; where none is near, the names that there are, as far as that can be seen."""
    from difflib import get_close_matches  # seldom needed

    names = [each[:NAME_MAX] for each in islice(dict.fromkeys(_names_of(service_of)), NAMES_MAX)]
    close = get_close_matches(name[:NAME_MAX], names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"; they know {', '.join(map(repr, names[:NAMED_MAX]))}{more}" if names else ""


def _names_of(service_of: ServiceOf) -> Iterator[str]:
    """The keys of the mappings that a catalogue looks names up in: its own, or those that its function encloses."""
    looked_at: list[Any] = [service_of]
    for each in looked_at:  # which grows
        if isinstance(each, Mapping):
            yield from (key for key in each if isinstance(key, str))
        elif callable(each) and len(looked_at) < ENCLOSED_MAX:
            looked_at += [getattr(each, "__self__", None), *_enclosed(each)]


def _enclosed(function: Any) -> Iterator[Any]:
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # a cell that is empty
            yield cell.cell_contents
