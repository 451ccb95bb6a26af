#!/bin/bash
# Everything the other commands need on a fresh Debian 12 (or newer) or Ubuntu 24.04: packages of the
# distribution, a Python environment from the lock file, a private Asterisk. Quick when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .lab

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- packages of the distribution -----------------------------------------------------------------------
# "what is looked for:package". Only what is missing is installed. PostgreSQL's programs are not on the path.
wanted=(sipp:sip-tester redis-server:redis-server espeak-ng:espeak-ng sox:sox dpkg-deb:dpkg)
missing=()
for pair in "${wanted[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)

newer_python() { # a Python of at least 3.11 that can make environments
    local name
    for name in "${DIALER_PYTHON:-}" python3.11 python3.12 python3.13 python3 /usr/bin/python3; do
        [[ -n $name ]] || continue
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}
newer_python >/dev/null || missing+=(python3 python3-venv)

if ((${#missing[@]})); then
    command -v apt-get >/dev/null || die "needs: ${missing[*]} (no apt-get here: install them yourself)"
    as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "needs: ${missing[*]}. Run 'make setup' once as root, or install sudo"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "${missing[@]}"
fi

# --- Python environment ---------------------------------------------------------------------------------
lock=$(sha256sum requirements-dev.lock pyproject.toml | sha256sum | cut -d' ' -f1)
if [[ ! -x .venv/bin/python || $(cat .venv/dialer-lock 2>/dev/null) != "$lock" ]]; then
    python=$(newer_python) || die "no Python 3.11 or newer was found"
    if command -v uv >/dev/null; then
        uv=uv
    else
        uv=.lab/uv/bin/uv
        if [[ ! -x $uv ]]; then
            say "fetching uv"
            rm -rf .lab/uv
            "$python" -m venv .lab/uv
            .lab/uv/bin/python -m pip install -q uv
        fi
    fi
    [[ -x .venv/bin/python ]] || "$uv" venv -q --python "$python" .venv
    say "Python packages from requirements-dev.lock"
    VIRTUAL_ENV="$PWD/.venv" "$uv" pip sync -q --require-hashes requirements-dev.lock
    # The project itself, editable; what it needs is there already.
    VIRTUAL_ENV="$PWD/.venv" "$uv" pip install -q --no-deps -e .
    printf '%s' "$lock" >.venv/dialer-lock
fi

# --- Prometheus, unpacked and never installed: alerts are tried on the real thing ---------------------------
if [[ ! -x .lab/prometheus/usr/bin/promtool ]]; then
    command -v apt-get >/dev/null || die "needs Prometheus (no apt-get here: put its package's files in .lab/prometheus)"
    say "fetching Prometheus"
    rm -rf .lab/prometheus.new && mkdir -p .lab/prometheus.new/deb
    fetch() { (cd .lab/prometheus.new/deb && apt-get -q download prometheus >&2); }
    if ! fetch 2>/dev/null; then # the lists may be missing or old
        as_root=()
        ((EUID == 0)) || as_root=(sudo)
        "${as_root[@]}" apt-get -q update >&2
        fetch || die "the package 'prometheus' cannot be fetched from this machine's apt sources"
    fi
    dpkg-deb -x .lab/prometheus.new/deb/prometheus_*.deb .lab/prometheus.new
    rm -r .lab/prometheus.new/deb
    rm -rf .lab/prometheus && mv .lab/prometheus.new .lab/prometheus
fi

# --- a private Asterisk, and the lab's sounds -----------------------------------------------------------
[[ ${DIALER_SETUP_NO_ASTERISK:-} ]] || .venv/bin/python -m tests.lab.tree >/dev/null
say "ready"
