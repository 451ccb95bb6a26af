"""What a receiver of webhooks runs. Standard library only: it starts fast.

    python tests/lab/receiving.py FOLDER PORT [CERTIFICATE KEY]

What it got is one JSON object a line in FOLDER/received; how it answers is read from
FOLDER/behaviour at each request: a status with headers (`204`, `429 Retry-After: 7`), `hang`, or
`cut` (takes the event, and is gone before it answers).
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from pathlib import Path


async def _serve(folder: Path, port: int, tls: list[str]) -> None:
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    log = os.open(folder / "received", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            how, _, more = (folder / "behaviour").read_text().partition(" ")
            entry = {
                "line": head[0],
                "headers": headers,
                "body": body.decode(),
                "at": asyncio.get_running_loop().time(),
                "answered": how,
            }
            os.write(log, json.dumps(entry).encode() + b"\n")
            if how == "hang":
                await asyncio.sleep(3600)
            if how != "cut":
                more = f"{more}\r\n" if more else ""
                writer.write(f"HTTP/1.1 {how} X\r\n{more}Content-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", port, ssl=context, backlog=500)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:5]))
