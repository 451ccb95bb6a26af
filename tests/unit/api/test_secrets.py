"""What must not be read in logs, answers and addresses is not there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
import structlog

import api.auth
from api.runtime import http_config
from api.settings import Settings
from dialer.store import schema as t
from tests.unit.api.house import PASSWORD, House

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
NUMBER, PERSON = "+12125550177", "Ada Lovelace-Byron"


async def test_a_failing_database_writes_no_person_into_the_log(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await house.call("POST", "/campaigns", json={"name": "a"})
    real = sa.insert

    def broken(table: Any) -> Any:
        return real(table).prefix_with("NONSENSE") if table is t.lead else real(table)

    monkeypatch.setattr("dialer.store.leads.sa.insert", broken)
    rows = [{"number": NUMBER, "name": PERSON, "attributes": {"secret": "tulip"}}]
    body = {"name": "l", "leads": rows}
    answer = await house.call("POST", f"/campaigns/{made.json()['id']}/leads", json=body)
    assert answer.status_code == 500
    written = "".join(capsys.readouterr())
    assert "request_failed" in written
    assert "OperationalError" in written
    for private in (NUMBER, PERSON, "tulip"):
        assert private not in written
        assert private not in answer.text


async def test_signing_in_leaves_no_trace_of_password_or_token(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    token = await house.token("admin")
    wrong = {"login": "admin", "password": "my other password"}
    refused = await house.http.post("/api/v1/tokens", json=wrong)
    assert "my other password" not in refused.text
    written = "".join(capsys.readouterr())
    for private in (PASSWORD, token, "my other password"):
        assert private not in written


def test_personal_data_is_logged_under_its_own_key_only() -> None:
    """Every log line of the source: a number, a name or a login may stand under `pii` only."""
    lines = 0
    for part in ("api", "dialer", "telephony"):
        for path in (ROOT / part).rglob("*.py"):
            for hit in re.finditer(
                r"\blog\.(?:debug|info|warning|error|exception)\((.*?)\n\s*\)?\n?",
                path.read_text(), re.DOTALL,
            ):  # fmt: skip
                keys = set(re.findall(r"\b([a-z_]+)=", hit[1]))
                lines += 1
                assert not keys & {
                    "number", "name", "customer", "login", "password", "token", "secret",
                    "caller_id", "note", "attributes",
                }, (path, hit[1])  # fmt: skip
    assert lines > 30


def test_requests_are_not_logged_with_their_signed_addresses() -> None:
    assert http_config(None, host="127.0.0.1", port=0).access_log is False


def test_settings_do_not_print_their_secrets(tmp_path: Path) -> None:
    settings = Settings(
        folder=tmp_path, secret="s3cret-" * 6, redis="redis://:s3cret@127.0.0.1/0",  # type: ignore[arg-type]
        nodes=({"name": "a", "secret": "s3cret"},),  # type: ignore[arg-type]
        recordings={"key": "ab" * 32},  # type: ignore[arg-type]
    )  # fmt: skip
    assert "s3cret" not in repr(settings) + str(settings)
    assert "abab" not in repr(settings)


def test_secrets_are_compared_by_libraries_in_constant_time() -> None:
    """Passwords by argon2, tokens by PyJWT's HMAC, addresses by hmac: never with ==."""
    source = inspect.getsource(api.auth)
    assert "hasher.verify" in source and "compare_digest" in source
    assert not re.search(r"(password|token|signature|secret)\w* *(==|!=)", source)


@pytest.mark.parametrize("path", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "a/b"])
async def test_recordings_are_named_by_call_ids_only(house: House, path: str) -> None:
    signature = house.deps.auth.sign_address(
        house.clients["house"], uuid4(), account_id=uuid4(), seconds=60
    )
    answer = await house.http.get(f"/api/v1/recordings/{path}/sound?signature={signature}")
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text


def test_the_log_has_a_renderer_without_variables() -> None:
    """A traceback with the values of variables would print what people are called and numbered."""
    source = inspect.getsource(api.runtime.configure_logs)
    assert "format_exc_info" in source
    assert structlog.is_configured()
