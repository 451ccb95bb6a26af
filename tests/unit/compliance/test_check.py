"""The verdict against an independent oracle, at every edge of the clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.compliance.check import (
    Allow,
    Block,
    Defer,
    Mode,
    Number,
    Person,
    Request,
    Verdict,
    check,
)
from dialer.compliance.profile import (
    UnknownProfile,
    known_profiles,
    laboratory_allowed,
    load_profile,
)
from dialer.domain.campaign import CampaignSettings, DialMode, Purpose
from dialer.domain.numbers import BadNumber, parse_number, zones_of
from dialer.domain.work import ContactHistory

pytestmark = pytest.mark.unit

NOON = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)  # Wednesday, inside US hours everywhere on land


def ask(
    profile: str = "us_tsr",
    *,
    now: datetime = NOON,
    zone: str | None = "America/New_York",
    history: ContactHistory | None = None,
    campaign: CampaignSettings | None = None,
    number: str = "+12125550100",
    region: str = "US",
    mode: Mode = Mode.PROGRESSIVE,
    caller_id: str = "+12125550199",
) -> Verdict:
    return check(
        Request(
            person=Person(zone),
            number=Number(number, region),
            caller_id=caller_id,
            purpose=Purpose.SERVICE,
            mode=mode,
            campaign=campaign or CampaignSettings(),
            history=history or ContactHistory(),
            now=now,
        ),
        load_profile(profile),
    )


def test_all_shipped_profiles_load_and_unknown_ones_do_not() -> None:
    assert set(known_profiles()) == {"laboratory", "uk", "us_tsr"}
    for name in known_profiles():
        assert load_profile(name).key == f"{name}@1"
    with pytest.raises(UnknownProfile):
        load_profile("../../etc/passwd")


EDGES = [
    datetime(2026, 3, 8, tzinfo=UTC),  # US clocks go forward
    datetime(2026, 11, 1, tzinfo=UTC),  # and back
    datetime(2026, 3, 29, tzinfo=UTC),  # UK forward
    datetime(2026, 10, 25, tzinfo=UTC),
]
ZONES = ["America/New_York", "America/Los_Angeles", "Europe/London", "Pacific/Honolulu"]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(EDGES),
    st.integers(-2 * 86400, 2 * 86400),
    st.sampled_from(ZONES),
    st.sampled_from(["us_tsr", "uk"]),
)
def test_never_allowed_outside_the_local_hours_and_defer_is_exact(
    edge: datetime, offset: int, zone: str, name: str
) -> None:
    now = edge + timedelta(seconds=offset)

    def oracle(at: datetime) -> bool:
        local = at.astimezone(ZoneInfo(zone))
        opens, closes = (9, 20) if name == "uk" and local.isoweekday() == 7 else (8, 21)
        return opens <= local.hour < closes

    verdict = ask(name, now=now, zone=zone)
    assert isinstance(verdict, Allow) is oracle(now)
    if isinstance(verdict, Defer):
        assert oracle(verdict.until)
        assert not oracle(verdict.until - timedelta(seconds=1))
        assert isinstance(ask(name, now=verdict.until, zone=zone), Allow)


def test_a_number_of_many_zones_must_be_open_in_all_of_them() -> None:
    toll_free = "+18005550100"
    assert len(zones_of(toll_free)) > 4
    morning = datetime(2026, 3, 4, 14, 0, tzinfo=UTC)  # 9:00 in New York, 4:00 in Honolulu
    assert isinstance(ask(now=morning, zone=None, number=toll_free), Defer)
    assert isinstance(ask(now=morning), Allow)


def test_do_not_call_blocks_in_every_profile() -> None:
    history = ContactHistory(do_not_call=("number:client",))
    for name in known_profiles():
        assert ask(name, history=history) == Block("do_not_call")


def test_attempt_limit_and_gap() -> None:
    times = tuple(NOON - timedelta(hours=h) for h in (1, 2, 3))
    verdict = ask("uk", zone="Europe/London", history=ContactHistory(person_attempts=times))
    assert isinstance(verdict, Defer)
    assert verdict.until >= times[-1] + timedelta(hours=24)
    gap = CampaignSettings(min_gap=7200)
    verdict = ask(history=ContactHistory(person_attempts=times[:1]), campaign=gap)
    assert verdict == Defer(NOON + timedelta(hours=1), "minimum_gap")


def test_rest_after_abandon_unless_an_agent_is_reserved() -> None:
    history = ContactHistory(last_abandon=NOON - timedelta(hours=1))
    assert isinstance(ask("uk", zone="Europe/London", history=history), Defer)
    assert isinstance(ask("uk", zone="Europe/London", history=history, mode=Mode.MANUAL), Allow)


def test_campaign_hours_only_narrow() -> None:
    narrow = CampaignSettings(calling_hours=((600, 660),))
    assert isinstance(ask(campaign=narrow), Defer)
    wide = CampaignSettings(calling_hours=((0, 1440),))
    night = datetime(2026, 3, 4, 6, 0, tzinfo=UTC)
    assert isinstance(ask(campaign=wide, now=night), Defer)


def test_unknown_country_is_blocked_and_the_laboratory_allows() -> None:
    assert ask(number="+99912345678", region="", zone=None) == Block("unknown_region")
    assert isinstance(ask("laboratory", number="+12000000000", region="", zone=None), Allow)


def test_a_profile_that_asks_for_a_caller_id_gets_one() -> None:
    assert ask(caller_id="") == Block("no_caller_id")
    assert isinstance(ask("laboratory", caller_id=""), Allow)


def test_a_zone_that_is_none_does_not_open_or_close_anything() -> None:
    """The record's word is no zone: the number's candidates hold, all of them."""
    verdict = ask(zone="Mars/Base", number="+12125550100")
    assert isinstance(verdict, Allow)
    assert (verdict.inputs["zones"], verdict.inputs["zone_from"]) == (
        ["America/New_York"],
        "number",
    )


def test_the_modes_of_rules() -> None:
    assert Mode.of(DialMode.RATIO, agent_reserved=False) is Mode.PREDICTIVE
    assert Mode.of(DialMode.PROGRESSIVE, agent_reserved=False) is Mode.PROGRESSIVE
    assert Mode.of(DialMode.PROGRESSIVE, agent_reserved=True) is Mode.MANUAL
    assert Mode.of(DialMode.PREVIEW, agent_reserved=True) is Mode.PREVIEW


def test_the_verdict_keeps_its_inputs() -> None:
    verdict = ask(history=ContactHistory(person_attempts=(NOON - timedelta(days=2),)))
    assert isinstance(verdict, Allow)
    assert verdict.compact() == {
        "verdict": "allow",
        "profile": "us_tsr@1",
        "zones": ["America/New_York"],
        "zone_from": "record",
        "region": "US",
        "purpose": "service",
        "mode": "progressive",
        "caller_id": "+12125550199",
        "consent": False,
        "attempts": 1,
        "last": "2026-03-02T18:00:00+00:00",
    }


def test_holidays_are_closed_where_the_profile_says_so() -> None:
    profile = replace(load_profile("us_tsr"), holidays_closed=True)
    independence = datetime(2025, 7, 4, 16, tzinfo=UTC)
    request = Request(
        Person("America/New_York"), Number("+12125550100", "US"), "+12125550199",
        Purpose.SERVICE, Mode.PROGRESSIVE, CampaignSettings(), ContactHistory(), independence,
    )  # fmt: skip
    verdict = check(request, profile)
    assert verdict == Defer(datetime(2025, 7, 5, 12, tzinfo=UTC), "calling_hours")


MOMENTS = st.integers(0, 366 * 86_400_000_000).map(
    lambda us: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
)
PAST = st.lists(st.integers(0, 5 * 86400), max_size=6).map(sorted)
WINDOWS = st.lists(
    st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda w: w[0] != w[1]), max_size=2
).map(tuple)


@settings(max_examples=400, deadline=None)
@given(
    now=MOMENTS,
    name=st.sampled_from(["us_tsr", "uk", "laboratory"]),
    person=PAST,
    number=PAST,
    abandoned=st.none() | st.integers(0, 4 * 86400),
    machine=st.none() | st.integers(0, 4 * 86400),
    gap=st.sampled_from([0.0, 1.5, 3600.0, 90 * 86400.0]),
    windows=WINDOWS,
    mode=st.sampled_from(list(Mode)),
    called=st.sampled_from(
        [("+12125550100", "US", None), ("+18005550100", "US", None), ("+442079460958", "GB", None),
         ("+61400123456", "AU", None), ("+12125550100", "US", "Pacific/Apia")]
    ),
)  # fmt: skip
def test_defer_is_later_than_now_and_the_same_question_is_then_allowed(
    now: datetime,
    name: str,
    person: list[int],
    number: list[int],
    abandoned: int | None,
    machine: int | None,
    gap: float,
    windows: tuple[tuple[int, int], ...],
    mode: Mode,
    called: tuple[str, str, str | None],
) -> None:
    def ago(seconds: int | None) -> datetime | None:
        return None if seconds is None else now - timedelta(seconds=seconds)

    history = ContactHistory(
        person_attempts=tuple(now - timedelta(seconds=s) for s in person),
        number_attempts=tuple(now - timedelta(seconds=s) for s in number),
        last_abandon=ago(abandoned),
        last_machine=ago(machine),
    )
    campaign = CampaignSettings(min_gap=gap, calling_hours=windows)

    def again(at: datetime) -> Verdict:
        return ask(
            name, now=at, zone=called[2], history=history, campaign=campaign,
            number=called[0], region=called[1], mode=mode,
        )  # fmt: skip

    verdict = again(now)
    if isinstance(verdict, Defer):
        assert verdict.until > now
        assert verdict.until.tzinfo is not None
        assert isinstance(again(verdict.until), Allow)
        assert not isinstance(again(verdict.until - timedelta(microseconds=1)), Allow)
    elif isinstance(verdict, Block):
        assert verdict == Block("never_open")
        assert windows


@pytest.mark.parametrize(
    ("hosts", "allowed"),
    [
        (("127.0.0.2",), True),
        (("127.0.0.2", "127.3.4.5"), True),
        (("127.0.0.2", "192.0.2.1"), False),
        (("localhost",), False),
        (("127.0.0.2.example.org",), False),
        (("::1",), False),
        ((), False),
    ],
)
def test_the_laboratory_needs_loopback(hosts: tuple[str, ...], allowed: bool) -> None:
    assert laboratory_allowed(hosts) is allowed


@pytest.mark.parametrize(
    "text",
    ["", "abc", "+1212555\r\n0100", "+1\x002125550100", "9" * 10_000, "+١٢١٢٥٥٥٠١٠٠", "+12", "12"],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadNumber):
        parse_number(text)


def test_numbers_are_normalised() -> None:
    assert parse_number("(212) 555-0100", region="US").e164 == "+12125550100"
    assert parse_number("+44 20 7946 0958").region == "GB"
