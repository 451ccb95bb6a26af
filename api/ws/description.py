"""The AsyncAPI 3.0 document of both websockets, made from the message models."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.ws import messages as m

_CODES = """
Closing codes: 1008 sign-in, rights, a malformed message, too many commands, or the token ended
(the reason says which); 1011 no answer to a ping; 1013 too slow, or the server stops: come back and
resume; 4000 the same agent opened another socket.
""".strip()


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _message(name: str, payload: dict[str, Any], summary: str) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": "application/json",
        "summary": " ".join(summary.split()),
        "payload": payload,
    }


def _event(name: str, model: type[BaseModel]) -> dict[str, Any]:
    payload = {
        "type": "object",
        "required": ["type", "seq", "at", "data"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": name},
            "seq": {"type": "string", "pattern": "^[0-9]+-[0-9]+$"},
            "at": {"type": "string", "format": "date-time"},
            "data": _ref(model),
        },
    }
    return _message(name, payload, model.__doc__ or name)


def _command(name: str, model: type[BaseModel]) -> dict[str, Any]:
    fields = model.model_fields.values()
    payload = {
        "type": "object",
        "required": ["type", *(["data"] if any(f.is_required() for f in fields) else [])],
        "additionalProperties": False,
        "properties": {
            "type": {"const": name},
            "id": {"type": "string", "maxLength": 60, "pattern": r"^[A-Za-z0-9_.\-]*$"},
            "data": _ref(model),
        },
    }
    return _message(name, payload, model.__doc__ or name)


@lru_cache(maxsize=1)
def describe() -> dict[str, Any]:
    """The whole document."""
    auth = _message("auth", _ref(m.Auth), m.Auth.__doc__ or "")
    replies = {
        "done": _message("reply", _ref(m.Done), m.Done.__doc__ or ""),
        "refused": _message("reply", _ref(m.Refused), m.Refused.__doc__ or ""),
    }
    commands = {f"command.{name}": _command(name, model) for name, model in m.COMMANDS.items()}
    events = {name: _event(name, model) for name, model in m.AGENT_EVENTS.items()}
    figures = {name: _event(name, model) for name, model in m.LIVE_EVENTS.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "dialer",
            "version": "0.1.0",
            "description": "What agents and supervisors see as it happens.\n\n" + _CODES,
        },
        "defaultContentType": "application/json",
        "servers": {"here": {"host": "127.0.0.1:8080", "protocol": "ws"}},
        "channels": {
            "agent": {
                "address": "/api/v1/ws/agent",
                "description": "One agent's screen. One socket per agent: the newest.",
                "messages": {"auth": auth, **commands, **events, **replies},
            },
            "live": {
                "address": "/api/v1/ws/live",
                "description": "The client's live figures; needs the scope `live`.",
                "messages": {"auth": auth, **figures},
            },
        },
        "operations": {
            **_operation("agentSends", "agent", "receive", ["auth", *commands]),
            **_operation("agentReads", "agent", "send", [*events, *replies]),
            **_operation("supervisorSends", "live", "receive", ["auth"]),
            **_operation("supervisorReads", "live", "send", list(figures)),
        },
        "components": {"schemas": _schemas()},
    }


def _operation(name: str, channel: str, action: str, names: list[str]) -> dict[str, Any]:
    channel_ref = f"#/channels/{channel}"
    return {
        name: {
            "action": action,
            "channel": {"$ref": channel_ref},
            "messages": [{"$ref": f"{channel_ref}/messages/{n}"} for n in names],
        }
    }


def _schemas() -> dict[str, Any]:
    models: list[type[BaseModel]] = [m.Auth, m.Done, m.Refused]
    for table in (m.COMMANDS, m.AGENT_EVENTS, m.LIVE_EVENTS):
        models += table.values()
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas
