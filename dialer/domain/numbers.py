"""Telephone numbers as they come from outside, and what can be known from a number alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, timezone

_MOST = 40  # characters a person may type for a number

_KINDS = {
    phonenumbers.PhoneNumberType.FIXED_LINE: "fixed",
    phonenumbers.PhoneNumberType.MOBILE: "mobile",
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_or_mobile",
    phonenumbers.PhoneNumberType.TOLL_FREE: "toll_free",
    phonenumbers.PhoneNumberType.PREMIUM_RATE: "premium",
    phonenumbers.PhoneNumberType.VOIP: "voip",
}


class BadNumber(ValueError):
    """Not a telephone number; the text says why, without the number itself."""


@dataclass(frozen=True, slots=True)
class ParsedNumber:
    """A normalised number. `zones`: IANA names of every zone it may be in."""

    e164: str
    region: str  # ISO country, '' when it cannot be told
    kind: str
    valid: bool  # known to the numbering plan; a possible number may still not be


def parse_number(text: str, *, region: str | None = None) -> ParsedNumber:
    """Normalise; raises BadNumber. `region` reads numbers without a country code."""
    if not text or len(text) > _MOST:
        raise BadNumber("empty" if not text else f"longer than {_MOST} characters")
    if not all(c.isascii() and (c.isdigit() or c in "+-() ./") for c in text):
        raise BadNumber("only digits, +, spaces and -()./ may be used")
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException as error:
        raise BadNumber(
            "no country code, and no country to assume"
            if error.error_type == NumberParseException.INVALID_COUNTRY_CODE
            else "not a telephone number"
        ) from None
    if not phonenumbers.is_possible_number(number):
        raise BadNumber("not a possible number of its country")
    return ParsedNumber(
        e164=phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
        region=phonenumbers.region_code_for_number(number) or "",
        kind=_KINDS.get(phonenumbers.number_type(number), "unknown"),
        valid=phonenumbers.is_valid_number(number),
    )


@lru_cache(maxsize=20_000)
def zones_of(e164: str) -> tuple[str, ...]:
    """Every time zone the number may be in; () when nothing is known."""
    try:
        number = phonenumbers.parse(e164)
    except NumberParseException:
        return ()
    zones = timezone.time_zones_for_number(number)
    return tuple(z for z in zones if z != "Etc/Unknown")
