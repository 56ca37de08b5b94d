"""Bank that makes each payment once for each idempotency key, and logs every call: one line of a file each.

Laws: it is external. Its records are in no journal; every node, runner and process that is given the file asks the same
bank. Also a module of services for a separate node, `--services tests.bank`: each step is a separate payment, whose
purpose is the step's name.
"""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from choreo.saga.service import Refused, ServiceOf

FILE = "CHOREO_TEST_BANK"
"""Environment variable with the file of the bank."""

REFUSED, DEADLY = "refused", "deadly"
"""Prefixes of purposes. A refused one is never paid; a deadly one is paid, and the process is killed before the answer
arrives, the first time only.
"""

NOTHING: Mapping[str, str] = {}


class Call(NamedTuple):
    """Request to the bank: `action` is `pay` or `refund`."""

    key: str
    action: str
    purpose: str


class Bank:
    """Bank stored in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def call(self, call: Call) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(call) + "\n")

    @property
    def calls(self) -> list[Call]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [Call(*json.loads(line)) for line in lines]

    @property
    def payments(self) -> list[str]:
        """Return the purposes that were paid: one payment for each key, as banks do."""
        return list({call.key: call.purpose for call in reversed(self.calls) if call.action == "pay"}.values())

    @property
    def keys(self) -> list[str]:
        return [call.key for call in self.calls]

    @property
    def collisions(self) -> list[set[Call]]:
        """Return the sets of different calls that share a key."""
        calls: dict[str, set[Call]] = {}
        for call in self.calls:
            calls.setdefault(call.key, set()).add(call)
        return [each for each in calls.values() if len(each) > 1]


class Payment:
    """Stateless service of one step."""

    def __init__(self, purpose: str, file: str | None = None) -> None:
        self._purpose = purpose
        self._file = file or os.environ[FILE]

    def __getstate__(self) -> dict[str, object]:
        return {}

    def execute(self, reference: str) -> None:
        bank, call = Bank(Path(self._file)), Call(reference, "pay", self._purpose)
        if self._purpose.startswith(REFUSED):
            raise Refused("declined")
        is_first = call not in bank.calls
        bank.call(call)
        if self._purpose.startswith(DEADLY) and is_first:
            os.kill(os.getpid(), signal.SIGKILL)

    def compensate(self, reference: str, receipt: None) -> None:
        Bank(Path(self._file)).call(Call(reference, "refund", self._purpose))


def catalogue(file: str | None = None) -> ServiceOf:
    payments: dict[str, Payment] = {}

    def service_of(step: str) -> Payment:
        if step not in payments:
            payments[step] = Payment(step, file)
        return payments[step]

    return service_of
