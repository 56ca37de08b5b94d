"""A bank that makes each payment once for each idempotency key, and writes down every call: one line of a file each.

Laws: it is outside: no journal keeps what it holds, and every node, runner and process that is given the file asks the
same bank. Also a module of services for a node of its own, `--services tests.bank`: each step is a payment of its own,
whose purpose is the step's name.
"""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from choreo.saga.service import Refused, ServiceOf

FILE = "CHOREO_TEST_BANK"
"""The environment names the file of the bank."""

REFUSED, DEADLY = "refused", "deadly"
"""A purpose that begins so is refused; or paid, and the process is killed before the answer arrives, the first time."""

NOTHING: Mapping[str, str] = {}


class Call(NamedTuple):
    """What the bank was asked for: `action` is `pay` or `refund`."""

    key: str
    action: str
    purpose: str


class Bank:
    """The bank that is kept in a file."""

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
        """The purposes that were paid: one payment for each key, as banks do it."""
        return list({call.key: call.purpose for call in reversed(self.calls) if call.action == "pay"}.values())

    @property
    def keys(self) -> list[str]:
        return [call.key for call in self.calls]

    @property
    def collisions(self) -> list[set[Call]]:
        """The calls that differ and have one key."""
        calls: dict[str, set[Call]] = {}
        for call in self.calls:
            calls.setdefault(call.key, set()).add(call)
        return [each for each in calls.values() if len(each) > 1]


class Payment:
    """The service of one step, which holds nothing."""

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
