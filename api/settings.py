"""Settings, from the environment (`DIALER_...`) and a TOML file; it runs with none."""

from __future__ import annotations

import os
import secrets
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from telephony.destinations import COSTLY, PREFIX

Prefix = Annotated[str, Field(pattern=PREFIX.pattern)]
_LEAST_SECRET = 32  # characters
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )


class NodeSettings(_Strict):
    """One Asterisk node and its manager interface."""

    name: Name
    """How trunks and agents name it."""
    host: str = "127.0.0.1"
    """Where its AMI listens; on loopback, or a private link: AMI is not encrypted."""
    port: Annotated[int, Field(ge=1, le=65535)] = 5038
    """AMI's port."""
    user: str = "dialer"
    """The account for call control; it needs no `command`, no `system`."""
    secret: SecretStr
    """Its secret."""
    provision_user: str = "provision"
    """The account that has phones read again: `config` only, so that call control has it not."""
    provision_secret: SecretStr = SecretStr("")
    """Its secret; empty: phones are provisioned by other means."""
    record_user: str = "recorder"
    """The account for MixMonitor, for which Asterisk asks the right `system`."""
    record_secret: SecretStr = SecretStr("")
    """Its secret; empty: nothing is recorded on this node."""
    phones_file: Path | None = None
    """The included PJSIP file with the agents' phones, where the dialer can write it."""
    phones_permit: tuple[str, ...] = ()
    """Networks from which phones may speak to the node; none: from everywhere, with a password."""
    recordings: Path | None = None
    """The node's recording folder as seen from here; recordings are moved from it."""
    cel: Path | None = None
    """The node's call event log as seen from here: tells after a crash how calls went on."""


class TrunkSettings(_Strict):
    """One way out."""

    name: Name
    """How campaigns name it; the PJSIP endpoint's name."""
    node: Name
    """The node it is configured on."""
    host: str
    """Where it leads; the laboratory's rules allow calls only while all are in 127.0.0.0/8."""
    lines: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Calls at the same time: what the carrier sells; more are refused and burn leads."""
    calls_per_second: Annotated[float, Field(gt=0, le=10_000)] = 20.0
    """New calls a second: carriers cut off who is faster."""
    prefixes: tuple[Prefix, ...] = ("+",)
    """Beginnings of the numbers that may go out here; anything else does not."""
    refused: tuple[Prefix, ...] = Field(default_factory=lambda: COSTLY)
    """Beginnings of numbers that do not, whatever `prefixes` says: by default premium rate,
    satellites and international services (telephony/destinations.py)."""


class RecordingStorage(_Strict):
    """Where recordings go from the nodes."""

    url: str = ""
    """`file:///...` or `s3://bucket/...`; empty: a folder in the state folder."""
    key: SecretStr = SecretStr("")
    """64 hex digits: recordings are encrypted with it at rest; empty: kept as recorded."""
    poll: Annotated[float, Field(gt=0)] = 2.0
    """Seconds between looks for recordings that wait; they are in no hurry."""
    address_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """Seconds a signed address works: long enough to listen, too short to pass around."""

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, key: SecretStr) -> SecretStr:
        text = key.get_secret_value()
        if text and (len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef")):
            raise ValueError("expected 64 hex digits")
        return key


class WebhookSettings(_Strict):
    """How events go out to other systems."""

    allow_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that may be called besides the public one, as a JSON list, such as a receiver in
    the same house: `["10.1.2.3/32"]`. Whoever may register webhooks reaches all of them."""
    http: bool = False
    """Allow `http://` into those networks: events are readable on the way. For laboratories."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = (443, 8443)
    """Ports that may be called: a webhook is no way to talk to a mail server."""
    authorities: Path | None = None
    """PEM file of certificate authorities besides the public ones, for receivers in the house."""
    timeout: Annotated[float, Field(gt=0, le=30)] = 15.0
    """Seconds of a whole try: a receiver takes an event first and works on it afterwards."""
    poll: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Seconds between looks into the outbox; an event waits about half of it."""


def state_folder() -> Path:
    """Where an installation without settings keeps its database and keys."""
    base = os.environ.get("XDG_STATE_HOME", str(Path.home() / ".local/state"))
    return Path(base) / "dialer"


class Settings(BaseSettings):
    """All settings. Seconds unless said otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="DIALER_",
        env_nested_delimiter="__",
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    database: Annotated[str, Field(repr=False)] = ""
    """SQLAlchemy address, `postgresql+asyncpg://...` for production; empty: SQLite in the state
    folder, for one node."""
    host: str = "127.0.0.1"
    """Where the API listens. The world, and TLS, are a proxy's business."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """The API's port; 0: any free one."""
    proxies: tuple[str, ...] = ("127.0.0.1",)
    """Addresses or networks of the proxies before the API: only they are believed whom they speak
    for (`X-Forwarded-For`), by which wrong passwords are counted."""
    folder: Path = Field(default_factory=state_folder)
    """What the dialer keeps on disk: `$XDG_STATE_HOME/dialer`, or `~/.local/state/dialer`."""
    nodes: tuple[NodeSettings, ...] = ()
    """The Asterisk nodes, as a JSON list. None: the API runs, and nothing is dialed."""
    trunks: tuple[TrunkSettings, ...] = ()
    """The ways out, as a JSON list."""
    secret: SecretStr = SecretStr("")
    """At least 32 characters; signs tokens and recordings' addresses. Empty: made once and kept in
    the state folder. Several dialer nodes need the same one."""
    token_seconds: Annotated[int, Field(ge=60, le=7 * 86400)] = 8 * 3600
    """Seconds a sign-in lasts: a working day."""
    body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    """Bytes of the largest request: an upload of 50,000 rows fits; more would fill memory."""
    upload_rows: Annotated[int, Field(ge=1)] = 50_000
    """Rows of one upload: calls are routed on the same processor meanwhile."""
    log_level: Annotated[str, Field(pattern="(?i)^(debug|info|warning|error)$")] = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    log_json: bool = True
    """JSON lines for machines, or plain ones for people."""
    redis: SecretStr = SecretStr("")
    """`redis://...`, the bus between dialer nodes; empty: the bus stays inside this process."""
    region: Annotated[str, Field(pattern="^([A-Z]{2})?$")] = ""
    """Country (ISO) of numbers that come without one; empty: such numbers are refused."""
    lease_seconds: Annotated[float, Field(gt=2, le=120)] = 10.0
    """Seconds a pool belongs to its owner without renewal: a dead owner's pool waits so long."""
    recordings: RecordingStorage = RecordingStorage()
    """Where recordings go."""
    stall: Annotated[float, Field(ge=0.2, le=60)] = 0.5
    """Seconds the event loop may stand still before it is logged where it stands: answered people
    wait meanwhile."""
    disk_free: Annotated[int, Field(ge=0)] = 512 * 1024 * 1024
    """Bytes that should be free where SQLite and recordings are written; below, `/readyz` and
    `dialer doctor` say so while there is still room to write."""
    decisions_days: Annotated[float, Field(gt=0, le=3660)] = 30.0
    """Days for which it is kept why pacing placed so many calls."""
    webhooks: WebhookSettings = WebhookSettings()
    """How events go out to other systems."""
    drain: Annotated[float, Field(ge=0, le=3600)] = 20.0
    """Seconds a stop waits for conversations to end; with another dialer in line, for calls that
    ring to be answered or not."""

    @field_validator("database")
    @classmethod
    def _is_ours(cls, database: str) -> str:
        if database and not database.startswith(("postgresql+asyncpg://", "sqlite+aiosqlite://")):
            raise ValueError("expected postgresql+asyncpg://... or sqlite+aiosqlite:///...")
        return database

    @field_validator("secret")
    @classmethod
    def _is_long(cls, secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value()) < _LEAST_SECRET:
            raise ValueError(f"expected at least {_LEAST_SECRET} characters")
        return secret

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get("DIALER_CONFIG")
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if path:
            sources += (TomlConfigSettingsSource(settings_cls, toml_file=path),)
        return sources

    @property
    def database_url(self) -> str:
        if self.database:
            return self.database
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return f"sqlite+aiosqlite:///{self.folder / 'dialer.db'}"

    @property
    def recordings_url(self) -> str:
        if self.recordings.url:
            return self.recordings.url
        folder = self.folder.absolute() / "recordings"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder.as_uri()

    def signing_key(self) -> bytes:
        """The key for tokens and signed addresses; made once, readable by its owner only."""
        if value := self.secret.get_secret_value():
            return value.encode()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / "secret"
        if not path.exists():
            _make_secret(path)
        key = path.read_bytes()
        if len(key) < _LEAST_SECRET:
            raise ValueError(f"{path} holds no key: remove it, and a new one is made")
        return key


def _make_secret(path: Path) -> None:
    """Whole or not at all, also on a full disk; of several processes one makes it."""
    temporary = path.with_name(f".secret-{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
