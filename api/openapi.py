"""The REST interface's description: what FastAPI knows, with examples and what middleware adds."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api.examples import EXAMPLES

_WRITES = ("post", "put", "patch", "delete")
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request gets the same answer, done once, for a day.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    "example": "0198c0de-0000-7000-8000-000000000000",
}


def install(app: FastAPI) -> None:
    """Complete the application's description, once."""
    made = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(made())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    for item in document.get("webhooks", {}).values():
        for operation in item.values():
            _with_example(operation["requestBody"]["content"]["application/json"])
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _WRITES and not (path == "/api/v1/tokens" and method == "post"):
                operation.setdefault("parameters", []).append(_KEY)
            media = [operation.get("requestBody", {}).get("content", {})]
            media += [r.get("content", {}) for r in operation["responses"].values()]
            for content in media:
                _with_example(content.get("application/json", {}))


def _with_example(media: dict[str, Any]) -> None:
    name = media.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
    if name.startswith("Page_"):
        inner = name.removeprefix("Page_").removesuffix("_")
        if inner in EXAMPLES:
            media["example"] = {"items": [EXAMPLES[inner]], "next": None}
    elif name in EXAMPLES:
        media["example"] = EXAMPLES[name]
