"""No value can make Asterisk read something that nobody meant: configuration is code to it."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.provision.phones import Phone, new_password, section, write_phones
from telephony.provision.render import (
    Ami,
    AsteriskSettings,
    Gate,
    Paths,
    Sip,
    TrunkAccount,
    UnsafeValue,
    check,
    render,
    safe,
)

pytestmark = pytest.mark.unit

HOSTILE = (
    "x\nsecret = y",
    "x\r\n[admin]",
    "x\0",
    "x;comment",
    "x]",
    "#include /etc/passwd",
    "${SHELL(id)}",
    "#exec id",
    "a" * 501,
    "x\n",
)


def _settings(folder: str = "/srv/a") -> AsteriskSettings:
    return AsteriskSettings(
        name="ast1",
        paths=Paths(*(f"{folder}/{p}" for p in ("etc", "v", "d", "m", "s", "r", "l"))),
        ami=Ami(5038, "call-secret", "provision-secret"),
        sip=Sip(5060),
        trunks=(TrunkAccount("carrier", "192.0.2.1", username="user", password="pass"),),
    )


@pytest.mark.parametrize("bad", HOSTILE)
def test_a_hostile_value_is_refused_wherever_it_stands(bad: str) -> None:
    settings = _settings()
    trunk = settings.trunks[0]
    for broken in (
        replace(settings, name=bad),
        replace(settings, paths=replace(settings.paths, spool=bad)),
        replace(settings, ami=replace(settings.ami, secret=bad)),
        replace(settings, sip=replace(settings.sip, external_address=bad)),
        replace(settings, trunks=(replace(trunk, host=bad),)),
        replace(settings, trunks=(replace(trunk, password=bad),)),
        replace(settings, phones_file=bad),
    ):
        with pytest.raises(UnsafeValue):
            check(broken)


@pytest.mark.parametrize("bad", HOSTILE)
def test_a_hostile_phone_is_refused(bad: str) -> None:
    for phone in (
        Phone(bad),
        Phone("agent1", password=bad),
        Phone("agent1", contact=f"sip:{bad}@127.0.0.3"),
    ):
        with pytest.raises(UnsafeValue):
            section(phone)


@given(st.text())
def test_what_is_safe_has_no_line_end_and_no_syntax(value: str) -> None:
    try:
        passed = safe(value, what="a value")
    except UnsafeValue:
        return
    assert not re.search(r"[\r\n\0;\[\]#<>$\"'\\]", passed)


def test_every_template_is_written_private_and_complete(tmp_path: Path) -> None:
    files = render(_settings(str(tmp_path)), tmp_path)
    assert {"extensions.conf", "manager.conf", "pjsip.conf"} <= {f.name for f in files}
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert "{{" not in file.read_text() and "{%" not in file.read_text()


def test_the_call_account_has_neither_command_nor_system(tmp_path: Path) -> None:
    render(_settings(str(tmp_path)), tmp_path)
    account = (tmp_path / "manager.conf").read_text().split("[dialer]")[1].split("[provision]")[0]
    rights = re.findall(r"^(?:read|write) = (.*)$", account, re.M)
    assert rights and not {"command", "system", "config", "all"} & set(",".join(rights).split(","))


def test_phones_are_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "phones.conf"
    write_phones(path, [Phone("agent1", password="first"), Phone("agent2", password="second")])
    write_phones(path, [Phone("agent2", password="second")])
    text = path.read_text()
    assert "[agent1]" not in text and "password = second" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_one_refused_phone_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "phones.conf"
    write_phones(path, [Phone("agent1", password="first")])
    before = path.read_text()
    with pytest.raises(UnsafeValue):
        write_phones(path, [Phone("agent1"), Phone("bad\n[x]")])
    assert path.read_text() == before


def test_passwords_are_new_each_time_and_may_be_written() -> None:
    made = {new_password() for _ in range(100)}
    assert len(made) == 100
    for password in made:
        assert len(safe(password, what="password")) >= 20


def test_a_dialers_node_cannot_dial_from_its_dialplan_and_a_gate_takes_no_orders(
    tmp_path: Path,
) -> None:
    """Modules, contexts and accounts of the two kinds of Asterisk do not mix."""
    node, gate = tmp_path / "node", tmp_path / "gate"
    node.mkdir()
    gate.mkdir()
    settings = replace(_settings(str(node)), sip=Sip(5060, permit=("10.0.0.0/8",)))
    render(settings, node)
    loaded = (node / "modules.conf").read_text()
    for dangerous in (
        "app_dial.so", "app_system.so", "app_originate.so", "app_exec.so", "res_agi.so",
        "func_shell.so", "func_curl.so", "func_env.so", "res_pjsip_refer.so", "res_http",
        "res_pjsip_endpoint_identifier_anonymous.so", "app_db.so", "func_global.so",
    ):  # fmt: skip
        assert dangerous not in loaded
    assert "Dial(" not in (node / "extensions.conf").read_text()
    assert "permit = 10.0.0.0/8" in (node / "pjsip.conf").read_text()
    let_through = Gate(("192.0.2.7/32",), secret="s", prefixes=("+44",), lines=7)
    render(replace(_settings(str(gate)), gate=let_through), gate)
    assert "secret" not in (gate / "manager.conf").read_text()
    assert "enabled = no" in (gate / "manager.conf").read_text()
    text = (gate / "extensions.conf").read_text()
    assert "exten => _+44XXXXX,1" in text and "> 7]?full" in text
    assert "dialer-answered" not in text and "#include" not in (gate / "pjsip.conf").read_text()


def test_a_gate_needs_one_trunk_and_says_whom_it_serves() -> None:
    one = replace(_settings(), gate=Gate(("192.0.2.7/32",)))
    check(one)
    for broken in (
        replace(one, trunks=()),
        replace(one, trunks=one.trunks * 2),
        replace(one, gate=Gate(())),
        replace(one, gate=Gate(("192.0.2.7/32",), lines=0)),
        replace(one, gate=Gate(("192.0.2.7/32",), prefixes=("1",))),
        replace(one, gate=Gate(("192.0.2.7/32",), refused=("+X",))),
        replace(one, gate=Gate(("somewhere",))),
    ):
        with pytest.raises(ValueError):
            check(broken)
