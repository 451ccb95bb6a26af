"""Where nobody means to call: numbers that cost whoever dials them.

Stolen access to a telephone system is turned into money by calling numbers whose owner is paid for
each minute. So no trunk calls these unless its own settings say so, whatever its prefixes allow.
Standard library only: the Asterisk image needs it too.
"""

from __future__ import annotations

import re

#: Beginnings of E.164 numbers, most of them from the ITU's list of assigned codes.
COSTLY = (
    "+870", "+881", "+882", "+883", "+888",  # satellites, international networks
    "+878", "+979", "+808",  # personal numbers, international premium and shared cost
    "+1900", "+1976", "+1809976", "+1876976",  # North America: premium, and its Caribbean twins
    "+449", "+4470", "+44871", "+44872", "+44873",  # United Kingdom: premium, personal
    "+49900", "+49137", "+43900", "+43901", "+43930", "+43931", "+41900", "+41901", "+41906",
    "+33891", "+33892", "+33895", "+33897", "+33898", "+33899", "+32900", "+32902", "+32903",
    "+32905", "+31900", "+31906", "+31909", "+34803", "+34806", "+34807", "+34905",
    "+39892", "+39893", "+39894", "+39895", "+39899", "+351760", "+351761", "+351762",
    "+353150", "+353151", "+353152", "+353153", "+353154", "+353155", "+353156", "+353157",
    "+353158", "+353159", "+4570", "+4590", "+46900", "+46939", "+46944", "+47820", "+47829",
    "+358600", "+358700", "+48700", "+48701", "+48703", "+48704", "+48708", "+420900", "+420906",
    "+420909", "+6119", "+64900", "+8190",
)  # fmt: skip

PREFIX = re.compile(r"^\+[0-9]{0,14}$")


def allowed(number: str, *, prefixes: tuple[str, ...], refused: tuple[str, ...]) -> bool:
    """Whether an E.164 number begins as one of the prefixes and not as a refused one."""
    return number.startswith(prefixes) and not number.startswith(refused)
