"""The garbage collector must not stop the loop to look through what lives for ever."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

_PROGRAM = """
import gc
from api.runtime import spare_the_collector
before = len(gc.get_objects())
spare_the_collector()
print(before, len(gc.get_objects()))
"""


def test_after_the_start_the_collector_has_almost_nothing_to_look_through() -> None:
    # In a process of its own: what is frozen stays so, and the tests want their garbage collected.
    out = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    before, after = map(int, out.split())
    assert before > 100_000
    assert after < 1_000
