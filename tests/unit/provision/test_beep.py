"""The agent's beep is short and where Asterisk looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from telephony.provision.beep import write_beep
from tests.lab.sounds import RATE, power_at, read_wav

pytestmark = pytest.mark.unit


def test_the_beep_is_a_tone_of_at_most_eighty_milliseconds(tmp_path: Path) -> None:
    file = write_beep(tmp_path)
    assert file == tmp_path / "sounds/dialer/beep.wav"
    samples = read_wav(file)
    assert 0.04 * RATE <= len(samples) <= 0.08 * RATE
    assert power_at(samples, 1000) > 0.8
    assert max(map(abs, samples[:8])) < 1000 > max(map(abs, samples[-8:])), "no click"
