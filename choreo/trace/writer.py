"""The trace: a structured record of everything that happens, written by structlog.

Laws: sees events, changes none. Every field but `time` follows from the input, so the same input gives the same trace.
Owner of structlog; imported only when a trace is asked for.
"""

import json
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import IO, Any

import msgspec
import structlog

from choreo.domain.event import Command, Defect, Event
from choreo.domain.service import Service, ServiceOf

Record = MutableMapping[str, Any]


class Format(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class Level(StrEnum):
    """`info`: what is published and replied. `debug`: each delivery and each call of a service too."""

    INFO = "info"
    DEBUG = "debug"


class Tracer:
    """Writes one record for each thing that it is told of. See docs/reference/trace.md for the fields."""

    def __init__(self, stream: IO[str], format: Format = Format.JSON, level: Level = Level.INFO) -> None:
        self._stream = stream
        self._log = structlog.wrap_logger(
            _Lines(stream.write),
            processors=[_Stamp(), *_renderers(format, stream)],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            cache_logger_on_first_use=True,
        ).bind()
        self._cause: Event | None = None  # what is being reacted to, and in the end the outcome

    def published(self, event: Event) -> None:
        self._cause = event
        self._log.info(event.topic.event, action="publish", **_fields(event), **_defect(event))

    def delivered(self, event: Event, hearer: str) -> None:
        self._cause = event
        self._log.debug(event.topic.event, action="deliver", **_fields(event) | {"source": hearer})

    def called(self, command: Command, step: str, reason: str | None) -> None:
        """A service was called: its local transaction (execute) or its compensation (compensate)."""
        cause = self._cause
        if cause is None:
            return
        extra = {} if reason is None else {"reason": reason}
        self._log.debug(
            f"step.{command}",
            action=str(command),
            saga_id=cause.run.saga_id,
            run=cause.run.id,
            source=step,
            step=step,
            causation_id=cause.id,
            **extra,
        )
