"""The verdict against an independent oracle, at every edge of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.compliance.check import Allow, Block, Defer, Request, Verdict, check
from dialer.compliance.profile import (
    UnknownProfile,
    known_profiles,
    laboratory_allowed,
    load_profile,
)
from dialer.domain.campaign import CampaignSettings
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
    assisted: bool = False,
) -> Verdict:
    return check(
        Request(
            number=number,
            region=region,
            zone=zone,
            consent=False,
            assisted=assisted,
            history=history or ContactHistory(),
            settings=campaign or CampaignSettings(),
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
    assert isinstance(ask("uk", zone="Europe/London", history=history, assisted=True), Allow)


def test_campaign_hours_only_narrow() -> None:
    narrow = CampaignSettings(calling_hours=((600, 660),))
    assert isinstance(ask(campaign=narrow), Defer)
    wide = CampaignSettings(calling_hours=((0, 1440),))
    night = datetime(2026, 3, 4, 6, 0, tzinfo=UTC)
    assert isinstance(ask(campaign=wide, now=night), Defer)


def test_unknown_country_is_blocked_and_the_laboratory_allows() -> None:
    assert ask(number="+99912345678", region="", zone=None) == Block("unknown_region")
    assert isinstance(ask("laboratory", number="+12000000000", region="", zone=None), Allow)


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
