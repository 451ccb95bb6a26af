"""Everything an installation can set: environment `DIALER_...`, a TOML file, or nothing at all.

With nothing set the dialer runs on an embedded database in a state folder with the bus in memory.
`DIALER_CONFIG` names a TOML file; the environment wins over it. Nested values use two underscores:
`DIALER_RECORDINGS__URL`. Every field says its unit and why one would change it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSettings(_Section):
    """One Asterisk node."""

    name: Name = Field(description="What calls, agents and trunks name it by.")
    host: str = Field(
        "127.0.0.1", description="AMI address. Keep it on loopback or a private link."
    )
    port: Port = Field(default=5038, description="AMI port.")
    user: str = Field(
        default="dialer", description="AMI account for calls: no command, no system right."
    )
    secret: SecretStr = Field(description="Its password.")
    recording_user: str = Field(default="recorder", description="AMI account that may only record.")
    recording_secret: SecretStr = Field(
        default=SecretStr(""), description="Its password; '' = no recording."
    )
    provision_user: str = Field(
        default="provision", description="AMI account that may reload phones."
    )
    provision_secret: SecretStr = Field(
        default=SecretStr(""), description="Its password; '' = none."
    )
    phones_file: Path | None = Field(
        default=None, description="File of agents' phones that we write."
    )
    cdr_file: Path | None = Field(default=None, description="Asterisk's call records, for audits.")
    cel_file: Path | None = Field(
        default=None, description="Asterisk's event log, to reconcile a crash."
    )
    recordings_folder: Path | None = Field(
        default=None, description="Where this node leaves recordings, as seen from the dialer."
    )


class TrunkOptions(_Section):
    """One way out to the network."""

    name: Name = Field(description="Name of the trunk and of its PJSIP endpoint.")
    node: Name = Field(description="The node that has it.")
    host: str = Field(description="Where it sends calls: the laboratory rules ask for loopback.")
    lines: int = Field(
        default=100, ge=1, le=10_000, description="Calls at once that the carrier sells."
    )
    calls_per_second: float = Field(
        default=20.0, gt=0, le=1000, description="New calls per second allowed."
    )
    prefixes: tuple[str, ...] = Field(
        default=("+",), description="E.164 prefixes that it may call."
    )
    rest: float = Field(default=30.0, gt=0, description="s out of use after its breaker tripped.")


class RecordingStorage(_Section):
    """Where recordings go from the nodes."""

    url: str = Field(
        default="", description="file:///... or s3://...; '' = folder in the state folder."
    )
    key: SecretStr = Field(
        default=SecretStr(""),
        description="32 bytes as 64 hex digits: encrypts at rest; '' = not encrypted.",
    )
    poll: float = Field(default=2.0, gt=0, description="s between looks for recordings that wait.")
    address_life: float = Field(
        default=300.0, gt=0, le=3600, description="s a signed address works."
    )

    @model_validator(mode="after")
    def _key_is_one(self) -> RecordingStorage:
        text = self.key.get_secret_value()
        if text and (len(text) != 64 or set(text.lower()) - set("0123456789abcdef")):
            raise ValueError("recordings key: expected 64 hex digits")
        return self


class Limits(_Section):
    """What one request or account may ask for."""

    body: int = Field(
        default=32 * 1024 * 1024, ge=1024, description="Bytes in a request: 50,000 leads fit."
    )
    rows: int = Field(
        default=50_000, ge=1, description="Rows in one upload: larger files go in parts."
    )
    sign_in_failures: int = Field(
        default=8, ge=1, description="Wrong passwords before a login rests."
    )
    sign_in_rest: float = Field(default=300.0, gt=0, description="s a login rests after that.")
    sign_ins_per_minute: int = Field(default=30, ge=1, description="Tries per address and minute.")


class LogSettings(_Section):
    """How the process speaks."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level."
    )
    format: Literal["json", "console"] = Field(default="json", description="json for machines.")


def _state_folder() -> Path:
    if Path("var").is_dir() or Path("pyproject.toml").is_file():
        return Path("var").absolute()
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "dialer"


class Settings(BaseSettings):
    """The whole installation."""

    model_config = SettingsConfigDict(
        env_prefix="DIALER_", env_nested_delimiter="__", extra="ignore", frozen=True
    )

    state_folder: Path = Field(
        default_factory=_state_folder,
        description="Database, signing key and recordings when nothing else is set.",
    )
    database_url: str = Field(
        default="",
        description="postgresql+asyncpg://...; '' = SQLite in the state folder, one node.",
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""),
        description="redis://... for more than one process; '' = bus in memory.",
    )
    http_host: str = Field(
        default="127.0.0.1", description="Address to listen on; TLS ends before us."
    )
    http_port: int = Field(
        default=8080, ge=0, le=65535, description="Port to listen on; 0 = any free one."
    )
    nodes: tuple[NodeSettings, ...] = Field(
        default=(), description="Asterisk nodes; none = no calls."
    )
    trunks: tuple[TrunkOptions, ...] = Field(default=(), description="Trunks; none = no calls.")
    signing_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Signs tokens (32 characters or more); '' = made once, kept in the state"
        " folder. Several API nodes must share one.",
    )
    token_life: float = Field(
        default=12 * 3600.0, gt=0, description="s a sign-in lasts: one long shift."
    )
    lease_seconds: float = Field(
        default=10.0,
        gt=2,
        description="s a dead owner blocks its pool; shorter costs more renewals.",
    )
    region: str = Field(
        default="",
        pattern="^([A-Z]{2})?$",
        description="Country for numbers without +; '' = refuse them.",
    )
    owner: str = Field(
        default="", max_length=100, description="Name of this process; '' = host and pid."
    )
    recordings: RecordingStorage = Field(default_factory=RecordingStorage)
    limits: Limits = Field(default_factory=Limits)
    log: LogSettings = Field(default_factory=LogSettings)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        names = [node.name for node in self.nodes]
        if len(set(names)) != len(names):
            raise ValueError("two nodes have one name")
        for trunk in self.trunks:
            if trunk.node not in names:
                raise ValueError(f"trunk {trunk.name}: there is no node {trunk.node!r}")
        secret = self.signing_secret.get_secret_value()
        if secret and len(secret) < 32:
            raise ValueError("signing_secret: expected 32 characters or more")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if config := os.environ.get("DIALER_CONFIG"):
            if not Path(config).is_file():
                raise FileNotFoundError(f"DIALER_CONFIG names no file: {config}")
            sources += (TomlConfigSettingsSource(settings_cls, toml_file=config),)
        return sources

    @property
    def database(self) -> str:
        """The database's URL, with the default filled in; the state folder is made."""
        if self.database_url:
            return self.database_url
        self.state_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return f"sqlite+aiosqlite:///{self.state_folder.absolute() / 'dialer.sqlite'}"

    @property
    def recordings_url(self) -> str:
        """Where recordings are stored, with the default filled in."""
        if self.recordings.url:
            return self.recordings.url
        folder = self.state_folder.absolute() / "recordings"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder.as_uri()

    def signing_key(self) -> str:
        """The secret that signs tokens; made on first use, readable by this user only."""
        if given := self.signing_secret.get_secret_value():
            return given
        self.state_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.state_folder / "signing.key"
        if not path.exists():
            # Written aside and linked, so that two processes that start together agree on one.
            aside = path.with_name(f".signing.{os.getpid()}.{secrets.token_hex(4)}")
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
            try:
                os.link(aside, path)
            except FileExistsError:
                pass
            finally:
                aside.unlink()
        return path.read_text().strip()
