"""The measured table of causes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.events import CallEnd
from telephony.outcomes import classify

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("cause", "tech", "reason", "end"),
    [
        (17, "486", "0", CallEnd.BUSY),
        (19, "480", "3", CallEnd.NO_ANSWER),  # Originate's own time-out
        (0, "", "3", CallEnd.NO_ANSWER),  # the same on Asterisk 16
        (19, "480", "0", CallEnd.NO_ANSWER),
        (18, "408", "0", CallEnd.NO_ANSWER),
        (1, "404", "0", CallEnd.INVALID_NUMBER),
        (22, "410", "0", CallEnd.INVALID_NUMBER),
        (28, "484", "0", CallEnd.INVALID_NUMBER),
        (34, "503", "0", CallEnd.CONGESTION),
        (38, "500", "0", CallEnd.CONGESTION),
        (21, "603", "0", CallEnd.REJECTED),
        (21, "407", "0", CallEnd.REJECTED),
        (23, "302", "0", CallEnd.REDIRECTED),
        (58, "488", "0", CallEnd.FAILED),
        (127, "487", "0", CallEnd.FAILED),
        (0, "", "0", CallEnd.FAILED),
        (17, "", "", CallEnd.BUSY),  # no tech cause at all
    ],
)
def test_a_call_that_was_never_up(cause: int, tech: str, reason: str, end: CallEnd) -> None:
    found = classify(
        answered=False,
        hung_up_by_us=False,
        cancelled=False,
        cause=cause,
        tech_cause=tech,
        reason=reason,
    )
    assert found is end


@given(
    cause=st.integers(0, 127),
    tech=st.sampled_from(["", "404", "480", "486", "503"]),
    reason=st.sampled_from(["", "0", "3", "4"]),
    by_us=st.booleans(),
)
def test_up_is_looked_at_first(cause: int, tech: str, reason: str, by_us: bool) -> None:
    found = classify(
        answered=True,
        hung_up_by_us=by_us,
        cancelled=True,
        cause=cause,
        tech_cause=tech,
        reason=reason,
    )
    assert found is (CallEnd.HUNG_UP_NEAR if by_us else CallEnd.HUNG_UP_FAR)


@pytest.mark.parametrize(
    ("cause", "tech", "reason"), [(19, "480", "3"), (0, "", "3"), (18, "408", "0")]
)
def test_a_trunk_that_says_nothing_is_no_person_who_does_not_answer(
    cause: int, tech: str, reason: str
) -> None:
    found = [
        classify(
            answered=False,
            hung_up_by_us=False,
            cancelled=False,
            cause=cause,
            tech_cause=tech,
            reason=reason,
            heard=heard,
        )
        for heard in (False, True)
    ]
    assert found == [CallEnd.SILENT, CallEnd.NO_ANSWER]


def test_cancelled_by_us_while_ringing() -> None:
    found = classify(
        answered=False, hung_up_by_us=True, cancelled=True, cause=16, tech_cause="", reason="0"
    )
    assert found is CallEnd.CANCELLED
