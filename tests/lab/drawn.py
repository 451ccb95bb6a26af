"""A public whose people answer, or are busy, after a drawn time: the SIPp scenario and its numbers.

The numbering plan of `tests.lab.scenario` knows ten delays; this one knows a hundred, evenly
spaced, so that any distribution of ring times can be played: `+12BDDnnnnnn`.
- B, behaviour: 1 answers and waits for the other side to hang up; 2 busy (486) without ringing;
  3 rings for ever.
- DD, `STEP` seconds each until the answer or the 486.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab.scenario import IN_DIALOG, SDP, branch, bye, cancelled, digit, log, response

STEP = 0.07  # s; 99 of them are 6.93 s
MOST = 99 * STEP
ANSWERS, BUSY, RINGS = 1, 2, 3
_BEHAVIOURS = (ANSWERS, BUSY, RINGS)


def drawn_number(behaviour: int, seconds: float, index: int) -> str:
    """An E.164 number; `seconds` until the answer or the 486, rounded to the next step.

    Raises ValueError for what the plan does not have."""
    if behaviour not in _BEHAVIOURS or not 0 <= seconds <= MOST or not 0 <= index <= 999_999:
        raise ValueError(
            f"expected a behaviour of {_BEHAVIOURS}, at most {MOST:.2f} s and six digits, got "
            f"{behaviour}, {seconds} s, {index}"
        )
    return f"+12{behaviour}{round(seconds / STEP):02d}{index:06d}"


def seconds_of(number: str) -> float:
    """The delay that a number asks for, s."""
    return int(number[4:6]) * STEP


def index_of(number: str) -> int:
    """Who of the list it is."""
    return int(number[6:])


def drawn_scenario(sounds: Path) -> str:
    """One UAS scenario that behaves by the called number. Each step waits for a CANCEL with a time
    limit, the only wait in which a CANCEL does no harm; the tens first, then the units."""
    digits = [digit(0, b, name=f"b{b}") for b in (2, 3)]
    digits += [digit(place, d, name=f"{name}{d}") for place, name in ((1, "t"), (2, "u"))
               for d in range(1, 10)]  # fmt: skip
    names = ["b2", "b3", *(f"{name}{d}" for name in "tu" for d in range(1, 10))]
    names += ["tag", "called", "cseq", "peer"]
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="drawn public">\n'
        '  <recv request="INVITE" crlf="true" rrs="true"><action>'
        '<ereg regexp="sip:([+]?[0-9]+)" search_in="hdr" header="To:" assign_to="tag,called"/>'
        '<ereg regexp="[0-9]+" search_in="hdr" header="CSeq:" assign_to="cseq"/>'
        '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="peer"/>'
        + "".join(digits)
        + log("INVITE")
        + "</action></recv>\n"
        # Without it Asterisk would send its INVITE again while a busy line thinks.
        + response("100 Trying", head=IN_DIALOG)
        + branch("tens", "b2")
        + response("180 Ringing")
        + branch("forever", "b3")
        + '  <label id="tens"/>\n'
    ]
    out += _waits("t", 10 * STEP, then="units")
    out.append('  <label id="units"/>\n')
    out += _waits("u", STEP, then="due")
    out.append('  <label id="due"/>\n' + branch("busy", "b2"))
    out.append(response("200 OK", cseq="CSeq: [$cseq] INVITE", body=SDP))
    out.append(
        '  <recv request="ACK" crlf="true"><action>' + log("ANSWERED") + "</action></recv>\n"
    )
    out.append(
        f'  <nop><action><exec rtp_stream="{sounds}/tone400.ul,-1,0,PCMU/8000"/></action></nop>\n'
        '  <recv request="BYE" timeout="3600000" ontimeout="bye"/>\n'
    )
    out.append(response("200 OK", head=IN_DIALOG))
    out.append('  <nop next="end"><action>' + log("BYE_RECEIVED") + "</action></nop>\n")
    out.append(bye())
    out.append(cancelled())
    out.append('  <label id="busy"/>\n' + response("486 Busy Here", cseq="CSeq: [$cseq] INVITE"))
    out.append(
        '  <recv request="ACK" next="end"><action>' + log("REFUSED 486") + "</action></recv>\n"
        f'  <label id="end"/>\n  <Reference variables="{",".join(names)}"/>\n</scenario>\n'
    )
    return "".join(out)


def _waits(name: str, step: float, *, then: str) -> list[str]:
    """Wait `step` s as often as the digit says, then go on at `then`; 0 is the first branch."""
    out = [branch(f"{name}wait{d}", f"{name}{d}") for d in range(1, 10)]
    out.append(f'  <nop next="{then}"/>\n')
    out += [
        f'  <label id="{name}wait{d}"/>\n  <recv request="CANCEL" '
        f'timeout="{round(d * step * 1000)}" ontimeout="{then}" next="cancelled"/>\n'
        for d in range(1, 10)
    ]
    return out
