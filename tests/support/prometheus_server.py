"""A real Prometheus of our own: scrapes given targets every second, evaluates the shipped rules without patience."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support import alerting, prometheus
from tests.support.ports import free_port

_START_SECONDS = 60.0
_POLL_SECONDS = 0.2


class Server:
    """A running Prometheus, asked over its HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """One API call; gives the field `data`.

        Raises:
            AssertionError: Prometheus said anything but success.
        """
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}{path}?{query}", timeout=60) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return dict(said["data"])

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's series."""
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return result

    def firing(self) -> list[dict[str, Any]]:
        """Alerts that fire now."""
        alerts: list[dict[str, Any]] = self.get("/api/v1/alerts")["alerts"]
        return [alert for alert in alerts if alert["state"] == "firing"]


def wait_for(what: str, condition: Any, seconds: float = _START_SECONDS) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it did not within the time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(_POLL_SECONDS)


def _config(folder: Path, target: str) -> Path:
    rules = re.sub(r"^( +for:) .*$", r"\1 0s", alerting.RULES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (folder / "rules.yml").write_text(rules, encoding="utf-8")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "renewctl", "static_configs": [{"targets": [target]}]}],
    }
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@contextmanager
def running(folder: Path, target: str) -> Iterator[Server]:
    """Prometheus with the shipped rules, every `for:` shortened to 0 s, scraping one target as job `renewctl`."""
    with configured(folder, _config(folder, target)) as server:
        yield server


@contextmanager
def configured(folder: Path, config: Path) -> Iterator[Server]:
    """Prometheus with a configuration of the test's own; its data goes below `folder`."""
    port = free_port()
    command = [
        prometheus.program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (
        (folder / "prometheus.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            server = Server(f"http://127.0.0.1:{port}")
            wait_for("Prometheus answers", lambda: process.poll() is not None or _ready(port))
            assert process.poll() is None, (folder / "prometheus.log").read_text(encoding="utf-8")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=60)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
