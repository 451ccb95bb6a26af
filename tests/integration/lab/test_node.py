"""Instances: a crash and a restart, two at once, and a phone that is added while all runs."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from telephony.provision.__main__ import main
from telephony.provision.phones import Phone, new_password, write_phones
from tests.integration.lab.ami import BareAmi
from tests.lab.asterisk import LabAsterisk
from tests.lab.process import Child, free_port, until
from tests.lab.tree import ensure_tree

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def node() -> AsyncIterator[LabAsterisk]:
    async with LabAsterisk("lab-node") as node:
        yield node


async def test_it_comes_back_after_a_crash_beside_another(node: LabAsterisk) -> None:
    async with LabAsterisk("lab-other") as other:
        first = node.pid
        await node.kill()
        await node.restart()
        assert node.pid != first
        for one in (node, other):
            async with BareAmi(one.ami_port, "dialer", one.secret) as ami:
                assert (await ami.ask("Ping"))["Response"] == "Success"


async def test_a_wrong_secret_is_refused(node: LabAsterisk) -> None:
    with pytest.raises(AssertionError, match="Authentication failed"):
        async with BareAmi(node.ami_port, "dialer", "wrong"):
            pass


async def test_phones_are_added_and_removed_while_asterisk_runs(node: LabAsterisk) -> None:
    async with BareAmi(node.ami_port, "provision", node.provision_secret) as provision:
        write_phones(node.phones_file, [Phone("agent7", password=new_password())])
        assert (await provision.ask("Reload", Module="res_pjsip.so"))["Response"] == "Success"
        assert "agent7" in await node.cli("pjsip show endpoints")
        write_phones(node.phones_file, [Phone("agent8", contact="sip:agent8@127.0.0.3:5080")])
        assert (await provision.ask("Reload", Module="res_pjsip.so"))["Response"] == "Success"
        shown = await node.cli("pjsip show endpoints")
        assert "agent7" not in shown and "agent8" in shown


async def test_nobody_unknown_gets_in(node: LabAsterisk) -> None:
    """An INVITE from an address that is no trunk, by a name that is no phone: refused."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.66", 0))
        stranger.settimeout(5)
        port = stranger.getsockname()[1]
        stranger.sendto(
            (
                f"INVITE sip:+12025550100@127.0.0.1:{node.sip_port} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 127.0.0.66:{port};branch=z9hG4bKstranger\r\n"
                "From: <sip:nobody@127.0.0.66>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\n"
                f"Call-ID: stranger\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
                f"Contact: <sip:nobody@127.0.0.66:{port}>\r\nContent-Length: 0\r\n\r\n"
            ).encode(),
            ("127.0.0.1", node.sip_port),
        )
        assert stranger.recv(4096).startswith(b"SIP/2.0 401")


async def test_what_the_container_renders_boots(tmp_path: Path) -> None:
    tree = ensure_tree()
    environment = {
        "ASTERISK_MODULES": str(tree.modules),
        "ASTERISK_DATA": str(tree.data),
        "ASTERISK_AMI_PORT": str(free_port()),
        "ASTERISK_SIP_PORT": str(free_port(kind=socket.SOCK_DGRAM)),
        "ASTERISK_AMI_SECRET": new_password(),
        "ASTERISK_PROVISION_SECRET": new_password(),
        "ASTERISK_TRUNKS": '[{"name": "public", "host": "127.0.0.2", "port": 5070}]',
    }
    assert main([str(tmp_path)], environment) is None
    command = [*tree.command(), "-C", str(tmp_path / "etc/asterisk.conf")]
    child = await Child.start("rendered", [*command, "-f", "-n"], log=tmp_path / "out")
    try:
        socket_file = tmp_path / "run/asterisk.ctl"
        await until(socket_file.exists, timeout=10, what="Asterisk's socket")
        booted = await Child.start(
            "asks", [*command, "-rx", "core waitfullybooted"], log=tmp_path / "asked"
        )
        await until(lambda: not booted.alive, timeout=10, what="the answer")
        assert "fully booted" in booted.tail()
        port = int(environment["ASTERISK_AMI_PORT"])
        async with BareAmi(port, "dialer", environment["ASTERISK_AMI_SECRET"]) as ami:
            assert (await ami.ask("CoreStatus"))["Response"] == "Success"
    finally:
        await child.stop()
