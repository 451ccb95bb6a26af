"""The agent's beep: short, because what the person says meanwhile is not heard.

Asterisk plays the sound `beep` to an agent as a person comes; its own lasts 0.4 s, in which the
person's "hello" is lost. Agents' legs speak the language `dialer`, which has nothing but this beep
(for everything else Asterisk falls back to its default language).
"""

from __future__ import annotations

import math
import struct
import sys
import wave
from pathlib import Path

LANGUAGE = "dialer"
_RATE, _SECONDS, _HERTZ, _LEVEL = 8000, 0.06, 1000, 0.25


def write_beep(data: Path) -> Path:
    """Write it below Asterisk's data folder (`astdatadir`); returns the file."""
    folder = data / "sounds" / LANGUAGE
    folder.mkdir(parents=True, exist_ok=True)
    count = int(_RATE * _SECONDS)
    # Rises and falls as half a sine: no click.
    samples = (
        math.sin(math.pi * n / count) * math.sin(2 * math.pi * _HERTZ * n / _RATE)
        for n in range(count)
    )
    with wave.open(str(folder / "beep.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(b"".join(struct.pack("<h", int(32767 * _LEVEL * s)) for s in samples))
    return folder / "beep.wav"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m telephony.provision.beep DATA_FOLDER")
    write_beep(Path(sys.argv[1]))
