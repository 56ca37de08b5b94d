"""Output of trace records: a file descriptor, written in batches.

Laws: a failed write never harms the node. It is reported once; all later records are dropped.
"""

import os
from collections.abc import Callable

BATCH = 512


class Sink:
    """Buffer of records, written on `flush` or when a batch is full.

    The first failed write calls `failed` with the error and ends the output.
    """

    def __init__(self, descriptor: int, failed: Callable[[OSError], None]) -> None:
        self._descriptor = descriptor
        self._failed = failed
        self._records: list[bytes] = []
        self._is_open = True

    def record(self, record: bytes) -> None:
        records = self._records
        records.append(record)
        if len(records) >= BATCH:
            self.flush()

    def flush(self) -> None:
        if self._records and self._is_open:
            self._records.append(b"")
            try:
                self._write(b"\n".join(self._records))
            except OSError as error:
                self._is_open = False
                self._failed(error)
        self._records.clear()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
