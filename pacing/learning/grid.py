"""The grids on which pacing looks ahead."""

from __future__ import annotations

import numpy as np

#: Seconds from now: ends of the stretches in which an answer may land, and their middles.
LANDING = np.array([0, 1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 32], dtype=np.float64)
MIDDLES = (LANDING[1:] + LANDING[:-1]) / 2
HORIZONS = len(MIDDLES)
AHEAD = 33  # s that tables are computed for
AGES = 64  # 1-s bins of ringing
PHASES = 3  # nothing but 100, ringing, early media

TALK = np.array(
    [0, 3, 6, 10, 15, 20, 27, 35, 45, 57, 72, 90, 110, 135, 165, 200, 245, 300, 370, 450, 550, 700,
     900, 1200, 1800, 3600], dtype=np.float64,
)  # fmt: skip
WRAP = np.array(
    [0, 2, 4, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 65, 90, 130, 200, 600], dtype=np.float64
)
