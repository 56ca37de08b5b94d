"""Sagas in the journal: the definition as JSON text, its digest, and back.

Laws: pure. A run is kept with the definition that it was begun with, so that a later version of the saga does not
change it; equal definitions have one row.
"""

import json
from functools import lru_cache
from hashlib import sha256

import msgspec

from choreo.saga.definition import Saga
from choreo.saga.file import definition_from
from choreo.saga.file.document import document_of
from choreo.saga.plan import Itinerary, itinerary_of

DIGEST_CHARACTERS = 32
SAGAS_CACHED = 256


def definition_text(saga: Saga) -> str:
    """Return the definition of a saga as JSON text in ASCII."""
    return json.dumps(msgspec.to_builtins(document_of(saga)))


def digest_of(definition: str) -> str:
    """Return the digest under which a definition is kept."""
    return sha256(definition.encode()).hexdigest()[:DIGEST_CHARACTERS]


@lru_cache(SAGAS_CACHED)
def saga_of_text(definition: str) -> Saga:
    """Return the saga of a definition. Raises `ValueError` for a text that is none."""
    return definition_from(json.loads(definition))


def saga_of_key(key: Itinerary | str) -> Saga:
    """Return the saga of step names, or of a definition as JSON text."""
    return saga_of_text(key) if isinstance(key, str) else Saga.of(key)


def shown_steps(saga: Saga) -> Itinerary:
    """Return the steps of a saga for people: in groups where they have such an order, and otherwise one by one."""
    plan = saga.plan
    return itinerary_of(plan) or plan.steps
