"""deploy/ built and run, by a real engine (`make test-deploy`, as root): images, compose, TLS, tokens, a sweep, stops,
an alert. No other command collects this file: it takes minutes, and what it downloads is Debian's and Python's.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.engine import Engine, wait_for
from tests.deploy.stack import Stack
from tests.deploy.trials import LONG, timed, told

BALLAST = Path(sys.executable).parent / "ballast"
MODEL = ("--set", "dataset.name=digits", "--set", "model.name=mlp")


@pytest.fixture(scope="module")
def stack(engine: Engine, images: dict[str, Any]) -> Iterator[Stack]:
    assert images
    stack = Stack(engine)
    hasten(stack.folder / "watch" / "alerts.yml", r"for: .*", "for: 10s")
    hasten(stack.folder / "watch" / "prometheus.yml", r"_interval: .*", "_interval: 1s")
    hasten(stack.secrets / "alertmanager.yml", r"group_(wait|interval): .*", r"group_\1: 1s")
    with stack.started():
        yield stack


def hasten(file: Path, what: str, to: str) -> None:
    file.write_text(re.sub(what, to, file.read_text()))


def test_the_images_are_as_small_as_they_are_said_to_be(images: dict[str, Any]) -> None:
    base = images["base"]["Size"]
    for name in ("api", "worker"):
        size = images[name]["Size"]
        told(f"image {name}: {size / 1e6:.0f} MB, {(size - base) / 1e6:.0f} of them ours")
    assert images["api"]["Size"] - base < 600e6


@pytest.mark.parametrize("name", ["api", "worker"])
def test_an_image_has_no_root_and_a_healthcheck_and_no_trace_of_this_machine(images: dict[str, Any], name: str) -> None:
    configuration = images[name]["Config"]
    assert configuration["User"] == "10001:10001"
    assert configuration["Healthcheck"]["Test"][0] == "CMD"
    traces = json.dumps(configuration) + "\n".join(images[name]["layers"])
    assert "pip.conf" not in traces
    assert "ca-certificates.crt" not in traces
    assert not re.search(r"index-url (https?|file):", traces)


def test_the_image_of_the_api_has_no_torch_and_that_of_the_worker_has(stack: Stack) -> None:
    asked = ("run", "--rm", "--network=none", "--entrypoint=python3")
    find = "import importlib.util as u; print(u.find_spec('torch') is not None, u.find_spec('s3fs') is not None)"
    assert stack.engine.docker(*asked, "ballast-api", "-c", find).split() == ["False", "True"]
    assert stack.engine.docker(*asked, "ballast-worker", "-c", find).split() == ["True", "True"]


def test_a_sweep_is_posted_through_tls_and_trained_in_a_container(stack: Stack) -> None:
    with timed("a sweep of two runs of three epochs, posted through TLS"):
        stack.ballast("sweep", "figure-2", *MODEL, "--set", "epochs=3", "--seeds", "1", "--watch")
    listed = json.loads(stack.ballast("list", "--json"))
    assert {each["state"] for each in listed} == {"succeeded"}
    assert {each["owner"] for each in listed} == {"keeper"}


def test_without_a_token_nobody_sees_anything(stack: Stack) -> None:
    answers = {path: status_of(stack, path) for path in ("/livez", "/readyz", "/experiments", "/workers")}
    assert answers == {"/livez": 200, "/readyz": 200, "/experiments": 401, "/workers": 401}


def status_of(stack: Stack, path: str) -> int:
    ask = (
        "import http.client as h, ssl, sys; c = h.HTTPSConnection('localhost', context=ssl.create_default_context());"
        "c.request('GET', sys.argv[1]); print(c.getresponse().status)"
    )
    certificate = str(stack.secrets / "tls.crt")
    return int(stack.engine.inside(sys.executable, "-c", ask, path, SSL_CERT_FILE=certificate).stdout)


def test_a_worker_that_is_stopped_gives_its_experiment_back_with_its_state(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "long.json").write_text(json.dumps(LONG))
    experiment = str(json.loads(stack.ballast("submit", tmp_path / "long.json", "--json"))["id"])
    wait_for(lambda: stack.shown(experiment)["epochs_done"] > 0)
    with timed("worker stopped in mid-run"):
        stack.compose("stop", "worker-cpu")
    assert stack.exit_status("worker-cpu") == 0
    left = stack.shown(experiment)
    assert left["state"] == "queued"
    assert left["failures"] == 0
    stack.compose("start", "worker-cpu")
    wait_for(lambda: stack.shown(experiment)["epochs_done"] > left["epochs_done"])
    assert stack.shown(experiment)["state"] == "running"
    stack.ballast("cancel", experiment)


def test_an_alert_fires_into_a_webhook(stack: Stack) -> None:
    (stack.secrets / "metrics_token").write_text(stack.new_token("prometheus", "read"))
    gateway = stack.engine.docker(
        "network", "inspect", "ballast_inner", "--format", "{{(index .IPAM.Config 0).Gateway}}"
    ).strip()
    hook = Path(__file__).parent / "webhook.py"
    heard = stack.folder / "heard"
    process = stack.engine.start_inside(sys.executable, hook, gateway, "9999", heard)
    hasten(stack.secrets / "alertmanager.yml", r'url: ".*"', f'url: "http://{gateway}:9999/"')
    try:
        stack.compose("up", "--detach", "--no-build", "--no-deps", "prometheus", "alertmanager")
        wait_for(lambda: "1" in up(stack))
        assert not heard.exists()
        stack.compose("stop", "api")
        with timed("from an API that is stopped to the webhook"):
            wait_for(heard.exists)
        alert = json.loads(heard.read_text())["alerts"][0]
        assert alert["labels"]["alertname"] == "BallastApiDown"
        assert alert["annotations"]["summary"]
    finally:
        process.terminate()
        process.wait()
        stack.compose("start", "api")


def up(stack: Stack) -> list[str]:
    """What Prometheus thinks of each API process."""
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/api/v1/query?query=up').read().decode())"
    try:
        answer = json.loads(stack.engine.inside(sys.executable, "-c", ask).stdout)
    except AssertionError:  # it does not listen yet
        return []
    return [each["value"][1] for each in answer["data"]["result"]]


def test_the_api_that_is_stopped_ends_in_order(stack: Stack) -> None:
    with timed("API stopped"):
        stack.compose("stop", "api")
    assert stack.exit_status("api") == 0
    stack.compose("start", "api")


def test_nothing_of_it_is_in_the_networks_of_this_machine(stack: Stack) -> None:
    assert stack
    addresses = subprocess.run(["ip", "address"], capture_output=True, text=True, check=True).stdout
    assert "172.31.250.1" not in addresses
    assert "172.31.83.1" not in addresses
