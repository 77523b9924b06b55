"""Whether the files of an open database are still those at their paths.

SQLite does not notice when they were deleted or replaced: it would go on writing where nobody reads any more, and who
opens the path anew would know none of the request ids.
"""

from pathlib import Path

from sidecar.stores.store import StoreFailure

_LOG_SUFFIX = "-wal"


class OpenFile:
    """The database and its write-ahead log, as they were when they were opened."""

    def __init__(self, path: Path) -> None:
        """Note the database, which must be there: before it is opened, so that no other can come in between."""
        self._log = path.with_name(path.name + _LOG_SUFFIX)
        self._marks = [(path, _mark(path))]

    def note_log(self) -> None:
        """Note the log, which is there once the database was written to, where the file system allows one at all."""
        if self._log.exists():
            self._marks.append((self._log, _mark(self._log)))

    def check(self) -> None:
        """Raise `StoreFailure` when a file is not at its path any more."""
        for file, mark in self._marks:
            try:
                found = _mark(file)
            except FileNotFoundError:
                raise StoreFailure("file_gone") from None
            if found != mark:
                raise StoreFailure("file_replaced")


def _mark(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_dev, status.st_ino
