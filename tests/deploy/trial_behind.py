"""What users put behind (`make test-deploy`): Redis with TLS and an ACL, checkpoints in S3. A pooler before PostgreSQL
has a test of its own, tests/integration/test_pooler.py.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.engine import Engine, wait_for
from tests.deploy.stack import Stack
from tests.deploy.trials import LONG, STANDIN_FILES

TLS = """port 0
tls-port 6379
tls-cert-file /run/secrets/redis_certificate
tls-key-file /run/secrets/redis_key
tls-auth-clients no
"""
TRUSTED = "?ssl_ca_certs=/run/secrets/redis_certificate&ssl_cert_reqs=required"


@pytest.fixture(scope="module")
def stack(engine: Engine, images: dict[str, Any]) -> Iterator[Stack]:
    assert images
    with engine.building():
        engine.build(STANDIN_FILES / "Dockerfile", "s3", "ballast-standin-s3", STANDIN_FILES)
    stack = Stack(engine, ["behind.yaml"])
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=redis"]
    names = ["-addext", "subjectAltName=DNS:redis", "-keyout", "redis.key", "-out", "redis.crt"]
    subprocess.run([*certificate, *names], cwd=stack.secrets, check=True, capture_output=True)
    (stack.secrets / "redis.key").chmod(0o644)
    with (stack.secrets / "redis.conf").open("a") as file:
        file.write(TLS)
    url = (stack.secrets / "broker_url").read_text().strip()
    (stack.secrets / "broker_url").write_text(url.replace("redis://", "rediss://") + TRUSTED)
    with stack.started():
        make = "import s3fs; s3fs.S3FileSystem().mkdir('ballast')"
        stack.compose("exec", "-T", "api", "python3", "-c", make)
        yield stack


def test_the_broker_is_reached_through_tls_by_a_user_with_few_rights(stack: Stack) -> None:
    ready = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/readyz').read().decode())"
    assert json.loads(stack.compose("exec", "-T", "api", "python3", "-c", ready))["broker"] == "ok"


def test_a_worker_goes_on_from_a_checkpoint_in_s3(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "long.json").write_text(json.dumps(LONG))
    experiment = str(json.loads(stack.ballast("submit", tmp_path / "long.json", "--json"))["id"])
    wait_for(lambda: stack.shown(experiment)["epochs_done"] > 0)
    stack.compose("stop", "worker-cpu")
    assert stack.shown(experiment)["state"] == "queued"
    assert files_in_s3(stack)
    left = stack.shown(experiment)["epochs_done"]
    stack.compose("start", "worker-cpu")
    wait_for(lambda: stack.shown(experiment)["epochs_done"] > left)
    assert not stack.shown(experiment).get("replay_mismatch_from")
    stack.ballast("cancel", experiment)
    wait_for(lambda: stack.shown(experiment)["state"] == "cancelled")
    stack.ballast("delete", experiment)
    assert not files_in_s3(stack)


def files_in_s3(stack: Stack) -> list[str]:
    find = "import s3fs; print('\\n'.join(s3fs.S3FileSystem().find('ballast')))"
    return stack.compose("exec", "-T", "api", "python3", "-c", find).split()
