"""A folder for an exporter whose status page has something of everything.

Topics: `tokyo` due, its request ready for the portal; `osaka` rolled out but for a node that is owed;
`nagoya` with nodes that disagree; `fukuoka` expired; `sapporo` told long ago by a node that is silent now;
`sendai` never told of; `kobe` in order.

Beside them: the watched folder `pki` of a dozen certificates, one of each level among them, two files without one, and one
that is not there (`archive`); a SCEP CA that lasts, tokens that end soon or ended, a server nobody can greet.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from renewctl.renewal.events import Kind
from renewctl.store.write import Stamp, Store
from tests.support.certs import Issued, apple_like
from tests.support.exporter_process import files_node

_STAMP = Stamp("sato@desk", "desk", "0.1.0", "d" * 64)
_NAMES = {
    "tokyo": "東京本社",
    "osaka": "Osaka office",
    "nagoya": "Nagoya plant",
    "fukuoka": "福岡 <script>alert(1)</script>",
    "sapporo": "Sapporo",
    "sendai": "Sendai",
    "kobe": "神戸",
}
UIDS = {
    id_: f"com.apple.mgmt.External.0000000{number}-2222-4333-8444-555555555555"
    for number, id_ in enumerate(_NAMES)
}
DEVICES = {"enabled": 412, "seen_within": {"86400": 280, "604800": 389}}
"""What the silent node told of devices when it still answered."""


def build(folder: Path) -> None:
    """Write inventory, certificates, the snapshot of an earlier run, and the store."""
    now = datetime.now(UTC)
    wide = timedelta(hours=1)
    ends = {
        name: now + timedelta(days=days) + wide
        for name, days in {"old": 42, "new": 300, "left": 310, "right": 200, "gone": -4}.items()
    }
    pairs = {
        "tokyo": {"mdm-1": ends["old"], "mdm-2": ends["old"]},
        "osaka": {"osaka-1": ends["new"], "osaka-2": ends["old"]},
        "nagoya": {"nagoya-1": ends["left"], "nagoya-2": ends["right"]},
        "fukuoka": {"fukuoka-1": ends["gone"]},
        "kobe": {"kobe-1": ends["new"]},
    }
    issued = {
        (id_, end): apple_like().push(UIDS[id_], not_after=end)
        for id_, nodes in pairs.items()
        for end in nodes.values()
    }
    nodes: list[dict[str, object]] = []
    for id_, served in pairs.items():
        for node, end in served.items():
            (folder / f"{node}.pem").write_bytes(issued[id_, end].pem)
            nodes.append({**files_node(node, folder / f"{node}.pem"), "topics": [id_]})
    # Nobody listens on port 9 of the loopback.
    silent = {"product": "nanomdm", "url": "http://127.0.0.1:9"}
    nodes += [{"name": name, "topics": [name], **silent} for name in ("sapporo", "sendai")]
    nodes += [
        _folder(folder, now),
        {"name": "archive", "product": "files", "folder": str(folder / "archive")},
    ]
    _inventory(folder, nodes, _expires(folder, now))
    _snapshot(folder, now)
    _store(folder, now, issued["osaka", ends["old"]], issued["osaka", ends["new"]])


def _folder(folder: Path, now: datetime) -> dict[str, object]:
    """A watched folder: 14 files, the first four of them in need of somebody, two more without a certificate."""
    place = folder / "pki"
    place.mkdir()
    for number, days in enumerate([-3, 2, 5, 20, *range(60, 460, 50)]):
        ends = now + timedelta(days=days, hours=1)
        uid = f"com.apple.mgmt.External.1000000{number:x}-2222-4333-8444-555555555555"
        (place / f"customer-{number:02}.pem").write_bytes(apple_like().push(uid, not_after=ends).pem)
    (place / "empty.pem").touch()
    (place / "half.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n")
    return {"name": "pki", "product": "files", "folder": str(place)}


def _expires(folder: Path, now: datetime) -> list[dict[str, object]]:
    """What else the inventory names."""

    def at(days: float) -> str:
        return (now + timedelta(days=days, hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    apps = json.dumps({"token": "secret", "expDate": at(-2), "orgName": "Acme"}).encode()
    (folder / "apps.vpptoken").write_bytes(base64.b64encode(apps))
    (folder / "enrollment.json").write_text(
        json.dumps({"access_token": "secret", "access_token_expiry": at(18)})
    )
    (folder / "scep.pem").write_bytes(apple_like().vendor(not_after=now + timedelta(days=900, hours=1)).pem)
    return [
        {"kind": "scep_ca", "name": "device CA", "file": str(folder / "scep.pem")},
        {"kind": "vpp_token", "name": "アプリ", "file": str(folder / "apps.vpptoken")},
        {"kind": "ade_token", "name": "Tokyo", "node": "kobe-1", "file": str(folder / "enrollment.json")},
        {"kind": "tls_certificate", "name": "mdm.example:443", "url": "https://127.0.0.1:9"},
    ]


def _inventory(folder: Path, nodes: list[dict[str, object]], expires: list[dict[str, object]]) -> None:
    account = {
        "alias": "mdm-tokyo",
        "address": "mdm-tokyo@example.invalid",
        "second_factor": "the phone in the safe",
    }
    topics = [
        {
            "id": id_, "topic": UIDS[id_], "name": name, "account": account, "owner": "佐藤", "deputy": "Suzuki",
            "zone": "Asia/Tokyo",
        }
        for id_, name in _NAMES.items()
    ]  # fmt: skip
    whole = {
        "version": 1,
        "store": "sqlite:///store/store.db",
        "keys": {
            "folder": "keys",
            "recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
        },
        "topics": topics,
        "nodes": nodes,
        "expires": expires,
    }
    (folder / "inventory.yaml").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")


def _snapshot(folder: Path, now: datetime) -> None:
    """What an exporter kept three days ago, written by hand."""
    at = (now - timedelta(days=3)).isoformat()
    certificate = {
        "topic": UIDS["sapporo"], "not_after": (now + timedelta(days=9, hours=1)).isoformat(),
        "source": "database", "serial": "5f0a9b3c7d21e846", "fingerprint": None, "key_fingerprint": None,
        "issuer": None,
    }  # fmt: skip
    node = {
        "looked_at": at, "up": True, "failures": [], "last_success": at, "told": [certificate],
        "told_at": at, "kept": [], "devices": [{"topic": UIDS["sapporo"], **DEVICES}], "devices_at": at,
        "files": [], "gone": {},
    }  # fmt: skip
    kept = {
        "version": 3, "nodes": {"sapporo": node}, "renewals": [], "adopted": {}, "expiries": [], "store_head": "",
        "store_read": None,
    }  # fmt: skip
    (folder / "snapshot.json").write_text(json.dumps(kept))


def _store(folder: Path, now: datetime, old: Issued, new: Issued) -> None:
    (folder / "store").mkdir()
    url = f"sqlite:///{folder / 'store' / 'store.db'}"
    Store.create(url)
    key = {"key_fingerprint": "c" * 64}
    request = {
        "document": "e" * 64, "last_day": (now + timedelta(days=30)).isoformat(), "signer": "vendor",
        "serial": "01", "file": "tokyo-1.plist",
    }  # fmt: skip
    begun: list[tuple[Kind, dict[str, Any]]] = [
        (Kind.KEY_MADE, key),
        (Kind.CSR_MADE, {**key, "document": "f" * 64}),
    ]
    with Store(url) as store:
        opened = (
            Kind.OPENED,
            {"topic_id": "tokyo", "topic": UIDS["tokyo"], "previous": _pair(old), "number": 1},
        )
        _append(store, "tokyo-1", [opened, *begun, (Kind.REQUESTED, request)])
        opened = (
            Kind.OPENED,
            {"topic_id": "osaka", "topic": UIDS["osaka"], "previous": _pair(old), "number": 1},
        )
        rolled: list[tuple[Kind, dict[str, Any]]] = [
            (Kind.ACCEPTED, {"pair": _pair(new), "topic": UIDS["osaka"], "findings": []}),
            (
                Kind.ROLL_OUT_STARTED,
                {"run": 1, "waves": [["osaka-1"]], "left_out": {"osaka-2": "no answer"}, "pair": _pair(new),
                 "forward_only": False},
            ),
            (Kind.WAVE_STARTED, {"run": 1, "direction": "new", "nodes": ["osaka-1"]}),
            (
                Kind.NODE_FINISHED,
                {"run": 1, "direction": "new", "node": "osaka-1", "outcome": "proven", "reason": None,
                 "values": {}, "changed": True, "proof": {"rungs": {"read_back": "yes", "device": "yes"}}},
            ),
            (Kind.ROLL_OUT_FINISHED, {"run": 1, "outcome": "done", "reason": None}),
        ]  # fmt: skip
        _append(store, "osaka-1", [opened, *begun, *rolled])


def _append(store: Store, renewal: str, events: list[tuple[Kind, dict[str, Any]]]) -> None:
    for seq, (kind, body) in enumerate(events, start=1):
        store.append(renewal, kind, body, stamp=_STAMP, expected_seq=seq)


def _pair(issued: Issued) -> Mapping[str, object]:
    return {
        "document": "d" * 64,
        "fingerprint": "f" * 64,
        "serial": issued.serial,
        "not_after": issued.certificate.not_valid_after_utc.isoformat(),
        "key_fingerprint": "c" * 64,
    }
