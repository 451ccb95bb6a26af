"""Recordings as stored objects, on disk or S3-compatible, encrypted at rest when a key is set.

An encrypted object is a header (magic, salt) and chunks of AES-256-GCM. Each file has its own key,
derived from the installation's key and the salt; a chunk's number and whether it is the last are
authenticated, so chunks cannot be moved, swapped or cut off unnoticed. Any range can be read
without reading what comes before it. All functions here block: call them in a thread.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import obstore
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from obstore.store import from_url

_MAGIC = b"DREC1"
_SALT = 16
_HEADER = len(_MAGIC) + _SALT
CHUNK = 64 * 1024
_TAG = 16


class Damaged(Exception):
    """A stored object is not what was put there, or the key is another one."""


class RecordingStorage:
    """`url`: file:///folder or s3://bucket/prefix. `key`: 32 bytes, or b'' for no encryption."""

    def __init__(self, url: str, *, key: bytes = b"") -> None:
        if key and len(key) != 32:
            raise ValueError(f"expected a key of 32 bytes, got {len(key)}")
        self._key = key
        self._folder: Path | None = None
        if url.startswith("file://"):
            self._folder = Path(unquote(urlparse(url).path))
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._store: Any = from_url(url)

    @property
    def suffix(self) -> str:
        """What an object's name ends with beside the sound's own suffix."""
        return ".enc" if self._key else ""

    def put(self, source: Path, name: str) -> tuple[int, str]:
        """Store a file whole or not at all; (its bytes, its SHA-256). Safe to repeat."""
        digest, size = hashlib.sha256(), 0

        def plain() -> Iterator[bytes]:
            nonlocal size
            with source.open("rb") as file:
                while block := file.read(CHUNK):
                    digest.update(block)
                    size += len(block)
                    yield block

        obstore.put(self._store, name, self._sealed(plain()) if self._key else plain())
        if self._folder is not None:
            _to_disk(self._folder / name)
        return size, digest.hexdigest()

    def digest(self, name: str, size: int) -> str:
        """SHA-256 of a stored recording as it would be served; raises Damaged."""
        digest = hashlib.sha256()
        for block in self.read(name, 0, size, size=size):
            digest.update(block)
        return digest.hexdigest()

    def read(self, name: str, start: int, end: int, *, size: int) -> Iterator[bytes]:
        """The recording's bytes [start, end) of `size`; raises Damaged or FileNotFoundError."""
        if not name.endswith(".enc"):
            for at in range(start, end, CHUNK * 16):
                yield bytes(
                    obstore.get_range(self._store, name, start=at, end=min(at + CHUNK * 16, end))
                )
            return
        if not self._key:
            raise Damaged("this recording is encrypted and no key is set")
        head = bytes(obstore.get_range(self._store, name, start=0, length=_HEADER))
        if head[: len(_MAGIC)] != _MAGIC:
            raise Damaged("not an encrypted recording")
        cipher, last = self._cipher(head[len(_MAGIC) :]), max((size - 1) // CHUNK, 0)
        for index in range(start // CHUNK, max((end - 1) // CHUNK, 0) + 1):
            at = _HEADER + index * (CHUNK + _TAG)
            sealed = bytes(obstore.get_range(self._store, name, start=at, length=CHUNK + _TAG))
            try:
                block = cipher.decrypt(_nonce(index), sealed, _place(index, index == last))
            except InvalidTag:
                raise Damaged(
                    f"chunk {index} was changed, cut or sealed with another key"
                ) from None
            base = index * CHUNK
            yield block[max(start - base, 0) : end - base]

    def head(self, name: str, length: int, size: int) -> bytes:
        """The first bytes of a recording of `size` bytes."""
        return b"".join(self.read(name, 0, length, size=size)) if length else b""

    def delete(self, name: str) -> None:
        """Remove an object; one that is gone is no error."""
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            pass

    def check(self) -> None:
        """Raise when the storage cannot be written."""
        name = f".check-{os.getpid()}"
        obstore.put(self._store, name, b"check")
        obstore.delete(self._store, name)

    def _cipher(self, salt: bytes) -> AESGCM:
        derived = HKDF(SHA256(), 32, salt, b"dialer recording 1").derive(self._key)
        return AESGCM(derived)

    def _sealed(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        salt = os.urandom(_SALT)
        cipher = self._cipher(salt)
        yield _MAGIC + salt
        index, held = 0, next(blocks, b"")
        for block in blocks:
            yield cipher.encrypt(_nonce(index), held, _place(index, False))
            index, held = index + 1, block
        yield cipher.encrypt(_nonce(index), held, _place(index, True))


def _nonce(index: int) -> bytes:
    return index.to_bytes(12, "big")  # unique under the file's own key


def _place(index: int, last: bool) -> bytes:
    return index.to_bytes(8, "big") + (b"\x01" if last else b"\x00")


def _to_disk(path: Path) -> None:
    """The object store renames; what was renamed must also survive a power cut."""
    for target in (path, path.parent):
        handle = os.open(target, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
