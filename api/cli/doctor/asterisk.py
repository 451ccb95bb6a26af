"""One Asterisk node: its accounts and their rights, version, modules, clock, trunks, channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from uuid import UUID

from api.cli.doctor.database import AGAIN
from api.cli.doctor.findings import Finding, note, ok, problem, repaired
from api.readiness import SKEW
from api.settings import NodeSettings, Settings
from dialer.engine.agents import agent_of_leg
from dialer.store import stuck
from dialer.store.database import Database
from telephony.ami.visit import Visit, visit
from telephony.clock import Clock
from telephony.events import ChannelSnapshot
from telephony.provision.render import MODULES
from telephony.switch import NotSent, Refused, SwitchError

_OLDEST = 20  # the oldest Asterisk that the tests run on

#: What each account must be able to do, and nothing else.
_RIGHTS = {
    "call": frozenset({"call", "originate", "reporting"}),
    "provision": frozenset({"config"}),
    "record": frozenset({"system"}),
}


async def node(
    settings: Settings,
    node: NodeSettings,
    *,
    database: Database | None,
    clock: Clock,
    repair: bool,
) -> AsyncIterator[Finding]:
    """All of one node; `database` is None when it does not answer."""
    async with AsyncExitStack() as stack:
        visits: dict[str, Visit] = {}
        for kind, user, secret in (
            ("call", node.user, node.secret.get_secret_value()),
            ("provision", node.provision_user, node.provision_secret.get_secret_value()),
            ("record", node.record_user, node.record_secret.get_secret_value()),
        ):
            check = f"account {user} of {node.name}"
            if not secret:
                without = (
                    "phones are not provisioned" if kind == "provision" else "nothing is recorded"
                )
                yield note(check, f"its secret is not set: {without} by the dialer")
                continue
            found, there = await _enter(stack, node, user=user, secret=secret, check=check)
            if there is not None:
                visits[kind] = there
                found = await _rights(there, kind, user, check)
            yield found
            if there is None and kind == "call":
                return  # nobody there, or the wrong one: nothing else can be asked
        async for finding in _look(settings, node, visits, database, clock=clock, repair=repair):
            yield finding


async def _enter(
    stack: AsyncExitStack, node: NodeSettings, *, user: str, secret: str, check: str
) -> tuple[Finding, Visit | None]:
    where = f"{node.host}:{node.port}"
    try:
        there = await stack.enter_async_context(visit(node.host, node.port, user, secret))
    except Refused:
        return problem(
            check,
            f"AMI at {where} refuses {user}",
            "compare user and secret with manager.conf; look at its permit lines, and reload it",
        ), None
    except NotSent as error:
        return problem(check, f"the account cannot be sent: {error}", "correct the setting"), None
    except (OSError, TimeoutError, SwitchError) as error:
        return problem(
            check,
            f"no AMI at {where}: {type(error).__name__}",
            "is Asterisk running, and does manager.conf bind to that address?",
        ), None
    return ok(check, ""), there


async def _rights(there: Visit, kind: str, user: str, check: str) -> Finding:
    wanted, has = _RIGHTS[kind], await there.rights()
    missing, more = sorted(wanted - has), sorted(has - wanted)
    if missing:
        return problem(
            check,
            f"lacks the right to write {', '.join(missing)}",
            f"manager.conf, [{user}]: write = {','.join(sorted(wanted))}",
        )
    if more:
        return problem(
            check,
            f"may write {', '.join(more)} too, which it does not need",
            f"manager.conf, [{user}]: write = {','.join(sorted(wanted))} and nothing else",
        )
    return ok(check, f"is let in and may write {', '.join(sorted(has))}, no more")


async def _look(
    settings: Settings,
    node: NodeSettings,
    visits: dict[str, Visit],
    database: Database | None,
    *,
    clock: Clock,
    repair: bool,
) -> AsyncIterator[Finding]:
    call, system = visits["call"], visits.get("record")
    try:
        yield await _version(call, node)
        yield await _clock(call, node, clock)
        if system is None:
            yield note(
                f"modules and trunks of {node.name}",
                "not looked at: only an account with the right `system` may ask",
                "set record_secret, or look with `asterisk -rx 'module show'`",
            )
        else:
            yield await _modules(system, node)
            for trunk in settings.trunks:
                if trunk.node == node.name:
                    yield await _trunk(system, node, trunk.name)
        if database is not None:
            async for finding in _channels(call, node, database, repair=repair):
                yield finding
    except (SwitchError, ValueError) as error:
        yield problem(
            f"node {node.name}", f"stopped answering: {error}", "look at Asterisk's log, ask again"
        )


async def _version(there: Visit, node: NodeSettings) -> Finding:
    (answer,) = await there.ask("CoreSettings")
    version = str(answer.get("asteriskversion"))
    check = f"version of {node.name}"
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < _OLDEST:
        return problem(check, f"Asterisk {version}", f"upgrade it: {_OLDEST} or newer is tested")
    return ok(check, f"Asterisk {version}")


async def _clock(there: Visit, node: NodeSettings, clock: Clock) -> Finding:
    before = clock.now().timestamp()
    theirs = await there.clock()
    skew = theirs - (before + clock.now().timestamp()) / 2
    check = f"clock of {node.name}"
    if abs(skew) < SKEW:
        return ok(check, f"{abs(skew):.2f} s from ours")
    return problem(
        check,
        f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} ours",
        "run an NTP service on both machines: calls are concluded from the node's records",
    )


async def _modules(there: Visit, node: NodeSettings) -> Finding:
    missing = []
    for module in MODULES:
        try:
            await there.ask("ModuleCheck", Module=f"{module}.so")
        except Refused:
            missing.append(module)
    check = f"modules of {node.name}"
    if missing:
        return problem(
            check,
            f"not loaded: {', '.join(missing)}",
            "load them in modules.conf as asterisk-conf/ does; is the package complete?",
        )
    return ok(check, f"all {len(MODULES)} are loaded")


async def _trunk(there: Visit, node: NodeSettings, name: str) -> Finding:
    """Whether the endpoint is there, and what its qualifying says."""
    check = f"trunk {name}"
    try:
        answer = await there.ask("PJSIPShowEndpoint", Endpoint=name)
    except Refused:
        return problem(
            check,
            f"is no PJSIP endpoint of {node.name}",
            "add it to the node's trunks (ASTERISK_TRUNKS), or correct DIALER_TRUNKS",
        )
    states = {
        str(m.get("uri")): str(m.get("status"))
        for m in answer
        if str(m.get("event")) == "ContactStatusDetail"
    }
    away = [uri for uri, state in states.items() if state == "Unreachable"]
    if away and len(away) == len(states):
        return problem(
            check,
            f"{', '.join(away)} does not answer OPTIONS",
            "ask the carrier; look at the network, the firewall, the trunk's address",
        )
    if not states:
        return problem(
            check, "has no contact: nothing says where it leads", "give its aor a contact"
        )
    if not any(state == "Reachable" for state in states.values()):
        return note(check, "is configured; it is not qualified, so nobody knows whether it answers")
    return ok(check, "answers OPTIONS")


async def _channels(
    there: Visit, node: NodeSettings, database: Database, *, repair: bool
) -> AsyncIterator[Finding]:
    """Channels of ours that no open attempt knows, after asking twice."""
    check = f"channels of {node.name}"
    channels = await there.channels()
    orphans, strangers = await _orphans(channels, database)
    if orphans:
        await asyncio.sleep(AGAIN)
        channels = await there.channels()
        again, strangers = await _orphans(channels, database)
        orphans = [c for c in again if c.dialer_id in {o.dialer_id for o in orphans}]
    talking = [c for c in orphans if c.bridge_id]
    alone = [c for c in orphans if not c.bridge_id]
    if talking:
        yield note(
            f"conversations of {node.name}",
            f"{len(talking)} calls that are over in the database are in conversation: not touched",
            "if nobody speaks there, hang them up by hand: "
            + ", ".join(c.channel for c in talking),
        )
    if not alone:
        yield ok(check, f"{len(channels)} up, none orphaned")
    elif repair:
        for channel in alone:
            try:
                await there.ask("Hangup", Channel=channel.dialer_id)
            except Refused:
                pass  # it has ended by itself
        yield repaired(check, f"{len(alone)} orphaned calls hung up")
    else:
        yield problem(
            check,
            f"{len(alone)} calls are up that no open attempt knows: "
            + ", ".join(c.channel for c in alone),
            "`dialer doctor --repair` hangs them up, after asking again",
        )
    if strangers:
        yield note(
            f"strangers on {node.name}",
            f"{len(strangers)} calls carry a dialer's id that this database does not know",
            "another installation's? Then give it an Asterisk of its own",
        )
    async for finding in _legs(channels, node, database):
        yield finding


async def _orphans(
    channels: Sequence[ChannelSnapshot], database: Database
) -> tuple[list[ChannelSnapshot], list[ChannelSnapshot]]:
    """Calls whose attempt has ended, and calls of no attempt of ours. The channels were read
    first: a call that begins meanwhile is not among them."""
    calls: dict[UUID, ChannelSnapshot] = {}
    strangers: list[ChannelSnapshot] = []
    for channel in channels:
        if channel.kind != "call":
            continue
        try:
            calls[UUID(channel.dialer_id)] = channel
        except ValueError:
            strangers.append(channel)
    async with database.read() as connection:
        known = await stuck.outcomes(connection, list(calls))
    strangers += [channel for key, channel in calls.items() if key not in known]
    return [calls[key] for key, outcome in known.items() if outcome is not None], strangers


async def _legs(
    channels: Sequence[ChannelSnapshot], node: NodeSettings, database: Database
) -> AsyncIterator[Finding]:
    """Agents' phones whose pool nobody owns: the next engine takes them over."""
    agents = {agent_of_leg(c.dialer_id) for c in channels if c.kind == "leg"} - {None}
    if not agents:
        return
    held = {row.pool_id for row in await stuck.leases(database) if row.held}
    async with database.read() as connection:
        pools = await stuck.pools_of_agents(connection, [a for a in agents if a is not None])
    alone = [agent for agent, pool in pools.items() if pool not in held]
    if alone:
        yield note(
            f"phones on {node.name}",
            f"{len(alone)} agents' phones are up and their pool has no owner",
            "start a dialer: it takes them over",
        )
