"""The containers' files: what can be said of them without an engine that builds them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from flows.deployments import QUEUES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_the_services_of_an_installation_are_there_and_wait_for_what_they_need(compose):
    services = compose["services"]
    assert services.keys() >= {"postgres", "prefect", "mlflow", "score-worker", "train-worker", "review"}
    for name, service in services.items():
        for needed, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}, name
            assert "healthcheck" in services[needed], needed
    pools = {services[name]["entrypoint"][4] for name in ("score-worker", "train-worker", "gpu-worker")}
    assert pools == QUEUES.keys()


def test_every_port_is_open_to_this_host_alone(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_database_that_is_connected_to_is_made(compose):
    text = (ROOT / "compose.yaml").read_text()
    made = set(re.findall(r"create database (\w+);", (ROOT / "containers" / "databases.sql").read_text()))
    assert set(re.findall(r"@postgres:5432/(\w+)", text)) == made
    assert "POSTGRES_PASSWORD:?" in text  # none is in the file, and without one nothing starts


def test_no_command_line_holds_a_password(compose):
    for name, service in compose["services"].items():
        said = f"{service.get('entrypoint')} {service.get('command')}"
        assert "PASSWORD" not in said, name


def test_volumes_that_are_mounted_are_declared_and_paths_exist(compose):
    declared = compose["volumes"].keys()
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            origin = volume.rsplit(":", 2)[0] if volume.endswith(":ro") else volume.rsplit(":", 1)[0]
            assert origin in declared or origin.startswith("${PROJECT") or (ROOT / origin).exists(), origin


def test_the_image_runs_as_an_ordinary_user_and_is_built_of_files_that_exist():
    dockerfile = (ROOT / "Dockerfile").read_text()
    final = dockerfile.split("FROM ")[-1]
    assert re.search(r"^USER (?!root)\w+$", final, re.MULTILINE)
    assert "ARG TORCH_BACKEND" in dockerfile
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        name
        for line in re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE)
        for name in line.split()
    ]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert name in kept, name
