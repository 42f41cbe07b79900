"""What a scrape costs where everything is on: NanoMDM's database with a million devices, a store, a password.

The same folders of certificates beside it, and the same naive exporter, which does none of that. No bar: it is told.
"""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import bcrypt

from tests.bench.device_counts import MANY, fill
from tests.bench.exporter_contenders import Contender, naive, start
from tests.bench.exporter_scrapes import SIZES, by_blocks, compared, complete, issue
from tests.bench.table import Measured
from tests.support import exporter_history as history
from tests.support.certs import apple_like
from tests.support.https import basic
from tests.support.postgres import Database, running_cluster

_TOPICS = [f"com.apple.mgmt.External.0000000{number}-2222-4333-8444-555555555555" for number in range(5)]
"""Those of the devices."""

_RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

_COST = 10
"""Of bcrypt, as `htpasswd -C 10` has it."""


def measure(folder: Path) -> Iterator[Measured]:
    """By turns with the naive exporter, at each number of certificates."""
    words = [sys.executable, "-m", "tests.bench.telling_server"]
    with running_cluster() as cluster, subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/closed"
            devices, store = _nanomdm(cluster.create_database()), cluster.create_database()
            history.write(store.url, "tokyo-1", history.accepted(), history.rolled_out("mdm-1"))
            in_use = partial(_in_use, url, devices, store.url)
            for size in SIZES:
                yield from _at(folder, size, in_use)
        finally:
            server.terminate()


def _at(folder: Path, size: int, in_use: Callable[[Path, Path], Contender]) -> Iterator[Measured]:
    certificates, place = folder / f"certificates-{size}", folder / f"run-{size}"
    certificates.mkdir()
    place.mkdir()
    issue(certificates, size)
    time.sleep(2.5)  # what was changed a moment ago is read again at the next poll
    running = [in_use(certificates, place / "ours"), naive(certificates, place / "naive")]
    taken = by_blocks(running, _whole(size), size)
    what = f"scrape, {size} certificates, all on"
    yield from compared(taken, "naive", what, (math.inf,) * 3, size)


def _in_use(url: str, devices: str, store: str, certificates: Path, place: Path) -> Contender:
    place.mkdir()
    for name, secret in (("devices", devices), ("store", store)):
        (place / name).write_text(secret)
    nodes = [
        {"name": "pki", "product": "files", "folder": str(certificates)},
        {
            "name": "mdm-1",
            "product": "nanomdm",
            "url": url,
            "devices": {"sql": {"file": str(place / "devices")}},
        },
    ]
    uids = [history.UID, *_TOPICS]
    topics = [
        {"id": f"t{number}" if number else "tokyo", "topic": uid, "name": "T", "account": {"alias": "a"}}
        for number, uid in enumerate(uids)
    ]
    whole = {
        "version": 1,
        "store": {"file": str(place / "store")},
        "keys": {"folder": "keys", "recipients": [_RECIPIENT], "shared": True},
        "topics": topics,
        "nodes": nodes,
    }
    (place / "inventory.yaml").write_text(json.dumps(whole), encoding="utf-8")
    hashed = bcrypt.hashpw(b"swordfish", bcrypt.gensalt(_COST)).decode()
    (place / "web.yml").write_text(json.dumps({"basic_auth_users": {"prometheus": hashed}}))
    flag = f"--web.config.file={place / 'web.yml'}"
    return start(place, "30s", flag, headers=basic("prometheus", "swordfish"))


def _nanomdm(database: Database) -> str:
    """A million enrollments of five topics, and their push certificates; what a role may read that tells no key."""
    fill(database, MANY)
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE push_certs (topic text, cert_pem text, key_pem text, stale_token int)"
        )
        for topic in _TOPICS:
            pem = apple_like().push(topic).pem.decode()
            connection.execute("INSERT INTO push_certs VALUES (%s, %s, 'SECRET', 0)", (topic, pem))
    return database.select_only(
        "push_certs(topic, cert_pem)", "enrollments(id, user_id, topic, enabled, last_seen_at)"
    )


def _whole(size: int) -> Callable[[bytes], bool]:
    """Whether a body tells of every certificate and, where it is ours, of every device and of the store."""
    certificates = complete(size)

    def whole(body: bytes) -> bool:
        text = (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode()
        if not certificates(body):
            return False
        if "mdm_exporter_build_info" not in text:
            return True  # the naive one
        counted = [line for line in text.splitlines() if line.startswith("mdm_devices_enrolled{")]
        devices = sum(float(line.rpartition(" ")[2]) for line in counted)
        return devices == MANY and "mdm_store_up 1" in text and 'phase="rolling_out"' in text

    return whole
