"""A PostgreSQL for the short tests; whoever breaks it mends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.servers import LabPostgres


@pytest.fixture(scope="package")
def server() -> Iterator[LabPostgres]:
    with LabPostgres() as running:
        yield running
