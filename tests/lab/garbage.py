"""What no Asterisk says: frames that a manager link must live through."""

from __future__ import annotations

#: Each whole, so that what follows is not part of it. None of them names one of our channels.
GARBAGE = (
    b"Event: Nonsense\r\nUniqueid: \xff\xfe\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"Event: Hangup\r\nUniqueid: nobody\r\nCause: -9999999999\r\n\r\n",
    b"Event: Hangup\r\nUniqueid: nobody\r\nCause: \xc2\xb2\r\n\r\n",
    b"Event: Hangup\r\nUniqueid: nobody\r\nUniqueid: else\r\n\r\n",
    b"no colon at all\r\n\r\n",
    b"\xff\xfe\x00garbage\r\n\r\n: \r\n\r\n",
    b"Response: Success\r\nActionID: of nobody\r\n\r\n",
    b"Event: Newstate\r\n" + b"X: " + b"y" * 5000 + b"\r\n\r\n",
)
