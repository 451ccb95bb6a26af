"""Preview, manual and callback calls, and a websocket that is cut: the agent's day, end to end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.lab.agents import LabAgent
from tests.lab.callcentre import CallCentre
from tests.lab.process import until
from tests.lab.scenario import number
from tests.lab.verdict import numbered, same_story

pytestmark = pytest.mark.e2e

CODES = [
    {"code": "done", "label": "Done", "contact": True},
    {"code": "later", "label": "Call back", "callback": True, "final": False},
]


def messages(agent: LabAgent, kind: str) -> list[dict[str, Any]]:
    return [m["data"] for _, m in agent.messages if m["type"] == kind]


async def previews(agent: LabAgent, name: str) -> None:
    """Wait until this person's preview is on the screen."""
    await agent.until("previewing")
    await until(
        lambda: bool(shown := messages(agent, "preview")) and shown[-1]["customer"]["name"] == name,
        timeout=5,
        what=f"{name}'s preview",
    )


async def talk(agent: LabAgent, **disposition: Any) -> str:
    """Speak with the person on the line, hang up, and say what it was; the call's id."""
    await agent.until("on_call")
    await asyncio.sleep(0.3)  # the length of the conversation
    call_id = str(messages(agent, "pop")[-1]["call_id"])
    assert (await agent.command("hang_up"))["ok"]
    await agent.until("wrap_up")
    answer = await agent.command("disposition", call_id=call_id, **disposition)
    assert answer["ok"], answer
    return call_id


async def test_an_agents_day_of_preview_manual_and_callback_calls() -> None:
    async with CallCentre(agents=1) as centre:
        made = await centre.post(
            "/campaigns",
            {
                "name": "known customers",
                "dispositions": CODES,
                "settings": {
                    "rules_profile": "laboratory",
                    "mode": "preview",
                    "caller_id": "+12125550100",
                    "ring_timeout": 8,
                },
            },
        )
        campaign = made["id"]
        ada, bob = (
            {"number": number(behaviour=1, index=i), "name": name}
            for i, name in enumerate(("Ada", "Bob"))
        )
        busy = number(behaviour=2, index=7)
        await centre.load(campaign, [ada, bob])
        # wrap (0, 0) and talk None: the test is the agent.
        await centre.add_agents([campaign], talk=None, wrap=(3600.0, 3600.0))
        (agent,) = centre.agents
        await centre.post(f"/campaigns/{campaign}/start")

        # A preview is shown; nobody is called until the agent says so.
        await previews(agent, "Ada")
        assert not centre.public.truth()
        assert (await agent.command("preview_dial"))["ok"]
        at = datetime.now(UTC) + timedelta(seconds=4)
        first = await talk(
            agent, code="later", callback_at=at.isoformat(), callback_mine=True, then="pause"
        )

        # A manual call to a number that nobody has loaded, while paused; and paused again.
        await agent.until("paused")
        answer = await agent.command("manual_call", campaign_id=campaign, number=busy)
        assert answer["ok"], answer
        await agent.until("wrap_up")
        ended = messages(agent, "call_ended")[-1]
        assert (ended["call_id"], ended["outcome"]) == (answer["data"]["call_id"], "busy")
        busy_id = ended["call_id"]
        answer = await agent.command("disposition", call_id=busy_id, code="done")
        assert answer["ok"], answer
        await agent.until("paused")

        # The socket is cut; what was missed comes afterwards, once.
        before = len(agent.messages)
        await agent.cut()
        await centre.post(f"/campaigns/{campaign}/pause")
        await agent.connect(resume=True)
        assert (await agent.command("ready"))["ok"]
        await agent.until("ready")
        assert not any(m["type"] == "snapshot" for _, m in agent.messages[before:])
        numbered(m for _, m in agent.messages)

        # The promised callback comes first once it is due, to the agent who promised it.
        await until(lambda: datetime.now(UTC) > at, timeout=10, what="the agreed time")
        await centre.post(f"/campaigns/{campaign}/start")
        await previews(agent, "Ada")
        assert (await agent.command("preview_dial"))["ok"]
        second = await talk(agent, code="done", note="spoke twice")
        await previews(agent, "Bob")
        assert (await agent.command("preview_skip"))["ok"]

        page = await centre.post(f"/calls?campaign_id={campaign}", method="GET")
        calls = {c["id"]: c for c in page["items"]}
        truth = await centre.public.truth_of(3, timeout=10, ended=True)
        same_story(calls.values(), truth)
        assert [t.number for t in truth] == [ada["number"], busy, ada["number"]]
        assert (calls[first]["disposition"], calls[second]["disposition"]) == ("later", "done")
        assert calls[second]["note"] == "spoke twice"
        assert calls[busy_id]["disposition"] == "done"
        assert [calls[c]["mode"] for c in (first, busy_id, second)] == [
            "preview", "manual", "preview",
        ]  # fmt: skip
