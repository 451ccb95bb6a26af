"""The campaign that is played twice, and its people: as numbers for SIPp, with the times that the
agents need for them. They are drawn by the simulator itself, so that both play the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pacing.simulator import Campaign, Signals, Spread
from pacing.simulator.fates import Fate, Fates
from tests.lab.drawn import ANSWERS, BUSY, MOST, RINGS, drawn_number

AGENTS = 20
CAP = 0.03  # of live answers
#: Times some eight times shorter than usual, so that a thousand answers take a quarter of an hour.
CAMPAIGN = Campaign(
    p=0.35,
    busy=0.12,
    failing=Spread(1.0, 0.5),
    ring=Spread(3.0, 0.5),
    timeout=7.0,
    talk=13.0,
    talk_cv=0.6,
    wrap=Spread(3.0, 0.5),
    window=2.0,
    # SIPp says 180 as soon as it has read the INVITE; a busy line says nothing but 100.
    signals=Signals(ringing=Spread(0.03, 0.3), ringback=0.0, announced=0.0, silent=0.0),
)


@dataclass(frozen=True, slots=True)
class Person:
    """Who is called, and how long an agent needs for them, s."""

    number: str
    talk: float
    wrap: float


def draw(count: int, *, seed: int, campaign: Campaign = CAMPAIGN) -> list[Person]:
    """The first `count` people of the simulator's run of this seed, in its order."""
    people: list[Person] = []
    fates = Fates([seed], (campaign,))
    _, drawn = fates.take(np.array([count]))
    for index, fate in enumerate(drawn):
        luck = fate[Fate.ANSWER]
        if luck < campaign.p_now:
            number = drawn_number(ANSWERS, min(float(fate[Fate.RING]), MOST), index)
        elif luck > 1.0 - campaign.busy:
            number = drawn_number(BUSY, min(float(fate[Fate.FAIL]), MOST), index)
        else:
            number = drawn_number(RINGS, 0.0, index)
        talk = campaign.talk_now * float(fate[Fate.TALK])
        people.append(Person(number, talk, float(fate[Fate.WRAP])))
    return people
