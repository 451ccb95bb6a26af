"""What people hear through the whole product: each other, and the message when nobody comes."""

from __future__ import annotations

import signal
from array import array
from pathlib import Path

import pytest

from tests.lab.callcentre import CallCentre
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.softphone import Softphone
from tests.lab.sounds import RATE, power_at, read_wav

pytestmark = pytest.mark.e2e

_AGENT, _PERSON = 700.0, 900.0
_CALLED = "+12125550199"
_WINDOW = 1.5


def strongest(samples: array[int], frequency: float) -> float:
    """The largest share that a frequency has in any half second."""
    half = RATE // 2
    return max(
        (power_at(samples[i : i + half], frequency) for i in range(0, len(samples) - half, half)),
        default=0.0,
    )


async def test_both_hear_each_other_and_both_are_in_the_recording(tmp_path: Path) -> None:
    async with (
        Softphone(host="127.0.0.53", tone=_AGENT) as phone,
        Softphone(host="127.0.0.54", tone=_PERSON) as person,
        CallCentre(agents=1, person=person) as centre,
    ):
        campaign = await centre.campaign("voice", max_attempts=1)
        await centre.load(campaign, [{"number": _CALLED, "name": "Ada"}])
        await centre.add_agents([campaign], phone=phone, talk=None)
        await centre.post(f"/campaigns/{campaign}/start")
        await person.until(lambda: bool(person.dialogs), timeout=20)
        await phone.until_hears(_PERSON, timeout=10)
        await person.until_hears(_AGENT, timeout=10)
        assert person.invites == [_CALLED]
        (agent,) = centre.agents
        pops = [m["data"] for _, m in agent.messages if m["type"] == "pop"]
        assert [p["customer"]["name"] for p in pops] == ["Ada"]
        began = person.dialog.answered_at
        await person.until(lambda: person.dialog.heard[-1].at > began + 2.0)  # something to record
        person.hang_up()
        call_id = pops[0]["call_id"]
        kept: list[bytes] = []

        async def stored() -> bool:
            answer = await centre.http.get(f"/api/v1/calls/{call_id}/recording")
            if answer.status_code == 200:
                sound = await centre.http.get(answer.json()["address"])
                kept.append(sound.content)
            return bool(kept)

        await until(stored, timeout=20, what="the recording to be in the store")
        file = tmp_path / "recording.wav"
        file.write_bytes(kept[0])
        samples = read_wav(file)
        # Both talk at once: each has about half of the energy.
        assert strongest(samples, _AGENT) > 0.3
        assert strongest(samples, _PERSON) > 0.3


@pytest.mark.parametrize("dialer", ["alive", "dead"])
async def test_nobody_comes_and_the_person_hears_the_message(dialer: str) -> None:
    async with (
        Softphone(host="127.0.0.53") as phone,
        Softphone(host="127.0.0.54", answer="after", delay=1.0) as person,
        CallCentre(agents=1, person=person) as centre,
    ):
        campaign = await centre.campaign("message", connect_window=_WINDOW, max_attempts=1)
        await centre.load(campaign, [{"number": _CALLED}])
        await centre.add_agents([campaign], phone=phone)
        await centre.post(f"/campaigns/{campaign}/start")
        await person.until(lambda: bool(person.dialogs), timeout=20)  # it rings
        (agent,) = centre.agents
        assert centre.dialer is not None
        if dialer == "dead":
            await centre.dialer.stop(number=signal.SIGKILL)
            injected("dialer: kill -9")
        else:
            await agent.command("pause", reason="break")
        await person.until(lambda: bool(person.dialog.answered_at))
        answered = person.dialog.answered_at
        await person.until(lambda: any(not p.silent for p in person.dialog.heard), timeout=5)
        first = next(p.at for p in person.dialog.heard if not p.silent)
        assert _WINDOW - 0.3 < first - answered < _WINDOW + 0.5, "no longer in silence"
        await person.until(lambda: person.dialog.ended_by == "far", timeout=30)
        assert sum(not p.silent for p in person.dialog.heard) * 0.02 > 4.0, "the whole message"
        if dialer == "dead":  # the next owner learns it from Asterisk's records
            await centre.start_dialer()
            await centre.sign_in()

        async def abandoned() -> bool:
            page = await centre.post(f"/calls?campaign_id={campaign}", method="GET")
            return [c["outcome"] for c in page["items"]] == ["abandoned"]

        await until(abandoned, timeout=10, what="the record of an abandoned call")
        figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
        assert figures["abandoned"] == 1
