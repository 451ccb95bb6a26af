"""The SIPp scenarios: the called public, and agents' phones.

Numbering plan of the public: `+12BDTnnnnnn`.
- B, behaviour: 0 answers and hangs up after T; 1 answers and waits; 2 busy (486);
  3 rings for ever; 4 not found (404); 5 unavailable (480); 6 service unavailable (503);
  7 declines (603); 8 rings, then fails (500); 9 answers and hangs up at once.
- D, delay before the answer (or before the 500 of B=8), `DELAYS[D]` seconds.
- T, talk time before the far end hangs up (B=0): T - 1 seconds, T from 2 to 9.
- The last digit chooses the tone that is played: `TONES[digit]` Hz.
"""

from __future__ import annotations

from pathlib import Path

DELAYS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
TONES = (400, 400, 400, 600, 600, 600, 800, 800, 1000, 1000)
FAILURES = {2: (486, "Busy Here"), 4: (404, "Not Found"), 5: (480, "Temporarily Unavailable"),
            6: (503, "Service Unavailable"), 7: (603, "Decline")}  # fmt: skip

HEAD = """      [last_Via:]
      [last_From:]
      [last_To:];tag=[pid]p[call_number]
      [last_Call-ID:]
"""
IN_DIALOG = HEAD.replace(";tag=[pid]p[call_number]", "")
_CONTACT = "      Contact: <sip:[local_ip]:[local_port];transport=[transport]>\n"
SDP = """
      v=0
      o=public 1 1 IN IP4 [local_ip]
      s=-
      c=IN IP4 [local_ip]
      t=0 0
      m=audio [rtpstream_audio_port] RTP/AVP 0 101
      a=rtpmap:0 PCMU/8000
      a=rtpmap:101 telephone-event/8000
      a=sendrecv
"""


def number(*, behaviour: int, index: int, delay: int = 0, talk: int = 9) -> str:
    """An E.164 number of the public; `index` up to 999,999 makes it unique."""
    if not (0 <= behaviour <= 9 and 0 <= delay <= 9 and 2 <= talk <= 9 and 0 <= index <= 999_999):
        raise ValueError("outside the numbering plan")
    return f"+12{behaviour}{delay}{talk}{index:06d}"


def response(status: str, *, cseq: str = "[last_CSeq:]", body: str = "", head: str = HEAD) -> str:
    content = "      Content-Type: application/sdp\n" if body else ""
    return (
        f"  <send><![CDATA[\n      SIP/2.0 {status}\n{head}      {cseq}\n{_CONTACT}{content}"
        f"      Content-Length: {'[len]' if body else '0'}\n{body}\n  ]]></send>\n"
    )


def log(what: str) -> str:
    return f'<log message="TRUTH|[call_id]|{what}|[clock_tick]|[$called]"/>'


def digit(place: int, value: int, *, name: str) -> str:
    skip = "[0-9]" * place
    return (
        f'<ereg regexp="sip:[+]?12{skip}{value}" search_in="hdr" header="To:" assign_to="{name}"/>'
    )


def branch(label: str, variable: str) -> str:
    return f'  <nop next="{label}" test="{variable}"/>\n'


def public_scenario(sounds: Path) -> str:
    """One UAS scenario that behaves by the called number."""
    digits = [digit(0, b, name=f"b{b}") for b in range(1, 10)]
    digits += [digit(1, d, name=f"d{d}") for d in range(1, 10)]
    digits += [digit(2, t, name=f"t{t}") for t in range(2, 9)]
    tones = [
        '<ereg regexp="sip:[+]?12[0-9]{8}[345][@;>]" search_in="hdr" header="To:" '
        'assign_to="tone600"/>',
        '<ereg regexp="sip:[+]?12[0-9]{8}[67][@;>]" search_in="hdr" header="To:" '
        'assign_to="tone800"/>',
        '<ereg regexp="sip:[+]?12[0-9]{8}[89][@;>]" search_in="hdr" header="To:" '
        'assign_to="tone1000"/>',
    ]
    names = [f"b{b}" for b in range(1, 10)] + [f"d{d}" for d in range(1, 10)]
    names += [f"t{t}" for t in range(2, 9)] + ["tone600", "tone800", "tone1000", "tag"]
    out = ['<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="public">\n']
    out.append(
        '  <recv request="INVITE" crlf="true" rrs="true"><action>'
        '<ereg regexp="sip:([+]?[0-9]+)" search_in="hdr" header="To:" assign_to="tag,called"/>'
        '<ereg regexp="[0-9]+" search_in="hdr" header="CSeq:" assign_to="cseq"/>'
        '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="peer"/>'
        + "".join(digits + tones)
        + log("INVITE")
        + "</action></recv>\n"
    )
    out += [branch(f"fail{b}", f"b{b}") for b in FAILURES]
    out.append(response("180 Ringing"))
    out.append(branch("forever", "b3"))
    # Waiting for a CANCEL with a time limit is the only wait in which a CANCEL does no harm.
    out += [branch(f"delay{d}", f"d{d}") for d in range(1, 10)]
    for d in range(10):
        label = f'  <label id="delay{d}"/>\n' if d else ""
        out.append(
            f'{label}  <recv request="CANCEL" timeout="{int(DELAYS[d] * 1000)}" '
            'ontimeout="pickup" next="cancelled"/>\n'
        )
    out.append('  <label id="pickup"/>\n' + branch("fail8", "b8"))
    out.append(response("200 OK", cseq="CSeq: [$cseq] INVITE", body=SDP))
    out.append(
        '  <recv request="ACK" crlf="true"><action>' + log("ANSWERED") + "</action></recv>\n"
    )
    out.append(branch("bye", "b9"))
    out += [branch(f"play{f}", f"tone{f}") for f in (600, 800, 1000)]
    for f in (400, 600, 800, 1000):
        label = f'  <label id="play{f}"/>\n' if f != 400 else ""
        out.append(
            f'{label}  <nop next="talk"><action><exec rtp_stream="{sounds}/tone{f}.ul,-1,0,'
            'PCMU/8000"/></action></nop>\n'
        )
    out.append('  <label id="talk"/>\n' + branch("wait", "b1"))
    out += [branch(f"talk{t}", f"t{t}") for t in range(2, 9)]
    for t in (9, *range(2, 9)):
        label = f'  <label id="talk{t}"/>\n' if t != 9 else ""
        out.append(
            f'{label}  <recv request="BYE" timeout="{(t - 1) * 1000}" ontimeout="bye" '
            'next="far"/>\n'
        )
    out.append('  <label id="wait"/>\n  <recv request="BYE" timeout="3600000" ontimeout="bye"/>\n')
    out.append('  <label id="far"/>\n' + response("200 OK", head=IN_DIALOG))
    out.append('  <nop next="end"><action>' + log("BYE_RECEIVED") + "</action></nop>\n")
    out.append(bye())
    out.append(cancelled())
    for b, (status, reason) in {**FAILURES, 8: (500, "Server Internal Error")}.items():
        out.append(f'  <label id="fail{b}"/>\n')
        out.append(response(f"{status} {reason}", cseq="CSeq: [$cseq] INVITE"))
        out.append(
            '  <recv request="ACK" next="end"><action>'
            + log(f"REFUSED {status}")
            + "</action></recv>\n"
        )
    out.append('  <label id="end"/>\n')
    out.append(f'  <Reference variables="{",".join([*names, "called", "cseq", "peer"])}"/>\n')
    out.append("</scenario>\n")
    return "".join(out)


def phone_scenario(sounds: Path) -> str:
    """An agent's phone: answers, plays a 500 Hz tone, stays until the other side hangs up."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="phone">\n'
        '  <recv request="INVITE" crlf="true"/>\n'
        + response("200 OK", body=SDP)
        + '  <recv request="ACK"/>\n'
        f'  <nop><action><exec rtp_stream="{sounds}/tone500.ul,-1,0,PCMU/8000"/></action></nop>\n'
        '  <recv request="BYE"/>\n' + response("200 OK", head=IN_DIALOG) + "</scenario>\n"
    )


def refusing_scenario(status: int, reason: str) -> str:
    """A network that refuses every call the same way."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="refuses">\n'
        '  <recv request="INVITE" crlf="true"><action>'
        '<ereg regexp="sip:([+]?[0-9]+)" search_in="hdr" header="To:" assign_to="tag,called"/>'
        + log("INVITE")
        + "</action></recv>\n"
        + response(f"{status} {reason}")
        + '  <recv request="ACK"><action>'
        + log(f"REFUSED {status}")
        + '</action></recv>\n  <Reference variables="tag,called"/>\n</scenario>\n'
    )


def restless_phone_scenario(sounds: Path) -> str:
    """An agent's phone that hangs up by itself: T + 1 seconds after it was called, where T is the
    last digit of the user it is called as."""
    digits = "".join(
        f'<ereg regexp="sip:[a-z0-9]*{t}@" search_in="hdr" header="To:" assign_to="t{t}"/>'
        for t in range(1, 9)
    )
    waits = "".join(
        f'  <label id="wait{t}"/>\n  <recv request="BYE" timeout="{(t + 1) * 1000}" '
        'ontimeout="bye" next="far"/>\n'
        for t in range(1, 9)
    )
    names = ["tag", "called", "peer", *(f"t{t}" for t in range(1, 9))]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="restless phone">\n'
        '  <recv request="INVITE" crlf="true" rrs="true"><action>'
        '<ereg regexp="sip:([a-z0-9]+)" search_in="hdr" header="To:" assign_to="tag,called"/>'
        '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="peer"/>'
        + digits
        + log("INVITE")
        + "</action></recv>\n"
        + response("200 OK", body=SDP)
        + '  <recv request="ACK" crlf="true"><action>'
        + log("ANSWERED")
        + "</action></recv>\n"
        + f'  <nop><action><exec rtp_stream="{sounds}/tone500.ul,-1,0,PCMU/8000"/></action></nop>\n'
        + "".join(branch(f"wait{t}", f"t{t}") for t in range(2, 9))
        + waits
        + '  <label id="far"/>\n'
        + response("200 OK", head=IN_DIALOG)
        + '  <nop next="end"/>\n'
        + bye()
        + f'  <label id="end"/>\n  <Reference variables="{",".join(names)}"/>\n</scenario>\n'
    )


def cancelled() -> str:
    """Ringing for ever, and what follows a CANCEL, at the labels *forever* and *cancelled*."""
    return (
        '  <label id="forever"/>\n  <recv request="CANCEL" timeout="3600000"/>\n'
        '  <label id="cancelled"/>\n'
        + response("200 OK")
        + response("487 Request Terminated", cseq="CSeq: [$cseq] INVITE")
        + '  <recv request="ACK" next="end"><action>'
        + log("CANCELLED")
        + "</action></recv>\n"
    )


def bye() -> str:
    """Hang up from the far end. The dialog's headers are those of the INVITE, turned round."""
    return (
        '  <label id="bye"/>\n'
        '  <send retrans="500"><![CDATA[\n'
        "      BYE [next_url] SIP/2.0\n"
        "      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n"
        "      From: <sip:[$called]@[local_ip]:[local_port]>;tag=[pid]p[call_number]\n"
        "      To:[$peer]\n"
        "      [last_Call-ID:]\n"
        "      CSeq: 1 BYE\n"
        "      Max-Forwards: 70\n"
        "      Content-Length: 0\n\n  ]]></send>\n"
        # The other side's may be on its way: what came of ours nobody will say then.
        '  <recv request="BYE" optional="true" next="crossed" timeout="4000" ontimeout="end"/>\n'
        '  <recv response="200" next="end" timeout="4000" ontimeout="end"><action>'
        + log("BYE_SENT")
        + '</action></recv>\n  <label id="crossed"/>\n'
        + response("200 OK", head=IN_DIALOG)
        + '  <nop next="end"><action>'
        + log("BYE_SENT")
        + "</action></nop>\n"
    )
