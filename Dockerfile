# Three images from one file: the dialer (the last, the default), `asterisk` (Debian's Asterisk, configured by our own
# templates) and `sipp` (the called public, for trying things out).

# --- sounds: the lab's abandon message; a real centre mounts its own over it ---------------------------------------------
FROM debian:bookworm-slim AS sounds
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 espeak-ng sox \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY tests/__init__.py tests/__init__.py
COPY tests/lab tests/lab
ENV DIALER_LAB_CACHE=/sounds PYTHONDONTWRITEBYTECODE=1
RUN python3 -c 'from tests.lab.sounds import make_sounds; make_sounds()' \
    && mkdir /out \
    && cp /sounds/sounds-*/*.wav /out/

# --- SIPp as the called public ------------------------------------------------------------------------------------------
FROM sounds AS sipp
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends sip-tester \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home dialer \
    && chown -R dialer /sounds
USER 10001
ENTRYPOINT ["python3", "-m", "tests.lab.public"]
CMD ["--host", "127.0.0.2", "--port", "5070"]

# --- Asterisk ------------------------------------------------------------------------------------------------------------
FROM debian:sid-slim AS asterisk
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends asterisk python3 python3-jinja2 \
    && rm -rf /var/lib/apt/lists/* /etc/asterisk \
    && useradd --uid 10001 --create-home dialer \
    && install -d -o dialer /srv/asterisk /srv/phones
WORKDIR /app
COPY telephony/__init__.py telephony/__init__.py
COPY telephony/provision telephony/provision
COPY asterisk-conf asterisk-conf
COPY --from=sounds /out/dialer-abandon.wav /usr/share/asterisk/sounds/
COPY --from=sounds /out/hold.wav /usr/share/asterisk/moh/
RUN python3 -m telephony.provision.beep /usr/share/asterisk
COPY deploy/asterisk.sh /usr/local/bin/asterisk-start
ENV PYTHONDONTWRITEBYTECODE=1
USER 10001
VOLUME ["/srv/asterisk", "/srv/phones"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["asterisk", "-C", "/srv/asterisk/etc/asterisk.conf", "-rx", "core waitfullybooted"]
ENTRYPOINT ["asterisk-start"]

# --- the dialer: built with the lock file, run without build tools ----------------------------------------------------------
FROM python:3.11-slim-bookworm AS build
WORKDIR /app
# hadolint ignore=DL3013
RUN pip install --no-cache-dir uv && uv venv /opt/dialer
ENV VIRTUAL_ENV=/opt/dialer
COPY requirements.lock ./
RUN uv pip sync --require-hashes requirements.lock
COPY pyproject.toml README.md ./
COPY pacing pacing
COPY telephony telephony
COPY dialer dialer
COPY api api
COPY migrations migrations
COPY asterisk-conf asterisk-conf
RUN uv pip install --no-deps .

FROM python:3.11-slim-bookworm AS dialer
RUN useradd --uid 10001 --create-home dialer \
    && install -d -o dialer /srv/dialer /srv/asterisk /srv/phones
COPY --from=build /opt/dialer /opt/dialer
ENV PATH=/opt/dialer/bin:$PATH DIALER_FOLDER=/srv/dialer DIALER_HOST=0.0.0.0 PYTHONUNBUFFERED=1
USER 10001
VOLUME ["/srv/dialer"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["dialer"]
CMD ["serve"]
