"""`dialer import`, `report` and `openapi`: clients of the API, so that its rules hold here too."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import httpx
import orjson
from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from api.cli.start import Json, load_settings

_PART = 2000  # leads in one request
_KNOWN = frozenset({"number", "name", "external_key", "zone", "consent"})
_YES = frozenset({"1", "true", "yes", "y"})


def opened() -> httpx.Client:
    """The API named by DIALER_API with the token of DIALER_TOKEN (see POST /api/v1/tokens)."""
    token = os.environ.get("DIALER_TOKEN", "")
    if not token:
        print("set DIALER_TOKEN to a bearer token (POST /api/v1/tokens)", file=sys.stderr)
        raise SystemExit(2)
    address = os.environ.get("DIALER_API", "http://127.0.0.1:8080")
    return httpx.Client(
        base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=120
    )


def asked(http: httpx.Client, method: str, path: str, **kwargs: Any) -> Any:
    """The answer's JSON; a problem becomes one line and exit code 1."""
    try:
        answer = http.request(method, path, **kwargs)
    except httpx.HTTPError as error:
        print(f"the API does not answer: {type(error).__name__}", file=sys.stderr)
        raise SystemExit(1) from None
    if answer.is_success:
        return answer.json()
    try:
        problem = answer.json()
        text = f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        text = f"the API answered {answer.status_code}"
    print(text, file=sys.stderr)
    raise SystemExit(1)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Leads of a JSON array or a CSV file with a header; unknown columns become attributes."""
    if path.suffix.lower() == ".json":
        found = orjson.loads(path.read_bytes())
        if not isinstance(found, list):
            raise ValueError("expected a JSON array of leads")
        return found
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(_lines(csv.DictReader(file)))


def _lines(reader: csv.DictReader[str]) -> Iterator[dict[str, Any]]:
    if "number" not in (reader.fieldnames or ()):
        raise ValueError("expected a column named 'number'")
    for line in reader:
        row: dict[str, Any] = {k: v for k, v in line.items() if k in _KNOWN and v}
        if "consent" in row:
            row["consent"] = row["consent"].strip().lower() in _YES
        row["attributes"] = {k: v for k, v in line.items() if k and k not in _KNOWN and v}
        yield row


def import_(
    campaign: Annotated[UUID, Parameter(help="the campaign's id")],
    file: Annotated[Path, Parameter(help="CSV with a header, or JSON: a list of leads")],
    *,
    name: Annotated[str, Parameter(help="the list's name; none: the file's")] = "",
    region: Annotated[
        str | None, Parameter(help="country (such as US) of numbers that come without one")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a file's people into a campaign: each bad row is named with its reason.

    Columns number, name, external_key, zone and consent are known; others become attributes that
    the agent sees. Rows are counted from 0. Large files go in parts, each a list of its own.
    Needs the API (DIALER_API, else http://127.0.0.1:8080) and a token (DIALER_TOKEN).
    """
    try:
        rows = rows_of(file)
    except (OSError, ValueError, csv.Error) as error:
        print(f"{file.name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    accepted, rejected = 0, []
    with opened() as http, Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("leads", total=len(rows))
        for start in range(0, len(rows), _PART):
            part = rows[start : start + _PART]
            body = {"name": name or file.stem[:200], "region": region, "leads": part}
            done = asked(http, "POST", f"/campaigns/{campaign}/leads", json=body)
            accepted += done["accepted"]
            rejected += [{**r, "row": r["row"] + start} for r in done["rejected"]]
            progress.advance(task, len(part))
    if as_json:
        print(json.dumps({"accepted": accepted, "rejected": rejected}))
        return
    for row in rejected:
        print(f"row {row['row']}: {row['reason']}")
    print(f"{accepted} accepted, {len(rejected)} rejected")


def report(
    campaign: Annotated[UUID, Parameter(help="the campaign's id")], *, as_json: Json = False
) -> None:
    """A campaign's figures: attempts by outcome, leads by state, abandoned calls.

    Needs the API (DIALER_API, else http://127.0.0.1:8080) and a token (DIALER_TOKEN).
    """
    with opened() as http:
        found = asked(http, "GET", f"/campaigns/{campaign}/figures")
    if as_json:
        print(json.dumps(found))
        return
    for title in ("outcomes", "leads"):
        print(title)
        for key, count in sorted(found[title].items(), key=lambda item: -item[1]):
            print(f"  {key:<20} {count:>8}")
    print(f"abandoned  {found['abandoned']}")


def openapi() -> None:
    """Print the description of the REST interface."""
    from api.runtime import Runtime

    runtime = Runtime(load_settings())
    print(json.dumps(runtime.app.openapi(), indent=2))
