"""A full state folder at the first start: no half a key, a clear error, and a start when there is
room. A key of no characters would sign tokens that anybody can make.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from api.settings import Settings
from tests.lab.disk import SmallDisk
from tests.lab.faults import injected

pytestmark = pytest.mark.integration


@pytest.mark.full
def test_a_key_is_made_whole_or_not_at_all() -> None:
    with SmallDisk(megabytes=1) as disk:
        settings = Settings(folder=disk.folder / "state")
        settings.folder.mkdir()
        disk.fill()
        injected("state folder: disk full")
        with pytest.raises(OSError, match="No space left") as told:
            settings.signing_key()
        assert told.value.errno == errno.ENOSPC
        disk.free()
        key = settings.signing_key()
        assert len(key) >= 32 and settings.signing_key() == key
        assert [path.name for path in settings.folder.iterdir()] == ["secret"]


def test_a_key_that_an_earlier_full_disk_left_empty_is_refused(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path)
    (tmp_path / "secret").touch()
    with pytest.raises(ValueError, match="holds no key"):
        settings.signing_key()
