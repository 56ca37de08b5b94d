"""Services for a separate node that tests change between two starts: the steps that are served, and the calls that
kill.

Laws: the configuration is in files of the folder that the environment names; every call is logged there.
"""

import os
import signal
from pathlib import Path

from choreo.saga.service import Service, ServiceOf
from choreo.storage.sqlite.journal import Journal
from services.simulated import Simulated

FOLDER = "CHOREO_TEST_SHOP"


def folder() -> Path:
    return Path(os.environ[FOLDER])


class Shop:
    """Stateless service of one step."""

    def __init__(self, step: str) -> None:
        self._step = step

    def __getstate__(self) -> dict[str, object]:
        return {}

    def execute(self, reference: str) -> str:
        self._call("execute", reference)
        if (folder() / f"loses {self._step}").exists():
            raise TimeoutError("no answer")
        return reference

    def compensate(self, reference: str, receipt: object) -> None:
        self._call("compensate", reference)
        if _is_deadly("commit", self._step):
            Journal.commit = _die  # type: ignore[method-assign,assignment]  # what comes next is not written any more

    def _call(self, call: str, reference: str) -> None:
        with (folder() / "calls").open("a") as calls:
            calls.write(f"{call} {self._step}\n")
        if _is_deadly(call, self._step):
            _die()


def _is_deadly(call: str, step: str) -> bool:
    deadly = folder() / f"deadly {call} {step}"
    if not deadly.exists() or (left := int(deadly.read_text())) == 0:
        return False
    deadly.write_text(str(left - 1))
    return True


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class RenamedShop(Shop):
    """Same service under another class name."""


def catalogue() -> ServiceOf:
    """Return one service for each step named in the file `served`; the file `others` decides about all other steps."""
    kind = RenamedShop if (folder() / "renamed").exists() else Shop
    served: dict[str, Service] = {step: kind(step) for step in (folder() / "served").read_text().split()}
    others = (folder() / "others").read_text()
    if others == "nobody":
        return served.__getitem__
    simulated = Simulated()
    if others == "a new one each":
        return lambda step: served.get(step) or Simulated()
    return lambda step: served.get(step, simulated)
