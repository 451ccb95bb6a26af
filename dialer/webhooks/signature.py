"""Signatures by the Standard Webhooks scheme: receivers have libraries for it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

_PREFIX = "whsec_"
_KEY = 32  # bytes; the scheme wants 24 to 64


def new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(_KEY)).decode()


def signed(body: bytes, *, event_id: UUID, at: datetime, keys: Sequence[str]) -> dict[str, str]:
    """The three headers. While a secret is being changed there are two signatures."""
    seconds = str(int(at.timestamp()))
    content = b".".join((str(event_id).encode(), seconds.encode(), body))
    signatures = []
    for key in keys:
        raw = base64.b64decode(key.removeprefix(_PREFIX))
        digest = hmac.new(raw, content, hashlib.sha256).digest()
        signatures.append(f"v1,{base64.b64encode(digest).decode()}")
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(signatures),
    }
