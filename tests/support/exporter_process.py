"""The exporter as operators run it: a child process, asked over HTTP. Shares no code with it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

TOPIC = "com.apple.mgmt.External.11111111-2222-4333-8444-555555555555"


PATIENT = """
import sys
from exporter import main, poller
from renewctl.servers.nanomdm import NanoMDM
NanoMDM.__init__.__kwdefaults__["deadline_seconds"] = poller.LOOK_SECONDS = 600.0
sys.exit(main.main(sys.argv[1:]))
"""
"""With `program=("-c", PATIENT)` a node that hangs does so for ten minutes: longer than a test, on a busy machine too."""


@dataclass
class Answer:
    """One HTTP answer, names of headers in lower case, its body as sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exporter:
    """A running exporter."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        """Ask once."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers=dict(headers or {}), method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=240) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())

    def series(self) -> dict[str, float]:
        """`name{labels}` as written -> value, of the text format, read line by line."""
        found = {}
        for line in self.get("/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                assert series not in found, f"twice: {series}"
                found[series] = float(value)
        return found

    def wait_for(self, name: str, value: float | None = None, seconds: float = 60) -> dict[str, float]:
        """Until a series is there (with a value)."""
        return self.wait(lambda series: name in series and value in {None, series[name]}, name, seconds)

    def wait(self, condition: object, words: str = "", seconds: float = 60) -> dict[str, float]:
        """Until a condition of the series holds."""
        assert callable(condition)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            series = self.series()
            if condition(series):
                return series
            time.sleep(0.05)
        raise AssertionError(
            f"not within {seconds} s: {words}\n{json.dumps(series, indent=1)}\n{self.log.read_text()}"
        )

    def stop(self) -> int:
        """SIGTERM, then its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def exporter(
    folder: Path,
    *flags: str,
    environment: Mapping[str, str] | None = None,
    interval: str = "500ms",
    under: Sequence[str] = (),
    program: Sequence[str] = ("-m", "exporter.main"),
) -> Iterator[Exporter]:
    """An exporter over `folder/inventory.yaml`, its snapshot in `folder/snapshot.json`.

    Args:
        under: a command that runs it, with less rights for example.
        program: how Python is told to run it.
    """
    log = folder / "exporter.log"
    words = [
        *under, sys.executable, *program, f"--config.file={folder / 'inventory.yaml'}",
        "--web.listen-address=127.0.0.1:0", f"--poll.interval={interval}", f"--snapshot.file={folder / 'snapshot.json'}",
        *flags,
    ]  # fmt: skip
    with log.open("w") as stderr:
        process = subprocess.Popen(words, stderr=stderr, text=True, env=environment)
    try:
        yield Exporter(process, port_told(process, log), log)
    finally:
        process.kill()
        process.wait()


def inventory(
    folder: Path, nodes: list[Mapping[str, object]], store: str = "sqlite:///store/store.db", **topic: object
) -> None:
    """Write an inventory of one topic and these nodes (JSON is YAML)."""
    whole = {
        "version": 1,
        "store": store,
        "keys": {"folder": "keys", "recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]},
        "topics": [{
            "id": "tokyo", "topic": TOPIC, "name": "Tokyo office", "owner": "Sato",
            "account": {"alias": "mdm-tokyo", "address": "mdm@example.invalid"}, **topic,
        }],
        "nodes": [node if "folder" in node else {"topics": ["tokyo"], **node} for node in nodes],
    }  # fmt: skip
    (folder / "inventory.yaml").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")


def files_node(name: str, certificate: Path) -> dict[str, object]:
    """A node of files on this machine."""
    paths = {"certificate": str(certificate), "key": f"{certificate}.key"}
    install = {"paths": paths, "host": "localhost"}
    return {"name": name, "product": "files", "install": install}


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def port_told(process: subprocess.Popen[str], log: Path) -> int:
    """The port it says it listens on, once it does."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"listening on \S+:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(f"the exporter did not start:\n{log.read_text()}")
