"""Small pieces of the board's language: names of states, durations, rates, bars."""

from __future__ import annotations

from api.cli.board.figures import Campaign, clean

_BLOCKS = " ▏▎▍▌▋▊▉█"


def said(word: str) -> str:
    """A state or outcome as people read it."""
    return {"leg_lost": "phone lost", "wrap_up": "wrap-up"}.get(word, clean(word).replace("_", " "))


def seconds(value: float) -> str:
    """A duration: 7 s, 3:05, 2:10:00."""
    whole = int(max(value, 0.0))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def bar(value: float, most: float, room: int) -> str:
    """A bar of at most `room` cells in eighths of a cell; anything above nothing is seen."""
    if value <= 0 or most <= 0 or room <= 0:
        return ""
    eighths = max(round(min(value / most, 1.0) * room * 8), 1)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def percent(share: float) -> str:
    """One digit after the point where it says something."""
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"


def abandoned(campaign: Campaign) -> str:
    """The abandon rate in words, with its interval and its cap."""
    cap = f"cap {percent(campaign.abandon_cap)}"
    if campaign.rate is None:
        return f"nobody answered yet ({cap})"
    low, high = percent(campaign.abandon_low), percent(campaign.abandon_high)
    return (
        f"{percent(campaign.rate)} (95 %: {low} to {high}; {cap}): "
        f"{campaign.abandoned} of {campaign.live_answers}"
    )


def window(campaign: Campaign) -> str:
    """The time the figures of outcomes and abandoned calls are from."""
    hours = campaign.abandon_hours
    if hours <= 0:
        return ""
    return f"last {hours / 24:.0f} days" if hours > 48 else f"last {hours:.0f} h"


def judged(campaign: Campaign) -> str:
    """The colour of an abandon rate: over the cap, possibly over it, safely under it."""
    if campaign.rate is None:
        return "grey62"
    if campaign.rate > campaign.abandon_cap:
        return "bold red"
    return "yellow" if campaign.abandon_high > campaign.abandon_cap else "green"


def gauge(campaign: Campaign, room: int) -> str:
    """The interval, the rate and the cap on one scale, from 0 to twice the cap or further."""
    if room < 10 or campaign.rate is None:
        return ""
    top = min(max(2 * campaign.abandon_cap, campaign.rate * 1.25, 0.01), 1.0)

    def place(share: float) -> int:
        return min(int(min(max(share / top, 0.0), 1.0) * (room - 1)), room - 1)

    cells = ["·"] * room
    for cell in range(place(campaign.abandon_low), place(campaign.abandon_high) + 1):
        cells[cell] = "━"
    cells[place(campaign.abandon_cap)] = "┃"
    cells[place(campaign.rate)] = "●"
    return "".join(cells)
