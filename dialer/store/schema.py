"""The tables. One schema for both databases; every row that belongs to a client names it.

Migrations are the truth for a database that exists; this is what queries are written against, and
a test holds the two equal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """Aware times in, aware UTC times out, on both databases; a naive time is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("expected an aware time")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _id(name: str = "id") -> sa.Column[Any]:
    return sa.Column(name, sa.Uuid, primary_key=True)


def _ref(name: str, table: str, **kwargs: Any) -> sa.Column[Any]:
    kwargs.setdefault("nullable", False)
    return sa.Column(name, sa.Uuid, sa.ForeignKey(f"{table}.id"), **kwargs)


def _at(name: str, **kwargs: Any) -> sa.Column[Any]:
    return sa.Column(name, UtcDateTime, **kwargs)


def _text(name: str, length: int, **kwargs: Any) -> sa.Column[Any]:
    kwargs.setdefault("nullable", False)
    return sa.Column(name, sa.String(length), **kwargs)


client = sa.Table(
    "client", metadata, _id(), _text("name", 200, unique=True), _at("created_at", nullable=False)
)

account = sa.Table(
    "account",
    metadata,
    _id(),
    _ref("client_id", "client"),
    _text("login", 100, unique=True),
    _text("password_hash", 200),
    _text("role", 20),
    sa.Column("disabled", sa.Boolean, nullable=False),
    _at("created_at", nullable=False),
    sa.Column("generation", sa.Integer, nullable=False, server_default="0"),  # of its tokens
)

pool = sa.Table("pool", metadata, _id(), _ref("client_id", "client"), _text("name", 200))

pool_lease = sa.Table(
    "pool_lease",
    metadata,
    sa.Column("pool_id", sa.Uuid, sa.ForeignKey("pool.id"), primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    _text("owner", 200),
    sa.Column("expires", sa.Float, nullable=False),  # seconds, the database's clock
    sa.Column("handover", JSON),  # what an owner that stopped left for the next one
)

agent = sa.Table(
    "agent",
    metadata,
    _id(),
    _ref("client_id", "client"),
    _ref("pool_id", "pool", index=True),
    _ref("account_id", "account", nullable=True),
    _text("name", 200),
    _text("endpoint", 40, unique=True),
    _text("node", 40),
    _text("contact", 200),
    _text("phone_password", 100),
)

campaign = sa.Table(
    "campaign",
    metadata,
    _id(),
    _ref("client_id", "client"),
    _ref("pool_id", "pool", index=True),
    _text("name", 200),
    _text("state", 20),
    _text("reason", 200),
    sa.Column("version", sa.Integer, nullable=False),
    _at("created_at", nullable=False),
    sa.UniqueConstraint("client_id", "name"),
)

campaign_version = sa.Table(
    "campaign_version",
    metadata,
    sa.Column("campaign_id", sa.Uuid, sa.ForeignKey("campaign.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    _ref("client_id", "client"),
    sa.Column("settings", JSON, nullable=False),
    sa.Column("dispositions", JSON, nullable=False),
    _at("created_at", nullable=False),
)

agent_campaign = sa.Table(
    "agent_campaign",
    metadata,
    sa.Column("agent_id", sa.Uuid, sa.ForeignKey("agent.id"), primary_key=True),
    sa.Column("campaign_id", sa.Uuid, sa.ForeignKey("campaign.id"), primary_key=True),
    _ref("client_id", "client"),
)

customer = sa.Table(
    "customer",
    metadata,
    _id(),
    _ref("client_id", "client"),
    _text("external_key", 100),  # '' when the source has none
    _text("name", 200),
    _text("zone", 60),
    sa.Column("consent", sa.Boolean, nullable=False),
    sa.Column("attributes", JSON, nullable=False),
    _at("created_at", nullable=False),
    sa.Index("ix_customer_client_key", "client_id", "external_key"),
)

phone_number = sa.Table(
    "phone_number",
    metadata,
    _id(),
    _ref("client_id", "client"),
    _ref("customer_id", "customer"),
    _text("e164", 20),
    _text("region", 2),
    _text("kind", 20),
    sa.UniqueConstraint("customer_id", "e164"),
    sa.Index("ix_phone_number_client_e164", "client_id", "e164"),
)

lead_list = sa.Table(
    "lead_list",
    metadata,
    _id(),
    _ref("client_id", "client"),
    _ref("campaign_id", "campaign", index=True),
    _text("name", 200),
    _at("created_at", nullable=False),
)

lead = sa.Table(
    "lead",
    metadata,
    _id(),
    _ref("client_id", "client"),
    _ref("campaign_id", "campaign"),
    _ref("list_id", "lead_list"),
    _ref("customer_id", "customer"),
    _ref("number_id", "phone_number"),
    _text("number", 20),
    _text("state", 20),
    _at("next_at"),
    sa.Column("position", sa.BigInteger, nullable=False),
    _text("reason", 100),
    sa.Column("callback_agent", sa.Uuid),
    sa.UniqueConstraint("campaign_id", "customer_id"),
    sa.Index("ix_lead_due", "campaign_id", "state", "next_at", "position"),
    sa.Index("ix_lead_client_number", "client_id", "number"),
)

reservation = sa.Table(
    "reservation",
    metadata,
    sa.Column("client_id", sa.Uuid, sa.ForeignKey("client.id"), primary_key=True),
    sa.Column("subject", sa.String(60), primary_key=True),  # "p:<customer>" or "n:<number>"
    sa.Column("pool_id", sa.Uuid, nullable=False),
    sa.Column("lead_id", sa.Uuid, nullable=False, index=True),
)

attempt = sa.Table(
    "attempt",
    metadata,
    _at("intended_at", primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("client_id", sa.Uuid, nullable=False),
    sa.Column("campaign_id", sa.Uuid, nullable=False),
    sa.Column("pool_id", sa.Uuid, nullable=False),
    sa.Column("lead_id", sa.Uuid, nullable=False),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("number_id", sa.Uuid, nullable=False),
    _text("number", 20),
    _text("caller_id", 20),
    _text("node", 40),
    _text("trunk", 40),
    _text("mode", 20),
    sa.Column("settings_version", sa.Integer, nullable=False),
    sa.Column("script_version", sa.Integer, nullable=False),
    sa.Column("form_version", sa.Integer, nullable=False),
    _text("rules_profile", 60),
    sa.Column("verdict", JSON, nullable=False),
    sa.Column("agent_id", sa.Uuid),
    _at("sent_at"),
    _at("ringing_at"),
    _at("answered_at"),
    _at("connected_at"),
    _at("ended_at"),
    _text("outcome", 30, nullable=True),
    sa.Column("cause", sa.Integer),
    _text("tech_cause", 20, nullable=True),
    sa.Column("message_played", sa.Boolean),
    sa.Index("ix_attempt_person", "client_id", "customer_id", "intended_at"),
    sa.Index("ix_attempt_number", "client_id", "number", "intended_at"),
    sa.Index("ix_attempt_campaign", "campaign_id", "intended_at"),
    sa.Index("ix_attempt_lead", "lead_id"),
    sa.Index(
        "ix_attempt_open",
        "pool_id",
        postgresql_where=sa.text("outcome IS NULL"),
        sqlite_where=sa.text("outcome IS NULL"),
    ),
    postgresql_partition_by="RANGE (intended_at)",
)

conversation = sa.Table(
    "conversation",
    metadata,
    sa.Column("attempt_id", sa.Uuid, primary_key=True),
    sa.Column("agent_id", sa.Uuid, primary_key=True),
    sa.Column("client_id", sa.Uuid, nullable=False),
    sa.Column("campaign_id", sa.Uuid, nullable=False, index=True),
    sa.Column("customer_id", sa.Uuid, nullable=False, index=True),
    sa.Column("lead_id", sa.Uuid, nullable=False),
    _at("connected_at", nullable=False),
    _at("ended_at"),
    _text("ended_by", 20),
)

disposition = sa.Table(
    "disposition",
    metadata,
    sa.Column("attempt_id", sa.Uuid, primary_key=True),
    sa.Column("agent_id", sa.Uuid, primary_key=True),
    _text("code", 40),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("form", JSON, nullable=False),
    _at("at", nullable=False),
    sa.Column("wrap_up_seconds", sa.Float, nullable=False),
)

agent_interval = sa.Table(
    "agent_interval",
    metadata,
    sa.Column("agent_id", sa.Uuid, primary_key=True),
    sa.Column("session_id", sa.Uuid, primary_key=True),
    _at("started_at", primary_key=True),
    sa.Column("state", sa.String(20), primary_key=True),
    sa.Column("client_id", sa.Uuid, nullable=False),
    _text("reason", 100),
    _at("ended_at", nullable=False),
    sa.Column("campaign_id", sa.Uuid),
)

agent_now = sa.Table(
    "agent_now",
    metadata,
    sa.Column("agent_id", sa.Uuid, primary_key=True),
    sa.Column("client_id", sa.Uuid, nullable=False),
    sa.Column("pool_id", sa.Uuid, nullable=False, index=True),
    sa.Column("session_id", sa.Uuid, nullable=False),
    _text("state", 20),
    _text("reason", 100),
    _at("since", nullable=False),
    sa.Column("campaign_id", sa.Uuid),
    _text("leg_id", 100),
    sa.Column("attempt_id", sa.Uuid),
    _at("intended_at"),
)

# Why so many calls: a row for some seconds of a campaign on a node. No foreign keys: goes by age.
pacing_decision = sa.Table(
    "pacing_decision",
    metadata,
    sa.Column("campaign_id", sa.Uuid, primary_key=True),
    _at("at", primary_key=True),
    sa.Column("node", sa.String(40), primary_key=True),
    sa.Column("client_id", sa.Uuid, nullable=False),
    sa.Column("settings_version", sa.Integer, nullable=False),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("cancelled", sa.Integer, nullable=False),
    _text("binding", 20),
    sa.Column("details", JSON, nullable=False),
    sa.Index("ix_pacing_decision_at", "at"),
)

do_not_call = sa.Table(
    "do_not_call",
    metadata,
    sa.Column("client_id", sa.Uuid, sa.ForeignKey("client.id"), primary_key=True),
    sa.Column("number", sa.String(20), primary_key=True),
    sa.Column("customer_id", sa.Uuid),
    _text("scope", 20),
    _text("source", 40),
    _at("at", nullable=False),
)

recording = sa.Table(
    "recording",
    metadata,
    sa.Column("attempt_id", sa.Uuid, primary_key=True),
    sa.Column("client_id", sa.Uuid, nullable=False),
    sa.Column("campaign_id", sa.Uuid, nullable=False, index=True),
    _text("node", 40),
    _text("path", 250),
    _text("state", 20),  # as dialer/store/recordings.py says
    _text("stored_as", 250),
    sa.Column("size", sa.BigInteger, nullable=False),
    _text("sha256", 64),
    _at("at", nullable=False),
)

revoked_token = sa.Table(
    "revoked_token",
    metadata,
    sa.Column("jti", sa.String(40), primary_key=True),
    _at("expires", nullable=False, index=True),
)

guess = sa.Table(
    "guess",
    metadata,
    sa.Column("kind", sa.String(10), primary_key=True),  # pair, login, address; known
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    _at("since", nullable=False, index=True),
)

request_key = sa.Table(
    "request_key",
    metadata,
    sa.Column("account_id", sa.Uuid, primary_key=True),
    sa.Column("client_id", sa.Uuid, primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    _text("fingerprint", 64),
    sa.Column("status", sa.Integer, nullable=False),  # 0 while the request is under way
    _text("content_type", 100),
    sa.Column("body", sa.LargeBinary, nullable=False),
    _at("at", nullable=False, index=True),
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    _id(),
    _ref("client_id", "client"),
    _at("at", nullable=False),
    _text("who", 100),
    _text("action", 60),
    sa.Column("details", JSON, nullable=False),
)

webhook = sa.Table(
    "webhook",
    metadata,
    _id(),
    _ref("client_id", "client", index=True),
    _text("url", 1000),
    _text("description", 200),
    sa.Column("events", JSON, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    _text("disabled_reason", 60),  # '' while enabled, and when people disabled it
    _text("secret", 100),
    _text("old_secret", 100),  # '' but for a day after it was changed
    _at("old_secret_until"),
    sa.Column("failures", sa.Integer, nullable=False),
    _at("failing_since"),
    _at("rests_until"),
    _at("created_at", nullable=False),
)

# The outbox: written in the transaction of what it tells. No foreign keys: whoever removes an
# endpoint must not hold up the calls; what is left without one is pruned.
webhook_delivery = sa.Table(
    "webhook_delivery",
    metadata,
    sa.Column(
        "position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True,
        autoincrement=True,
    ),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("webhook_id", sa.Uuid, nullable=False),
    sa.Column("client_id", sa.Uuid, nullable=False),
    sa.Column("event_id", sa.Uuid, nullable=False),
    _text("type", 40),
    sa.Column("subject", sa.Uuid, nullable=False),
    _at("at", nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    _text("state", 20),
    sa.Column("tries", sa.Integer, nullable=False),
    _at("since", nullable=False),  # the day of tries is counted from here
    _at("next_at", nullable=False),
    sa.Column("claim", sa.Uuid),  # of whoever sends it now, until next_at
    sa.Column("last_status", sa.Integer),
    _text("last_error", 40),
    _at("tried_at"),
    _at("delivered_at"),
    sa.UniqueConstraint("webhook_id", "event_id"),
    sa.Index("ix_webhook_delivery_listed", "webhook_id", "at", "id"),
    sa.Index("ix_webhook_delivery_at", "at"),
    sa.Index(
        "ix_webhook_delivery_due",
        "webhook_id",
        "position",
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    ),
    sa.Index(
        "ix_webhook_delivery_order",
        "webhook_id",
        "subject",
        "position",
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    ),
)  # fmt: skip
