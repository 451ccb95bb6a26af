"""Settings, from the environment (`DIALER_...`) and a TOML file; it runs with none."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NodeSettings(_Strict):
    """One Asterisk node and its manager interface."""

    name: Name
    host: str = "127.0.0.1"
    port: int = 5038
    user: str = "dialer"
    secret: SecretStr
    provision_user: str = "provision"
    provision_secret: SecretStr = SecretStr("")  # '' = phones are provisioned by other means
    record_user: str = "recorder"
    record_secret: SecretStr = SecretStr("")  # '' = nothing is recorded on this node
    phones_file: Path | None = None  # the included PJSIP file, where the dialer can write it
    recordings: Path | None = None  # the node's recording folder as seen from here
    cel: Path | None = None  # the node's call event log as seen from here


class TrunkSettings(_Strict):
    """One way out; `lines` simultaneous calls, `calls_per_second` new ones."""

    name: Name
    node: Name
    host: str
    lines: Annotated[int, Field(ge=1, le=100_000)] = 100
    calls_per_second: Annotated[float, Field(gt=0, le=10_000)] = 20.0
    prefixes: tuple[str, ...] = ("+",)


class RecordingStorage(_Strict):
    """Where recordings go from the nodes."""

    url: str = ""  # file:///... or s3://bucket/...; '' = a folder in the state folder
    key: SecretStr = SecretStr("")  # 64 hex digits: encrypts at rest; '' = kept as recorded
    poll: Annotated[float, Field(gt=0)] = 2.0  # between looks for recordings that wait
    address_seconds: Annotated[int, Field(ge=1, le=3600)] = 300  # a signed address works so long

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, key: SecretStr) -> SecretStr:
        text = key.get_secret_value()
        if text and (len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef")):
            raise ValueError("expected 64 hex digits")
        return key


def state_folder() -> Path:
    """Where an installation without settings keeps its database and keys."""
    base = os.environ.get("XDG_STATE_HOME", str(Path.home() / ".local/state"))
    return Path(base) / "dialer"


class Settings(BaseSettings):
    """All settings. Seconds unless said otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="DIALER_", env_nested_delimiter="__", extra="forbid"
    )

    database: str = ""  # SQLAlchemy URL; '' = SQLite in the state folder
    host: str = "127.0.0.1"  # where the API listens; the world is a proxy's business
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    folder: Path = Field(default_factory=state_folder)
    nodes: tuple[NodeSettings, ...] = ()
    trunks: tuple[TrunkSettings, ...] = ()
    secret: SecretStr = SecretStr("")  # signs tokens; '' = made once, kept in the state folder
    token_seconds: Annotated[int, Field(ge=60, le=7 * 86400)] = 8 * 3600  # a working day
    body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024  # largest request
    upload_rows: Annotated[int, Field(ge=1)] = 50_000  # rows of one upload
    log_level: str = "INFO"
    log_json: bool = True
    redis: SecretStr = SecretStr("")  # redis://...; '' = the bus stays inside this process
    region: Annotated[str, Field(pattern="^([A-Z]{2})?$")] = ""  # of numbers without +; '' = refuse
    lease_seconds: Annotated[float, Field(gt=2, le=120)] = 10.0  # a dead owner's pool waits so long
    recordings: RecordingStorage = RecordingStorage()
    drain: float = 20.0  # at a stop, conversations may go on this long

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
            if len(value) < 32:
                raise ValueError("DIALER_SECRET: expected at least 32 characters")
            return value.encode()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / "secret"
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
        except FileExistsError:
            pass
        return path.read_bytes()
