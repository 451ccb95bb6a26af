"""The private Asterisk tree: a real Asterisk as a plain process, no root and no containers.

Debian's own packages are downloaded and unpacked into a folder (never installed), from the mirror
that this machine's apt is configured with. Built once, cached, shared by tests, benches and
`make run`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_FORMAT = "1"  # raise when the way of building changes
#: Needed only by maintainer scripts or never by our modules; they would double the download.
_DROP = re.compile(
    r"^(perl.*|libperl.*|debconf.*|gnupg.*|gpg.*|libpam.*|passwd|adduser|login.*|init-system.*"
    r"|systemd.*|dpkg|tar|base-files|base-passwd|coreutils|sysvinit.*|mount|util-linux.*|dbus.*)$"
)
_KEYRINGS = ("debian-archive-keyring", "ubuntu-archive-keyring")


class TreeUnavailable(RuntimeError):
    """This machine cannot get an Asterisk; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class AsteriskTree:
    """An unpacked tree; `command` starts the program inside it."""

    root: Path

    def command(self) -> list[str]:
        loader = next(
            path
            for path in (
                self.root / "usr/lib64/ld-linux-x86-64.so.2",
                self.root / "usr/lib/ld-linux-aarch64.so.1",
            )
            if path.exists()
        )
        libraries = ":".join(str(p) for p in sorted((self.root / "usr/lib").glob("*-linux-gnu")))
        return [str(loader), "--library-path", libraries, str(self.root / "usr/sbin/asterisk")]

    @property
    def modules(self) -> Path:
        return next((self.root / "usr/lib").glob("*-linux-gnu/asterisk/modules"))

    @property
    def data(self) -> Path:
        return self.root / "usr/share/asterisk"


def cache_folder() -> Path:
    """Where trees are kept: DIALER_LAB_CACHE, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dialer-lab"
    return Path(os.environ.get("DIALER_LAB_CACHE", default))


def ensure_tree(*, quiet: bool = False) -> AsteriskTree:
    """The cached tree, built first if need be (about 10 s). Raises TreeUnavailable."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    tree = cache / f"asterisk-{_FORMAT}"
    if (tree / "complete").exists():
        return AsteriskTree(tree / "root")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (tree / "complete").exists():
            return AsteriskTree(tree / "root")
        work = cache / f"building-{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(tree, ignore_errors=True)
        try:
            _build(work, say=(lambda text: None) if quiet else _say)
            work.rename(tree)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return AsteriskTree(tree / "root")


def _say(text: str) -> None:
    print(f"  asterisk tree: {text}", file=sys.stderr, flush=True)


def _build(work: Path, *, say: object) -> None:
    assert callable(say)
    for folder in ("etc/apt.conf.d", "etc/preferences.d", "state/lists/partial",
                   "cache/archives/partial", "debs", "root"):  # fmt: skip
        (work / folder).mkdir(parents=True)
    (work / "status").write_text("")
    mirror, suites, keyring, components = _source()
    (work / "etc/sources.list").write_text(
        "".join(f"deb [signed-by={keyring}] {mirror} {suite} {components}\n" for suite in suites)
    )
    options = [
        f"Dir::Etc={work}/etc", f"Dir::Etc::sourcelist={work}/etc/sources.list",
        f"Dir::Etc::sourceparts={work}/none", f"Dir::State={work}/state",
        f"Dir::State::status={work}/status", f"Dir::Cache={work}/cache",
        "APT::Install-Recommends=false", "Acquire::Check-Valid-Until=false",
        "APT::Sandbox::User=", "Acquire::Retries=3", "Acquire::Languages=none",
    ]  # fmt: skip
    apt = ["apt-get", "-q", *[x for option in options for x in ("-o", option)]]
    say("reading the package index")
    _run([*apt, "update"])
    planned = _run([*apt, "install", "-s", "asterisk"])
    names = [
        match[1]
        for line in planned.splitlines()
        if (match := re.match(r"Inst (\S+)", line)) and not _DROP.match(match[1])
    ]
    version = re.search(r"Inst asterisk \((\S+)", planned)
    if version is None or int(re.sub(r"^\d+:", "", version[1]).split(".")[0]) < 20:
        raise TreeUnavailable("the machine's mirror offers no Asterisk 20 or newer")
    say(f"downloading {len(names)} packages, Asterisk {version[1]}")
    _run([*apt, "download", *names], cwd=work / "debs")
    say("unpacking")
    for deb in sorted((work / "debs").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(deb), str(work / "root")])
    _usr_merge(work / "root")
    sounds = work / "root/usr/share/asterisk/sounds"
    if not (sounds / "en").exists():  # a maintainer script would have made this link
        (sounds / "en").symlink_to("en_US_f_Allison")
    for folder in ("debs", "cache", "state"):
        shutil.rmtree(work / folder)
    (work / "complete").write_text(version[1] + "\n")
    say("done")


def _usr_merge(root: Path) -> None:
    """Packages of older suites still put libraries in /lib: one place is simpler."""
    for name in ("lib", "lib64", "sbin", "bin"):
        old = root / name
        if old.is_dir() and not old.is_symlink():
            shutil.copytree(old, root / "usr" / name, symlinks=True, dirs_exist_ok=True)


def _source() -> tuple[str, tuple[str, ...], str, str]:
    """(mirror, suites, keyring, components) from this machine's own apt sources."""
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    family = release.get("ID", "").strip('"')
    keyring = next(
        (
            str(path)
            for name in _KEYRINGS
            for path in (Path(f"/usr/share/keyrings/{name}.gpg"),)
            if path.exists() and family in name
        ),
        None,
    )
    if keyring is None:
        raise TreeUnavailable(f"no archive keyring found for {family or 'this system'}")
    texts = [
        path.read_text()
        for path in (
            Path("/etc/apt/sources.list"),
            *sorted(Path("/etc/apt/sources.list.d").glob("*.list")),
            *sorted(Path("/etc/apt/sources.list.d").glob("*.sources")),
        )
        if path.exists()
    ]
    for uri in re.findall(r"^(?:deb(?: \[[^\]]*\])? |URIs: *)(\S+)", "\n".join(texts), re.M):
        if uri.rstrip("/").endswith("/" + family):
            if family == "debian":
                return uri, ("sid",), keyring, "main"
            code = release.get("VERSION_CODENAME", "").strip('"')
            return uri, (code, f"{code}-updates"), keyring, "main universe"
    raise TreeUnavailable(
        "no Debian or Ubuntu mirror in this machine's apt sources; "
        "point DIALER_LAB_CACHE at a tree built elsewhere"
    )


def _run(command: list[str], *, cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise TreeUnavailable(f"{command[0]} failed ({done.returncode}):\n{tail}")
    return done.stdout


if __name__ == "__main__":
    try:
        print(ensure_tree().root)
    except TreeUnavailable as error:
        raise SystemExit(f"cannot get a private Asterisk: {error}") from None
