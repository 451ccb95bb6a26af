"""A small disk of its own that can be filled to the last byte: a tmpfs, so root has to mount it.

A machine that does not let us is a failed test, not a skipped one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Self

_BLOCK = 64 * 1024


class SmallDisk:
    """`with SmallDisk(megabytes=8) as disk:`; it is at `disk.folder`."""

    def __init__(self, *, megabytes: int) -> None:
        self._megabytes = megabytes
        self._mounted = False

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="dialer-disk-"))
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m", "tmpfs", str(self.folder)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            self.folder.rmdir()
            raise RuntimeError(
                "this test fills a small disk and needs the right to mount a tmpfs (root, or "
                f"CAP_SYS_ADMIN in a container); mount said: {done.stderr.strip()}"
            )
        self._mounted = True
        return self

    def __exit__(self, *exc: object) -> None:
        if self._mounted:
            # Lazily: whoever still has a file open there is ended elsewhere.
            subprocess.run(["umount", "-l", str(self.folder)], check=True, capture_output=True)
            self.folder.rmdir()

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self) -> None:
        """Not one byte more fits."""
        handle = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = _BLOCK
            while size:
                try:
                    os.write(handle, b"x" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2
        finally:
            os.close(handle)

    def free(self) -> None:
        """There is room again."""
        with contextlib.suppress(FileNotFoundError):
            self._filler.unlink()
