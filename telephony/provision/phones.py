"""Agents' phones as PJSIP accounts that the dialer writes; nothing is edited by hand in Asterisk.

The accounts live in one included file, replaced atomically; Asterisk reads it again on the
provision account's `Reload` (telephony.switch.Switch.reload_phones).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from telephony.provision.render import safe, safe_name

#: Seconds without voice from a phone after which its call is ended. A phone that lost its power or
#: its network says no BYE; people would be joined to nobody. Phones send while nobody speaks, too.
RTP_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Phone:
    """One account. With `contact` (a SIP URI) the phone is reached there; else it registers."""

    endpoint: str
    password: str = ""
    contact: str = ""
    webrtc: bool = False
    permit: tuple[str, ...] = ()  # networks it may speak from; () = every one


def new_password() -> str:
    """A password no person needs to type: 120 random bits."""
    return secrets.token_urlsafe(15)


def section(phone: Phone) -> str:
    """The account's sections; raises UnsafeValue for values that must not reach the file."""
    name = safe_name(phone.endpoint, what="phone endpoint")
    lines = [
        f"[{name}]", "type = endpoint", "context = dialer-refuse", "disallow = all",
        "allow = ulaw,alaw" if not phone.webrtc else "allow = opus,ulaw",
        "direct_media = no", "rtp_symmetric = yes", "force_rport = yes", "rewrite_contact = no",
        "redirect_method = user", "send_connected_line = no", f"rtp_timeout = {RTP_TIMEOUT}",
        f"aors = {name}",
    ]  # fmt: skip
    if phone.webrtc:
        lines += ["webrtc = yes", "dtls_auto_generate_cert = yes"]
    if phone.permit:
        networks = [str(ip_network(safe(n, what="phone network"))) for n in phone.permit]
        lines += ["deny = 0.0.0.0/0.0.0.0", *(f"permit = {n}" for n in networks)]
    if phone.password:
        lines += [f"auth = {name}"]
    else:
        # Without a password nobody proves to be this phone: it is called, and never listened to.
        lines += ["identify_by = ip"]
    lines += ["", f"[{name}]", "type = aor"]
    if phone.contact:
        lines += [f"contact = {safe(phone.contact, what='phone contact')}"]
    else:
        lines += ["max_contacts = 1", "remove_existing = yes", "default_expiration = 120"]
    if phone.password:
        lines += [
            "", f"[{name}]", "type = auth", "auth_type = userpass", f"username = {name}",
            f"password = {safe(phone.password, what='phone password')}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write_phones(path: Path, phones: Iterable[Phone]) -> None:
    """Replace the file by these accounts, atomically and privately."""
    text = "; written by the dialer: changes made here are lost\n\n" + "\n".join(
        section(phone) for phone in phones
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
