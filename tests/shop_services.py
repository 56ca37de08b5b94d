"""Services for a node of its own that tests change between two starts: which steps are served, and which calls kill.

Laws: what is to be so stands in files of the folder that the environment names; every call is written down there.
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
    """A real service for one step. It holds nothing."""

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
    """The same under another name."""


def catalogue() -> ServiceOf:
    """The steps that the file `served` names are served by a service each; all others by what `others` says."""
    kind = RenamedShop if (folder() / "renamed").exists() else Shop
    served: dict[str, Service] = {step: kind(step) for step in (folder() / "served").read_text().split()}
    others = (folder() / "others").read_text()
    if others == "nobody":
        return served.__getitem__
    simulated = Simulated()
    if others == "a new one each":
        return lambda step: served.get(step) or Simulated()
    return lambda step: served.get(step, simulated)
