"""What the pages say is what the code says."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel

from api.settings import NodeSettings, RecordingStorage, Settings, TrunkSettings
from dialer.engine.settings import EngineSettings
from docs import generate

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("path", list(generate.pages()), ids=lambda p: p.name)
def test_made_pages_are_as_the_code_is(path: Path) -> None:
    assert path.read_text() == generate.pages()[path], "run: python -m docs.generate"


@pytest.mark.parametrize("model", [Settings, NodeSettings, TrunkSettings, RecordingStorage])
def test_every_setting_says_what_it_is(model: type[BaseModel]) -> None:
    assert not [name for name, field in model.model_fields.items() if not field.description]


def test_every_setting_of_the_engine_says_why() -> None:
    text = (generate.ROOT / "docs/configuration.md").read_text()
    assert [f.name for f in fields(EngineSettings) if f"`{f.name}`" not in text] == []


def test_links_and_files_that_pages_name_are_there() -> None:
    pages = [generate.ROOT / "README.md", *(generate.ROOT / "docs").rglob("*.md")]
    missing = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []
