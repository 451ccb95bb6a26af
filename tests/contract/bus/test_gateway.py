"""Commands reach the owner once, or the caller is told; on both buses."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from dialer.domain.errors import Conflict, DialerError, LeaseLost, NotFound, Unavailable
from tests.contract.bus.rig import Rig
from tests.lab.process import until

pytestmark = pytest.mark.contract

Payload = Mapping[str, Any]


async def test_a_command_is_answered_by_the_owner_wherever_it_is_asked(rig: Rig) -> None:
    async def handler(command: str, payload: Payload) -> Payload:
        return {"command": command, **payload}

    assert not await rig.elsewhere.gateway.reaches(rig.pool)
    await rig.here.gateway.serve(rig.pool, handler)
    for bus in (rig.here, rig.elsewhere):
        assert await bus.gateway.reaches(rig.pool)
        answer = await bus.gateway.call(rig.pool, "agent.ready", {"agent_id": "x", "n": 1.5})
        assert answer == {"command": "agent.ready", "agent_id": "x", "n": 1.5}


async def test_many_commands_at_once_are_each_carried_out_once(rig: Rig) -> None:
    done: Counter[int] = Counter()

    async def handler(command: str, payload: Payload) -> Payload:
        await asyncio.sleep(0)
        done[payload["n"]] += 1
        return {"n": payload["n"]}

    await rig.here.gateway.serve(rig.pool, handler)
    answers = await asyncio.gather(
        *(rig.elsewhere.gateway.call(rig.pool, "x", {"n": n}) for n in range(100))
    )
    assert [a["n"] for a in answers] == list(range(100))
    assert done == Counter(range(100))


@pytest.mark.parametrize(
    "error",
    [
        Conflict("cannot pause in on_call", state="on_call"),
        NotFound("no such lead"),
        LeaseLost("the pool has another owner"),
    ],
)
async def test_the_owners_error_comes_back_as_what_it_was(rig: Rig, error: DialerError) -> None:
    async def handler(command: str, payload: Payload) -> Payload:
        raise error

    await rig.here.gateway.serve(rig.pool, handler)
    with pytest.raises(type(error)) as caught:
        await rig.elsewhere.gateway.call(rig.pool, "agent.pause", {})
    got = caught.value
    assert (got.status, got.slug, got.title) == (error.status, error.slug, error.title)
    assert (got.detail, got.fields) == (error.detail, error.fields)


async def test_without_an_owner_the_caller_knows_at_once(rig: Rig) -> None:
    async with asyncio.timeout(2):
        with pytest.raises(Unavailable, match="no engine"):
            await rig.elsewhere.gateway.call(uuid4(), "agent.ready", {}, timeout=60)


async def test_after_release_there_is_no_owner(rig: Rig) -> None:
    async def handler(command: str, payload: Payload) -> Payload:
        return {}

    release = await rig.here.gateway.serve(rig.pool, handler)
    await rig.elsewhere.gateway.call(rig.pool, "x", {})
    await release()

    async def gone() -> bool:
        return not await rig.elsewhere.gateway.reaches(rig.pool)

    await until(gone, timeout=5, what="the release")
    with pytest.raises(Unavailable):
        await rig.elsewhere.gateway.call(rig.pool, "x", {})


async def test_a_pool_that_moved_is_served_by_its_new_owner(rig: Rig) -> None:
    async def old(command: str, payload: Payload) -> Payload:
        return {"owner": "old"}

    async def new(command: str, payload: Payload) -> Payload:
        return {"owner": "new"}

    release = await rig.here.gateway.serve(rig.pool, old)
    await release()
    await rig.elsewhere.gateway.serve(rig.pool, new)
    for bus in (rig.here, rig.elsewhere):
        assert await bus.gateway.call(rig.pool, "x", {}) == {"owner": "new"}


async def test_an_owner_that_does_not_answer_is_given_up_in_time(rig: Rig) -> None:
    finished = False

    async def handler(command: str, payload: Payload) -> Payload:
        nonlocal finished
        await asyncio.Event().wait()
        finished = True
        return {}

    await rig.here.gateway.serve(rig.pool, handler)
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable, match="not answered within"):
            await rig.elsewhere.gateway.call(rig.pool, "x", {}, timeout=0.2)
    assert not finished


async def test_a_signal_reaches_every_process_once(rig: Rig) -> None:
    heard: list[str] = []
    for name, bus in {"here": rig.here, "elsewhere": rig.elsewhere}.items():
        bus.on_signal("pools", lambda name=name: heard.append(name))  # type: ignore[misc]
    rig.here.signal("pools")
    await until(lambda: len(heard) >= 2, timeout=5, what="the signal")
    assert sorted(heard) == ["elsewhere", "here"]
