"""A journal as it lies on disk: the file and its write-ahead log, and nothing that a living process needs besides."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

Files = Mapping[str, bytes]
"""What is in them, by what their names end with."""

NO_FILES: Files = {}


def files_of(path: Path) -> Files:
    return {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal") if Path(f"{path}{end}").exists()}


def put_back(path: Path, files: Files) -> None:
    """These, and no others."""
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    for end, data in files.items():
        Path(f"{path}{end}").write_bytes(data)


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory in memory where that can be had, otherwise any: for whoever is not interested in the disk."""
    memory = Path("/dev/shm")  # noqa: S108  # whether it is there is asked
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)
