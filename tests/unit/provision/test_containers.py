"""What can be known of the containers where no engine runs: lint, and compose.yaml's promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import Settings
from telephony.provision.__main__ import main

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent


FILES = ("compose.yaml", "compose.two.yaml")


def _compose(name: str = "compose.yaml") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded


@pytest.mark.parametrize(
    "command", [["hadolint", "Dockerfile"], ["yamllint", "--strict", *FILES, "deploy"]]
)
def test_lint(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FILES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    services = _compose(name)["services"]
    ports = [p for service in services.values() for p in service.get("ports", ())]
    assert ports and all(str(p).startswith("127.0.0.1:") for p in ports)


def test_monitoring_is_a_profile_and_finds_its_files() -> None:
    services = _compose()["services"]
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (target,) = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == "dialer:8080" and "dialer" in services
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["monitoring"]
        assert re.search(r":v?\d+\.\d+\.\d+$", services[name]["image"]), "a version, not latest"
        for volume in services[name]["volumes"]:
            ours, _, mode = volume.partition(":")
            if ours.startswith("./"):
                assert (ROOT / ours).is_dir() and mode.endswith(":ro"), volume
    mounted = [v.split(":")[1] for v in services["grafana"]["volumes"]]
    told = (ROOT / "deploy/grafana/provisioning/dashboards/dialer.yml").read_text()
    assert yaml.safe_load(told)["providers"][0]["options"]["path"] in mounted


@pytest.mark.parametrize("name", FILES)
def test_no_secret_stands_in_the_file(name: str) -> None:
    text = (ROOT / name).read_text()
    named = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    made = set(re.findall(r"[A-Z_]+_(?:PASSWORD|SECRET)", (ROOT / "deploy/secrets.sh").read_text()))
    assert named and named <= made, "each has a maker"
    for key, value in re.findall(r"(\w*(?:PASSWORD|SECRET)\w*): (.*)", text):
        assert value.startswith("${"), key


def test_every_target_exists_and_every_copied_path_too() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    targets = set(re.findall(r" AS (\S+)", dockerfile))
    for file in FILES:
        for name, service in _compose(file)["services"].items():
            if "build" in service:
                assert service["build"]["target"] in targets, name
    for paths in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.M):
        for path in paths.split():
            assert (ROOT / path).exists(), path
    assert dockerfile.count("USER 10001") == 3, "no image runs as root"


def test_the_dialer_accepts_the_settings_that_compose_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = _compose()["services"]["dialer"]["environment"]
    for name, value in environment.items():
        filled = re.sub(r"\$\{\w+:\?[^}]*\}", "x" * 40, str(value))
        monkeypatch.setenv(name, filled)
    settings = Settings()
    assert settings.nodes[0].name == settings.trunks[0].node
    assert settings.nodes[0].record_secret.get_secret_value() == "x" * 40


def test_two_of_each_are_the_same_but_for_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = _compose()["services"], _compose("compose.two.yaml")["services"]
    assert two["dialer"]["environment"] == two["dialer2"]["environment"]
    assert two["dialer"]["volumes"] == two["dialer2"]["volumes"]
    for name, value in two["dialer"]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:\?[^}]*\}", "x" * 40, str(value)))
    settings = Settings()
    assert [t.node for t in settings.trunks] == [n.name for n in settings.nodes] == ["ast1", "ast2"]
    mounts = dict(volume.split(":") for volume in two["dialer"]["volumes"])
    for node, service in zip(settings.nodes, (one["asterisk"], two["asterisk2"]), strict=True):
        environment = service["environment"]
        assert (environment["ASTERISK_NAME"], environment["ASTERISK_AMI_BIND"]) == (
            node.name, node.host,
        )  # fmt: skip
        assert service["networks"]["default"]["ipv4_address"] == node.host
        theirs = dict(volume.split(":") for volume in service["volumes"])
        for volume, inside in theirs.items():  # the dialers see what this node writes
            assert str(node.phones_file if "phones" in volume else node.cel).startswith(
                mounts[volume] + "/"
            ), (volume, inside)
    same = {k: v for k, v in one["dialer"].items() if k not in ("environment", "volumes", "ports")}
    depends = two["dialer2"].pop("depends_on").keys() - {"asterisk2"}
    assert depends == same.pop("depends_on").keys()
    assert {k: v for k, v in two["dialer2"].items() if k in same} == same


def test_the_asterisk_image_renders_what_compose_gives(tmp_path: Path) -> None:
    environment = {
        name: re.sub(r"\$\{\w+:\?[^}]*\}", "x" * 40, str(value))
        for name, value in _compose()["services"]["asterisk"]["environment"].items()
    }
    environment |= {"ASTERISK_MODULES": "/m", "ASTERISK_PHONES_FILE": str(tmp_path / "phones.conf")}
    assert main([str(tmp_path)], environment) is None
    manager = (tmp_path / "etc/manager.conf").read_text()
    assert "bindaddr = 172.30.5.10" in manager and "permit = 172.30.5.0/24" in manager
    assert "contact = sip:127.0.0.2:5070" in (tmp_path / "etc/pjsip.conf").read_text()


def test_the_asterisk_image_says_what_is_missing(tmp_path: Path) -> None:
    assert main([str(tmp_path)], {"ASTERISK_MODULES": "/m"}) == "ASTERISK_AMI_SECRET is not set"
    hostile = {
        "ASTERISK_MODULES": "/m",
        "ASTERISK_AMI_SECRET": "x\n[y]",
        "ASTERISK_PROVISION_SECRET": "z",
    }
    assert "only letters" in str(main([str(tmp_path)], hostile))
    assert not (tmp_path / "etc/manager.conf").exists()
