"""Pages and files made from the code: `python -m docs.generate` writes them, a test compares them.

The websockets' AsyncAPI file, the state machines' tables, every setting, every rules profile.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from api.settings import Settings
from api.ws.description import describe
from dialer.compliance.profile import known_profiles, profile_text
from dialer.domain.agent import AGENT
from dialer.domain.call import CALL
from dialer.domain.campaign import CAMPAIGN
from dialer.domain.lead import LEAD
from dialer.domain.machine import Machine
from dialer.engine.settings import EngineSettings

ROOT = Path(__file__).resolve().parent.parent
_BEGIN, _END = "<!-- made by docs/generate.py: begin -->", "<!-- made by docs/generate.py: end -->"


def pages() -> dict[Path, str]:
    """Every made file and what it should say now."""
    docs = ROOT / "docs"
    return {
        docs / "asyncapi.yaml": yaml.safe_dump(describe(), sort_keys=False, width=100),
        docs / "state-machines.md": _within(docs / "state-machines.md", _machines()),
        docs / "configuration.md": _within(docs / "configuration.md", _settings()),
        docs / "rules.md": _within(docs / "rules.md", _profiles()),
    }


def _within(page: Path, made: str) -> str:
    """The page with its made part replaced; what people wrote around it stays."""
    before, _, rest = page.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{made.strip()}\n\n{_END}{after}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# -- state machines


def _machines() -> str:
    parts = []
    for machine in (CALL, AGENT, LEAD, CAMPAIGN):
        parts += [f"## {machine.name.capitalize()}", _transitions(machine)]
    return "\n\n".join(parts)


def _transitions(machine: Machine[Any, Any]) -> str:
    rows = [
        [
            f"`{_word(state)}`",
            ", ".join(f"`{_word(event)}` → `{_word(after)}`" for event, after in moves.items())
            or "the end",
        ]
        for state, moves in machine.table.items()
    ]
    return _table(["in", "what may happen → then"], rows)


def _word(member: Enum) -> str:
    return str(member.value)


# -- settings


def _settings() -> str:
    rows = [
        [f"`DIALER_{name}`", default, what] for name, default, what in _fields(Settings, prefix="")
    ]
    engine = [
        [f"`{name}`", _shown(getattr(EngineSettings(), name)), what] for what, name in _reasons()
    ]
    return "\n\n".join(
        [
            "## Settings",
            _table(["variable", "default", "what, and why"], rows),
            "## Inside the engine",
            "Not set from outside: they fit together. Seconds unless said otherwise.",
            _table(["name", "value", "what, and why"], engine),
        ]
    )


def _shown(value: float | tuple[float, ...]) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"{v:g}" for v in values)


def _reasons() -> list[tuple[str, str]]:
    """The comment above each of the engine's settings, and its name."""
    text = (ROOT / "dialer/engine/settings.py").read_text()
    return re.findall(r"#: (.+)\n    ([a-z_]+):", text)


def _fields(model: type[BaseModel], *, prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        inner = _model_of(field)
        label = f"{prefix}{name.upper()}"
        what = " ".join((field.description or "").split())
        if inner is None:
            yield label, _default(field), what
        elif isinstance(field.default, tuple):  # a list of things: JSON in one variable
            yield label, "`[]`", what
            for key, _, text in _fields(inner, prefix=""):
                one = inner.model_fields[key.lower()]
                yield f"{label}[].{key.lower()}", _default(one), text
        else:
            yield from _fields(inner, prefix=f"{label}__")


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if field.default is PydanticUndefined:
        return "see there"
    if isinstance(field.default, SecretStr):
        return "`''`"
    return f"`{field.default!r}`" if field.default is not None else "none"


# -- rules


def _profiles() -> str:
    parts = []
    for name in known_profiles():
        file = tomllib.loads(profile_text(name))
        rows = [
            [f"`{key}`", _value(key, item["value"]), item["mark"], item["source"]]
            for key, item in file["rules"].items()
        ]
        parts += [
            f"## `{name}`, version {file['version']}: {file['title']}",
            _table(["value", "", "mark", "source"], rows),
        ]
    return "\n\n".join(parts)


def _value(key: str, value: Any) -> str:
    if key != "hours":
        return str(value).lower() if isinstance(value, bool) else str(value)
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    shown = [", ".join(f"{_time(a)}-{_time(b)}" for a, b in day) or "none" for day in value]
    if len(set(shown)) == 1:
        return f"every day {shown[0]}"
    return "; ".join(f"{day} {hours}" for day, hours in zip(days, shown, strict=True))


def _time(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02}"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
