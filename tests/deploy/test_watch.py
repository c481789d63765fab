"""Alert rules, the configuration of Prometheus and Alertmanager, and the dashboard."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from fastapi.testclient import TestClient

from core.broker.doorbell import Doorbell
from core.settings import Settings
from core.store.session import Store
from tests.deploy.tools import FOLDER, REPOSITORY, words_of
from tests.unit.api.serving import application

WATCH = FOLDER / "watch"
RULES: list[dict[str, Any]] = yaml.safe_load((WATCH / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((WATCH / "grafana" / "dashboards" / "ballast.json").read_text())

_METRIC = re.compile(r"\bballast_\w+")
_PARTS = re.compile(r"_(bucket|count|sum)$")  # of a histogram


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])


def test_the_rules_do_what_their_own_tests_say() -> None:
    status, words = words_of("promtool", "test", "rules", "alerts_test.yml", cwd=WATCH)
    assert status == 0, words
    assert "SUCCESS" in words


def test_a_rule_that_never_fires_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text((WATCH / "alerts.yml").read_text().replace("> 86400", "> 864000"))
    (tmp_path / "alerts_test.yml").write_text((WATCH / "alerts_test.yml").read_text())
    status, words = words_of("promtool", "test", "rules", "alerts_test.yml", cwd=tmp_path)
    assert status != 0
    assert "BallastQueueOld" in words


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    tests = yaml.safe_load((WATCH / "alerts_test.yml").read_text())["tests"]
    fired = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in RULES}


def test_every_alert_says_in_the_runbook_what_to_do() -> None:
    headings = re.findall(r"^## (\w+)$", (REPOSITORY / "deploy/ALERTS.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in RULES]


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    text = (WATCH / "prometheus.yml").read_text()
    (tmp_path / "token").write_text("a token")
    (tmp_path / "alerts.yml").write_text((WATCH / "alerts.yml").read_text())
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/metrics_token", str(tmp_path / "token")))
    status, words = words_of("promtool", "check", "config", "prometheus.yml", cwd=tmp_path)
    assert status == 0, words
    assert f"{len(RULES)} rules found" in words


def test_alertmanager_takes_its_configuration(tmp_path: Path) -> None:
    status, words = words_of("amtool", "check-config", WATCH / "alertmanager.yml")
    assert status == 0, words
    (tmp_path / "alertmanager.yml").write_text((WATCH / "alertmanager.yml").read_text().replace("receiver", "reciever"))
    assert words_of("amtool", "check-config", tmp_path / "alertmanager.yml")[0] != 0


def test_every_metric_of_rules_and_dashboard_is_one_that_the_api_has(tmp_path: Path, database_url: str) -> None:
    used = {_PARTS.sub("", name) for expression in expressions() for name in _METRIC.findall(expression)}
    assert used
    store, doorbell = Store(database_url), Doorbell(Settings(home=tmp_path))
    answer = TestClient(application(store, doorbell), base_url="http://127.0.0.1").get("/metrics")
    store.close()
    assert answer.status_code == 200
    told = set(re.findall(r"^# TYPE (\w+) ", answer.text, re.MULTILINE))
    assert used <= told


def test_every_panel_has_a_place_of_its_own_and_the_chosen_source() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}, panel["title"]
        taken |= cells


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    """As the rule that records it: what reads rules reads expressions."""
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    status, words = words_of("promtool", "check", "rules", "rules.yml", cwd=tmp_path)
    assert status == 0, words
