"""From causes to how the network ended a call. Pure; measured, see docs/telephony.md."""

from __future__ import annotations

from telephony.events import CallEnd

_TIMEOUT_REASON = "3"  # OriginateResponse's Reason when Originate's own time-out fired

_NO_RESPONSE = 18  # and 408, which SIP's own timer gives after 32 s without a word

_BY_CAUSE = {
    1: CallEnd.INVALID_NUMBER,  # 404
    17: CallEnd.BUSY,  # 486
    18: CallEnd.NO_ANSWER,  # 408
    19: CallEnd.NO_ANSWER,  # 480, or our time-out
    20: CallEnd.NO_ANSWER,
    21: CallEnd.REJECTED,  # 603, 403, 407
    22: CallEnd.INVALID_NUMBER,  # 410
    23: CallEnd.REDIRECTED,  # 302
    27: CallEnd.CONGESTION,
    28: CallEnd.INVALID_NUMBER,  # 484
    34: CallEnd.CONGESTION,  # 503
    38: CallEnd.CONGESTION,  # 500: the far network's failure
    41: CallEnd.CONGESTION,
    42: CallEnd.CONGESTION,
    58: CallEnd.FAILED,  # 488: no codec
    127: CallEnd.FAILED,
}
_BY_SIP = {
    "302": CallEnd.REDIRECTED,
    "404": CallEnd.INVALID_NUMBER,
    "408": CallEnd.NO_ANSWER,
    "480": CallEnd.NO_ANSWER,
    "486": CallEnd.BUSY,
    "500": CallEnd.CONGESTION,
    "503": CallEnd.CONGESTION,
    "600": CallEnd.BUSY,
    "603": CallEnd.REJECTED,
}


def classify(
    *,
    answered: bool,
    hung_up_by_us: bool,
    cancelled: bool,
    cause: int,
    tech_cause: str,
    reason: str,
    heard: bool = True,
) -> CallEnd:
    """How a call ended. Whether it was ever Up is looked at first: a BYE can carry any cause.

    `reason` is OriginateResponse's Reason ('' if none came); `cause` Q.850; `tech_cause` a SIP
    status such as '486', or ''. `heard`: the far side rang, or may have while we looked away.
    """
    if answered:
        return CallEnd.HUNG_UP_NEAR if hung_up_by_us else CallEnd.HUNG_UP_FAR
    if cancelled:
        return CallEnd.CANCELLED
    if reason == _TIMEOUT_REASON and cause in (0, 16, 19):
        return CallEnd.NO_ANSWER if heard else CallEnd.SILENT
    if cause == _NO_RESPONSE and not heard:
        return CallEnd.SILENT
    by_sip = _BY_SIP.get(tech_cause)
    if by_sip is not None:
        return by_sip
    return _BY_CAUSE.get(cause, CallEnd.FAILED)
