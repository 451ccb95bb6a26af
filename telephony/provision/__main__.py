"""`python -m telephony.provision FOLDER`: an Asterisk's configuration from its environment.

What the container runs before it starts Asterisk. Standard library and Jinja only, so that the
Asterisk image needs nothing of the dialer but this package and the templates.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from telephony.provision.render import (
    Ami,
    AsteriskSettings,
    Gate,
    Paths,
    Rtp,
    Sip,
    TrunkAccount,
    UnsafeValue,
    render,
)

_FOLDERS = ("etc", "var", "spool/monitor", "run", "log/cel-custom")


def from_environment(environment: Mapping[str, str], folder: Path) -> AsteriskSettings:
    """`ASTERISK_...`; the secrets are required. Raises KeyError, ValueError, UnsafeValue."""
    get = environment.get
    gate = _gate(json.loads(get("ASTERISK_GATE", "null")))
    return AsteriskSettings(
        name=get("ASTERISK_NAME", "ast1"),
        paths=Paths(
            etc=str(folder / "etc"),
            var=str(folder / "var"),
            data=get("ASTERISK_DATA", "/usr/share/asterisk"),
            modules=environment["ASTERISK_MODULES"],
            spool=str(folder / "spool"),
            run=str(folder / "run"),
            log=str(folder / "log"),
        ),
        ami=Ami(
            port=int(get("ASTERISK_AMI_PORT", "5038")),
            secret="" if gate else environment["ASTERISK_AMI_SECRET"],
            provision_secret="" if gate else environment["ASTERISK_PROVISION_SECRET"],
            record_secret=get("ASTERISK_RECORD_SECRET", ""),
            bind=get("ASTERISK_AMI_BIND", "127.0.0.1"),
            permit=tuple(get("ASTERISK_AMI_PERMIT", "127.0.0.0/8").split(",")),
        ),
        sip=Sip(
            port=int(get("ASTERISK_SIP_PORT", "5060")),
            bind=get("ASTERISK_SIP_BIND", "127.0.0.1"),
            external_address=get("ASTERISK_EXTERNAL_ADDRESS", ""),
            local_networks=tuple(filter(None, get("ASTERISK_LOCAL_NETWORKS", "").split(","))),
            permit=tuple(filter(None, get("ASTERISK_SIP_PERMIT", "").split(","))),
        ),
        rtp=Rtp(int(get("ASTERISK_RTP_FIRST", "10000")), int(get("ASTERISK_RTP_LAST", "20000"))),
        trunks=tuple(TrunkAccount(**t) for t in json.loads(get("ASTERISK_TRUNKS", "[]"))),
        phones_file=get("ASTERISK_PHONES_FILE", ""),
        gate=gate,
    )


def _gate(values: dict[str, Any] | None) -> Gate | None:
    """`ASTERISK_GATE`: what a gate lets through, as JSON; such an Asterisk has no manager."""
    if values is None:
        return None
    lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
    return Gate(**{**values, **lists})


def main(arguments: list[str], environment: Mapping[str, str]) -> str | None:
    """Write everything below the folder; returns what is wrong, or None."""
    if len(arguments) != 1:
        return "usage: python -m telephony.provision FOLDER"
    folder = Path(arguments[0]).absolute()
    try:
        settings = from_environment(environment, folder)
        for part in _FOLDERS:
            (folder / part).mkdir(parents=True, exist_ok=True)
        render(settings, folder / "etc")
    except KeyError as missing:
        return f"{missing.args[0]} is not set"
    except (UnsafeValue, ValueError, TypeError) as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
