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
    "res_pjsip_logger", "res_pjsip_rfc3326", "res_pjsip_dtmf_info", "pbx_config",
    "app_amd", "app_bridgewait", "app_confbridge", "app_mixmonitor", "app_playback",
    "app_playtones", "app_userevent", "app_celgenuserevent", "app_verbose", "app_cdr",
    "func_callerid", "func_cdr", "func_channel", "func_logic", "func_strings", "func_math",
    "func_cut", "func_groupcount", "func_uri", "app_chanspy", "res_musiconhold",
    "func_periodic_hook", "func_pjsip_endpoint", "res_cdrel_custom", "cdr_custom", "cel_custom",
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
class AsteriskSettings:
    """All that the templates need for one instance."""

    name: str
    paths: Paths
    ami: Ami
    sip: Sip
    rtp: Rtp = field(default_factory=Rtp)
    trunks: tuple[TrunkAccount, ...] = ()
    phones_file: str = ""


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
    for network in (*settings.ami.permit, *settings.sip.local_networks):
        ip_network(network)


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
        "modules": MODULES,
        "phones_file": str(phones),
    }
    written: list[Path] = []
    for template in sorted(environment.list_templates(extensions=["j2"])):
        target = folder / template.removesuffix(".j2")
        target.touch(mode=0o600)
        target.write_text(environment.get_template(template).render(values))
        written.append(target)
    return written
