"""Sounds of the lab: spoken messages and tones, made once and cached (8 kHz, mono)."""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
import wave
from array import array
from pathlib import Path

from tests.lab.tree import cache_folder

ABANDON_SOUND = "dialer-abandon"
HOLD_MUSIC = "hold"
RATE = 8000

_TEXT = (
    "Hello. This is the dialer laboratory, telephone 5 5 5 0 1 0 0. We called you and no agent "
    "was free. We are sorry. To get no more calls, press 9."
)


def sine(frequency: float, seconds: float, *, level: float = 0.3) -> array[int]:
    """16-bit samples of a tone."""
    top = int(32767 * level)
    return array(
        "h",
        (
            int(top * math.sin(2 * math.pi * frequency * n / RATE))
            for n in range(int(seconds * RATE))
        ),
    )


def to_ulaw(samples: array[int]) -> bytes:
    """G.711 mu-law."""
    return bytes(_ULAW[s + 32768] for s in samples)


def _encode(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    value = min(abs(sample), 32635) + 132
    exponent = max(value.bit_length() - 8, 0)
    mantissa = (value >> (exponent + 3)) & 0x0F
    return ~(sign | (exponent << 4) | mantissa) & 0xFF


_ULAW = bytes(_encode(s) for s in range(-32768, 32768))


def _decode(byte: int) -> int:
    byte = ~byte & 0xFF
    value = (((byte & 0x0F) << 3) + 132) << ((byte >> 4) & 7)
    return 132 - value if byte & 0x80 else value - 132


_LINEAR = tuple(_decode(b) for b in range(256))


def from_ulaw(data: bytes) -> array[int]:
    """16-bit samples from G.711 mu-law."""
    return array("h", (_LINEAR[b] for b in data))


def power_at(samples: array[int], frequency: float) -> float:
    """Share of the signal's energy at `frequency` (Goertzel), 0 to 1."""
    n = len(samples)
    energy = sum(s * s for s in samples)
    if n == 0 or energy == 0:
        return 0.0
    coefficient = 2 * math.cos(2 * math.pi * frequency / RATE)
    s1 = s2 = 0.0
    for sample in samples:
        s1, s2 = sample + coefficient * s1 - s2, s1
    power = s1 * s1 + s2 * s2 - coefficient * s1 * s2
    return min(1.0, 2 * power / (n * energy))


def read_wav(path: Path) -> array[int]:
    with wave.open(str(path)) as file:
        if file.getframerate() != RATE or file.getnchannels() != 1 or file.getsampwidth() != 2:
            raise ValueError(f"{path}: expected 8 kHz mono 16 bit")
        data = file.readframes(file.getnframes())
    return array("h", struct.unpack(f"<{len(data) // 2}h", data))


def write_wav(path: Path, samples: array[int]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def make_sounds() -> Path:
    """The folder with the abandon message and tone files (ulaw, for SIPp)."""
    folder = cache_folder() / "sounds-3"
    if (folder / "complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    spoken = folder / "spoken.wav"
    if shutil.which("espeak-ng") and shutil.which("sox"):
        subprocess.run(["espeak-ng", "-s", "150", "-w", str(spoken), _TEXT], check=True)
        subprocess.run(
            ["sox", str(spoken), "-r", str(RATE), "-c", "1", "-b", "16",
             str(folder / f"{ABANDON_SOUND}.wav"), "norm", "-3"],
            check=True, capture_output=True,
        )  # fmt: skip
    else:
        raise RuntimeError("espeak-ng and sox are needed for the lab's sounds: run make setup")
    for frequency in (400, 500, 600, 800, 1000):
        (folder / f"tone{frequency}.ul").write_bytes(to_ulaw(sine(frequency, 20.0)))
    hold = array("h")
    for frequency in (330, 392, 494, 392):
        hold += sine(frequency, 1.0, level=0.1)
    write_wav(folder / f"{HOLD_MUSIC}.wav", hold)
    (folder / "complete").touch()
    return folder
