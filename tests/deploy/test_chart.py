"""The Helm chart, with each file of values: rendered by Helm's own engine, then held to the schemas of Kubernetes and
KEDA. There is no cluster here.
"""

import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from pydantic import ValidationError

from tests.deploy.tools import FOLDER, REPOSITORY

CHART = FOLDER / "chart"
VALUES = sorted(file.stem for file in (CHART / "values").glob("*.yaml"))
KEDA = {"ScaledObject": keda.ScaledObject, "TriggerAuthentication": keda.TriggerAuthentication}

Object = dict[str, Any]


def values(name: str) -> Object:
    loaded: Object = yaml.safe_load((CHART / "values" / f"{name}.yaml").read_text())
    return loaded


@cache
def rendered(name: str) -> list[Object]:
    with helm_python.Chart.load(CHART) as chart:
        texts = chart.render(values(name), name="lab", namespace="research")
    files = [text for file, text in texts.items() if file.endswith(".yaml")]
    return [each for text in files for each in yaml.safe_load_all(text) if each]


def of_kind(name: str, *kinds: str) -> list[Object]:
    return [each for each in rendered(name) if each["kind"] in kinds]


def pods(name: str) -> Iterator[tuple[str, Object]]:
    for each in of_kind(name, "Deployment", "Job"):
        yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def check(each: Object, version: str) -> None:
    if each["kind"] in KEDA:
        KEDA[each["kind"]].model_validate(each, extra="forbid")
    elif each["apiVersion"] != "monitoring.coreos.com/v1":  # no package has its schema
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("name", VALUES)
def test_the_chart_is_as_its_linter_wants_it(name: str) -> None:
    said = helm_python.lint(CHART, values(name), strict=True)
    assert said["errors"] == []
    assert [each for each in said["messages"] if each["severity"] > 1] == []  # 1: it would like an icon


@pytest.mark.parametrize("version", ["1.25", "1.31", "1.37"])
@pytest.mark.parametrize("name", VALUES)
def test_whatever_it_renders_is_what_kubernetes_and_keda_take(name: str, version: str) -> None:
    for each in rendered(name):
        check(each, version)


def test_a_mistyped_field_would_be_refused() -> None:
    deployment = next(iter(of_kind("gpu", "Deployment")))
    with pytest.raises(kubernetes_validate.ValidationError):
        check({**deployment, "spec": {**deployment["spec"], "replica": 1}}, "1.31")
    scaled = next(iter(of_kind("gpu", "ScaledObject")))
    with pytest.raises(ValidationError):
        check({**scaled, "spec": {**scaled["spec"], "maxReplicas": 1}}, "1.31")


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 3},
        {"checkpoints": {"claim": "", "url": ""}},
        {"checkpoints": {"claim": "a", "url": "s3://b"}},
        {"settings": {"HOST": "0.0.0.0"}},
        {"ingress": {"enabled": True}},
        {"pools": [{"name": "gpu", "gpus": 8}]},
        {"pools": []},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(wrong: Object) -> None:
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmError):
        chart.render({**values("small"), **wrong}, name="lab")


@pytest.mark.parametrize("name", VALUES)
def test_every_pod_has_no_rights_and_writes_to_its_volumes_only(name: str) -> None:
    for which, pod in pods(name):
        assert pod["securityContext"]["runAsNonRoot"] is True, which
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, which
        assert pod["automountServiceAccountToken"] is False, which
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, which
            assert context["allowPrivilegeEscalation"] is False, which
            assert context["capabilities"] == {"drop": ["ALL"]}, which
            assert "memory" in container["resources"]["limits"], which


@pytest.mark.parametrize("name", VALUES)
def test_every_pod_that_leaves_has_longer_than_the_grace_time(name: str) -> None:
    for which, pod in pods(name):
        if "restartPolicy" in pod:
            continue  # the migration, which ends by itself
        (container,) = pod["containers"]
        grace = {each["name"]: each.get("value") for each in container["env"]}["BALLAST_GRACE_SECONDS"]
        assert pod["terminationGracePeriodSeconds"] > float(grace) + 10, which


def test_a_pod_has_one_gpu_and_as_many_pods_as_work() -> None:
    (worker,) = (pod for which, pod in pods("gpu") if which == "lab-worker-gpu")
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    (scaled,) = of_kind("gpu", "ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] == "lab-worker-gpu"
    places = {each["metadata"]["valueLocation"] for each in scaled["spec"]["triggers"]}
    assert places == {f"by_device.{kind}.{state}" for kind in ("gpu", "any") for state in ("queued", "running")}
    (deployment,) = (each for each in of_kind("gpu", "Deployment") if each["metadata"]["name"] == "lab-worker-gpu")
    assert "replicas" not in deployment["spec"], "an upgrade would undo what KEDA did"


@pytest.mark.parametrize("name", VALUES)
def test_the_database_is_migrated_before_anything_new_starts(name: str) -> None:
    (job,) = of_kind(name, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["db", "upgrade"]


def test_the_budget_is_for_those_of_whom_one_may_go() -> None:
    assert of_kind("small", "PodDisruptionBudget") == []
    (budget,) = of_kind("gpu", "PodDisruptionBudget")
    (api,) = (each for each in of_kind("gpu", "Deployment") if each["metadata"]["name"] == "lab-api")
    assert budget["spec"]["selector"] == api["spec"]["selector"]


def test_services_monitor_and_policies_find_the_pods_of_the_api() -> None:
    (api,) = (each for each in of_kind("gpu", "Deployment") if each["metadata"]["name"] == "lab-api")
    labels = api["spec"]["template"]["metadata"]["labels"].items()
    (service,) = of_kind("gpu", "Service")
    assert service["spec"]["selector"].items() <= labels
    (monitor,) = of_kind("gpu", "ServiceMonitor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    for policy in of_kind("gpu", "NetworkPolicy"):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels


def test_the_notes_name_a_pod_that_can_make_the_first_token() -> None:
    with helm_python.Chart.load(CHART) as chart:
        texts = chart.render(values("gpu"), name="lab", namespace="research")
    (notes,) = (text for file, text in texts.items() if file.endswith("NOTES.txt"))
    assert "deploy/lab-worker-cpu -- ballast token create" in notes, "the other pool may have no pod yet"


def test_the_chart_has_the_version_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project["version"]
