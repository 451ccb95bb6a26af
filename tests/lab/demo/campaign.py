"""The demo campaign: invented people, and a public that behaves like a real one, only faster."""

from __future__ import annotations

import random
from typing import Any

from tests.lab.scenario import number

NAME = "Spring offer"
SETTINGS: dict[str, Any] = {
    "mode": "ratio",
    "dial_ratio": 3.0,
    "target_abandon": 0.03,
    "connect_window": 2.0,
    "ring_timeout": 10.0,
    "wrap_up": 30.0,
    "max_attempts": 3,
    # Minutes and hours in a real campaign; here the second round should be seen.
    "retries": {
        "busy": {"delay": 15.0, "most": 2},
        "no_answer": {"delay": 40.0, "most": 1},
        "congestion": {"delay": 10.0, "most": 2},
        "failed": {"delay": 20.0, "most": 1},
        "hung_up_waiting": {"delay": 30.0, "most": 1},
        "abandoned": {"delay": 60.0, "most": 1},
    },
}


def settings(*, retry: float | None) -> dict[str, Any]:
    """The campaign's settings. `retry`: seconds between tries, instead of by outcome."""
    if retry is None:
        return SETTINGS
    rules = {
        outcome: {"delay": retry, "most": rule["most"]}
        for outcome, rule in SETTINGS["retries"].items()
    }
    return {**SETTINGS, "retries": rules}


#: What the called do (see tests/lab/scenario.py), out of a hundred.
_BEHAVIOUR = {0: 34, 1: 11, 2: 9, 3: 22, 4: 5, 5: 5, 6: 3, 7: 5, 8: 3, 9: 3}
#: Rings before the answer: most people need a few seconds.
_DELAY = {0: 2, 1: 3, 2: 6, 3: 12, 4: 16, 5: 20, 6: 18, 7: 12, 8: 7, 9: 4}
#: Conversations, in seconds less one.
_TALK = {2: 8, 3: 12, 4: 15, 5: 15, 6: 14, 7: 13, 8: 12, 9: 11}

_GIVEN = (
    "Ada", "Amir", "Ana", "Bela", "Carlos", "Chen", "Dora", "Emeka", "Eva", "Farid", "Grace",
    "Hana", "Ida", "Ivan", "Jana", "Jorge", "Kofi", "Lena", "Li", "Lucia", "Mara", "Mei", "Nadia",
    "Noor", "Olga", "Omar", "Petra", "Priya", "Rosa", "Samir", "Sofia", "Tomas", "Uma", "Vera",
    "Wei", "Yara", "Yusuf", "Zoe",
)  # fmt: skip
_FAMILY = (
    "Abara", "Bauer", "Costa", "Dahl", "Eriksen", "Ferrari", "Garcia", "Haddad", "Ito", "Jansen",
    "Kowalski", "Lindqvist", "Moreau", "Nowak", "Okafor", "Park", "Quist", "Rossi", "Sato",
    "Tanaka", "Ueda", "Varga", "Wang", "Xu", "Yilmaz", "Zhang",
)  # fmt: skip
_CITIES = ("Albany", "Boston", "Cleveland", "Denver", "El Paso", "Fresno", "Houston", "Tulsa")
_PLANS = ("basic", "family", "business")


def people(count: int) -> list[dict[str, Any]]:
    """Leads of persons who do not exist, the same ones every time."""
    rng = random.Random(20260302)
    return [
        {
            "number": number(
                behaviour=_one(rng, _BEHAVIOUR),
                index=index,
                delay=_one(rng, _DELAY),
                talk=_one(rng, _TALK),
            ),
            "name": f"{rng.choice(_GIVEN)} {rng.choice(_FAMILY)}",
            "external_key": f"demo-{index}",
            "attributes": {
                "city": rng.choice(_CITIES),
                "plan": rng.choice(_PLANS),
                "customer since": rng.randrange(2008, 2026),
            },
        }
        for index in range(count)
    ]


def _one(rng: random.Random, weights: dict[int, int]) -> int:
    return rng.choices(list(weights), weights=list(weights.values()))[0]
