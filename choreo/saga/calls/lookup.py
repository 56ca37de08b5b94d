"""Lookup of services by name, which tells a known service from the stand-in for unknown names.

Laws: pure. A catalogue is any function from name to service. Its known names are read from its mappings and closures,
and are used for suggestions only.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from choreo.saga.calls.calling import UnfitService
from choreo.saga.raised import expect_no_ctrl_c, in_a_line
from choreo.saga.service import Service, ServiceOf, stand_in_of

NAMES_MAX, NAME_MAX, NAMED_MAX, ENCLOSED_MAX = 1_000, 60, 8, 50


class UnknownService(ValueError):
    """A definition names a service that is not in the catalogue."""


def known_services(service_of: ServiceOf, names: Iterable[str]) -> dict[str, Service]:
    """Return the service of each name, never the stand-in. Raises `UnknownService`, with the nearest name."""
    services = {name: _service(service_of, name) for name in names}
    stand_in = stand_in_of(service_of)
    if stand_in is None or serves_every_name(service_of, services.values()):
        return services
    for name, service in services.items():
        if service is stand_in:
            raise UnknownService(f"{_expected(name)}{_known(service_of, name)}")
    return services


def serves_every_name(service_of: ServiceOf, services: Iterable[Service]) -> bool:
    """True if the catalogue returns one service for every name, which then is not a stand-in."""
    stand_in = stand_in_of(service_of)
    return all(service is stand_in for service in services) and next(_names_of(service_of), None) is None


def _service(service_of: ServiceOf, name: str) -> Service:
    try:
        service: Service | None = service_of(name)
    except UnfitService:
        raise
    except KeyError:
        raise UnknownService(f"{_expected(name)}{_known(service_of, name)}") from None
    except BaseException as error:  # the catalogue comes from outside, and may raise any exception
        expect_no_ctrl_c(error)
        raise UnknownService(f"{_expected(name)} ({in_a_line(error)}){_known(service_of, name)}") from None
    if service is None:
        raise UnknownService(f"{_expected(name)}{_known(service_of, name)}")
    return service


def _expected(name: str) -> str:
    return f"service: expected one of the services given, got {name[:NAME_MAX]!r}, which they do not know"


def _known(service_of: ServiceOf, name: str) -> str:
    """Return the nearest known name as a suggestion, or else the list of known names, as far as it can be read."""
    from difflib import get_close_matches  # imported here because it is seldom needed

    names = [each[:NAME_MAX] for each in islice(dict.fromkeys(_names_of(service_of)), NAMES_MAX)]
    close = get_close_matches(name[:NAME_MAX], names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"; they know {', '.join(map(repr, names[:NAMED_MAX]))}{more}" if names else ""


def _names_of(service_of: ServiceOf) -> Iterator[str]:
    """Yield the keys of the catalogue's mappings: its own, or those in the closure of its function."""
    looked_at: list[Any] = [service_of]
    for each in looked_at:  # the list grows during the loop
        if isinstance(each, Mapping):
            yield from (key for key in each if isinstance(key, str))
        elif callable(each) and len(looked_at) < ENCLOSED_MAX:
            looked_at += [getattr(each, "__self__", None), *_enclosed(each)]


def _enclosed(function: Any) -> Iterator[Any]:
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # an empty cell
            yield cell.cell_contents
