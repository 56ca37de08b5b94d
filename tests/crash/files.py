"""Files of a journal on disk: the database and its write-ahead log, without the files that only a running process
needs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

Files = Mapping[str, bytes]
"""Contents of the files, by suffix of their names."""

NO_FILES: Files = {}


def files_of(path: Path) -> Files:
    return {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal") if Path(f"{path}{end}").exists()}


def put_back(path: Path, files: Files) -> None:
    """Restore these files, and remove all others."""
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    for end, data in files.items():
        Path(f"{path}{end}").write_bytes(data)


@contextmanager
def in_memory() -> Iterator[Path]:
    """Yield a directory in memory where the system has one, else on disk; for tests that do not depend on the disk."""
    memory = Path("/dev/shm")  # noqa: S108  # whether it is there is asked
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)
