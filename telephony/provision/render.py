"""Asterisk's configuration, rendered from the templates in `asterisk-conf/`.

One set of templates serves production, compose and tests. A value that could end a line, start a
comment or open a section is refused: configuration files are code to Asterisk.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from telephony.destinations import COSTLY, PREFIX

_SAFE = re.compile(r"^[A-Za-z0-9_./:,@+\-]*$")
_NAME = re.compile(r"^[a-z][a-z0-9-]{0,39}$")

#: What the dialplan, AMI and the trunks need; nothing else is loaded.
MODULES = (
    "res_sorcery_config", "res_sorcery_memory", "res_sorcery_astdb", "res_timing_timerfd",
    "codec_ulaw", "codec_alaw", "codec_gsm", "format_wav", "format_pcm",
    "format_gsm", "res_rtp_asterisk", "bridge_builtin_features", "bridge_builtin_interval_features",
    "bridge_holding", "bridge_native_rtp", "bridge_simple", "bridge_softmix", "chan_bridge_media",
    "res_pjproject", "res_pjsip", "res_pjsip_session", "res_pjsip_pubsub", "chan_pjsip",
    "res_pjsip_authenticator_digest", "res_pjsip_outbound_authenticator_digest",
    "res_pjsip_endpoint_identifier_ip", "res_pjsip_endpoint_identifier_user",
    "res_pjsip_registrar", "res_pjsip_sdp_rtp", "res_pjsip_caller_id", "res_pjsip_nat",
    "res_pjsip_rfc3326", "res_pjsip_dtmf_info", "pbx_config",
    "app_amd", "app_bridgewait", "app_confbridge", "app_mixmonitor", "app_playback",
    "app_playtones", "app_userevent", "app_celgenuserevent",
    "func_callerid", "func_channel", "func_logic", "func_strings",
    "res_musiconhold",
    # MixMonitor does not load without func_periodic_hook, nor that without the four before it.
    "app_chanspy", "func_cut", "func_groupcount", "func_uri", "func_periodic_hook",
    "res_cdrel_custom", "cel_custom",
)  # fmt: skip


#: Beside what every Asterisk needs: what only a gate does. A dialer's node has no `Dial` at all.
_GATE_MODULES = ("app_dial", "func_timeout")
#: What a gate has no use for: no conferences, no recordings, no sounds.
_NOT_AT_GATES = frozenset(
    {
        "app_amd", "app_bridgewait", "app_confbridge", "app_mixmonitor", "app_playback",
        "app_playtones", "app_userevent", "app_celgenuserevent", "res_musiconhold",
        "bridge_holding", "bridge_softmix", "format_wav", "format_pcm", "format_gsm",
        "codec_gsm", "res_pjsip_registrar", "app_chanspy", "func_cut", "func_uri",
        "func_periodic_hook",
    }
)  # fmt: skip


class UnsafeValue(ValueError):
    """A value cannot go into a configuration file."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Absolute folders of one Asterisk instance."""

    etc: str
    var: str
    data: str
    modules: str
    spool: str
    run: str
    log: str


@dataclass(frozen=True, slots=True)
class Ami:
    port: int
    secret: str
    provision_secret: str
    user: str = "dialer"
    provision_user: str = "provision"
    record_user: str = "recorder"
    record_secret: str = ""  # '' = this node records nothing
    bind: str = "127.0.0.1"
    permit: tuple[str, ...] = ("127.0.0.0/8",)


@dataclass(frozen=True, slots=True)
class Sip:
    port: int
    bind: str = "127.0.0.1"
    external_address: str = ""
    local_networks: tuple[str, ...] = ()
    permit: tuple[str, ...] = ()  # networks whose SIP is listened to at all; () = every one
    webrtc: bool = False


@dataclass(frozen=True, slots=True)
class Rtp:
    first: int = 10000
    last: int = 20000


@dataclass(frozen=True, slots=True)
class TrunkAccount:
    """A SIP peer calls go out to."""

    name: str
    host: str
    port: int = 5060
    codecs: str = "ulaw,alaw"
    username: str = ""
    password: str = ""
    qualify: int = 0  # s between OPTIONS; 0 = none


@dataclass(frozen=True, slots=True)
class Gate:
    """Makes this Asterisk a gate before one carrier: it has no manager interface and no phones, it
    only lets calls of the dialer's Asterisk through, where they may go and as many as there may be.
    Whoever has stolen a dialer or its manager secrets can do no more than this allows."""

    callers: tuple[str, ...]  # networks the dialer's Asterisk nodes call from
    secret: str = ""  # their SIP password; '' = the address alone is believed
    user: str = "dialer"
    lines: int = 30  # calls at the same time
    prefixes: tuple[str, ...] = ("+",)
    refused: tuple[str, ...] = COSTLY
    most_seconds: int = 7200  # a call's length

    @property
    def patterns(self) -> tuple[str, ...]:
        """Dialplan patterns of the numbers that may pass: digits only, 7 to 15 of them."""
        return tuple(
            dict.fromkeys(
                f"_{prefix}{'X' * (length + 1 - len(prefix))}"
                for prefix in self.prefixes
                for length in range(7, 16)
                if length >= len(prefix)
            )
        )


@dataclass(frozen=True, slots=True)
class AsteriskSettings:
    """All that the templates need for one instance."""

    name: str
    paths: Paths
    ami: Ami
    sip: Sip
    rtp: Rtp = field(default_factory=Rtp)
    trunks: tuple[TrunkAccount, ...] = ()
    phones_file: str = ""
    gate: Gate | None = None


def modules(settings: AsteriskSettings) -> tuple[str, ...]:
    """What this Asterisk loads, in order."""
    acl = ("res_pjsip_acl",) if settings.sip.permit else ()
    if settings.gate is None:
        return (*MODULES, *acl)
    return (*(m for m in MODULES if m not in _NOT_AT_GATES), *_GATE_MODULES, *acl)


def templates_folder() -> Path:
    """The templates: packaged beside this module's package, or in the source tree."""
    packaged = Path(__file__).resolve().parent.parent / "_asterisk_conf"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "asterisk-conf"


def safe(value: str, *, what: str) -> str:
    """`value`, if it may stand in a configuration file; raises UnsafeValue."""
    if len(value) > 500 or not _SAFE.fullmatch(value):
        raise UnsafeValue(f"{what}: only letters, digits and _./:,@+- may be used")
    return value


def safe_name(value: str, *, what: str) -> str:
    """A section name: lower case letters, digits, dashes; raises UnsafeValue."""
    if not _NAME.fullmatch(value):
        raise UnsafeValue(f"{what}: expected a-z, 0-9 and -, starting with a letter, at most 40")
    return value


def check(settings: AsteriskSettings) -> None:
    """Refuse what must not reach a configuration file; raises UnsafeValue or ValueError."""
    _check_all(asdict(settings), "settings")
    for trunk in settings.trunks:
        safe_name(trunk.name, what="trunk name")
    ip_address(settings.ami.bind)
    ip_address(settings.sip.bind)
    for network in (*settings.ami.permit, *settings.sip.local_networks, *settings.sip.permit):
        ip_network(network)
    if settings.gate is not None:
        _check_gate(settings.gate, trunks=len(settings.trunks))


def _check_gate(gate: Gate, *, trunks: int) -> None:
    if trunks != 1:
        raise UnsafeValue("a gate stands before exactly one trunk")
    if not gate.callers or not gate.prefixes or gate.lines < 1 or gate.most_seconds < 1:
        raise UnsafeValue("a gate needs callers, prefixes, lines and a longest call")
    for network in gate.callers:
        ip_network(network)
    for prefix in (*gate.prefixes, *gate.refused):
        if not PREFIX.fullmatch(prefix):
            raise UnsafeValue("a prefix is + and digits")


def _check_all(value: Any, what: str) -> None:
    if isinstance(value, str):
        safe(value, what=what)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_all(item, f"{what}.{key}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_all(item, what)


def render(settings: AsteriskSettings, folder: Path) -> list[Path]:
    """Write the whole configuration into `folder`; returns the files. Files are private (0600)."""
    check(settings)
    environment = Environment(
        loader=FileSystemLoader(templates_folder()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - not HTML; values were checked against a whitelist
    )
    phones = Path(settings.phones_file or str(folder / "pjsip_phones.conf"))
    if not phones.exists():
        phones.write_text("; written by the dialer\n")
        phones.chmod(0o600)
    values = {
        **{name: getattr(settings, name) for name in ("name", "paths", "ami", "sip", "rtp")},
        "trunks": settings.trunks,
        "modules": modules(settings),
        "gate": settings.gate,
        "phones_file": str(phones),
    }
    written: list[Path] = []
    for template in sorted(environment.list_templates(extensions=["j2"])):
        target = folder / template.removesuffix(".j2")
        target.touch(mode=0o600)
        target.write_text(environment.get_template(template).render(values))
        written.append(target)
    return written
