"""What an exporter might say on a bad day, written by hand: every metric of the contract, three topics, three nodes.

`late` ends in 42 days (window 60), `fresh` in 300 days, `lapsed` ended yesterday; node mdm-3 is silent and owed. One file
of a watched folder cannot be read; a token ends in 20 days, the server's own certificate ended.
"""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LATE = "com.apple.mgmt.External.00000000-0000-4000-8000-000000000001"
FRESH = "com.apple.mgmt.External.00000000-0000-4000-8000-000000000002"
LAPSED = "com.apple.mgmt.External.00000000-0000-4000-8000-000000000003"

_DAY = 86_400
_TOPICS = {LATE: ("late", 42), FRESH: ("fresh", 300), LAPSED: ("lapsed", -1)}


def _certificates(now: float) -> list[str]:
    lines = []
    for topic, (id_, days) in _TOPICS.items():
        for node, source in (("mdm-1", "database"), ("mdm-2", "file"), ("mdm-3", "recorded")):
            labels = f'topic="{topic}",node="{node}",source="{source}"'
            lines += [
                f"mdm_push_certificate_expiry_timestamp_seconds{{{labels}}} {now + days * _DAY}",
                f'mdm_push_certificate_info{{{labels},serial="0{len(id_)}",issuer="Example CA"}} 1',
                f'mdm_topic_node{{topic="{topic}",node="{node}"}} 1',
            ]
    return lines


def _topics() -> list[str]:
    lines = []
    for topic, (id_, _) in _TOPICS.items():
        labels = f'topic="{topic}",id="{id_}",name="{id_.title()}",owner="it",account="alias",label_site="hq"'
        lines += [
            f"mdm_topic_info{{{labels}}} 1",
            f'mdm_topic_renewal_window_seconds{{topic="{topic}"}} 5184000',
            f'mdm_topic_expiry_known{{topic="{topic}"}} 1',
        ]
    return lines


def _nodes(now: float) -> list[str]:
    lines = []
    for node in ("mdm-1", "mdm-2", "mdm-3"):
        up = int(node != "mdm-3")
        lines += [
            f'mdm_node_up{{node="{node}",product="nanomdm"}} {up}',
            f'mdm_node_failures{{node="{node}",reason="node_unreachable"}} {1 - up}',
            f'mdm_node_last_success_timestamp_seconds{{node="{node}"}} {now - 30}',
            f'mdm_node_snapshot_timestamp_seconds{{node="{node}"}} {now - 30}',
            f'mdm_node_poll_duration_seconds{{node="{node}"}} 0.1',
            f'mdm_node_polls_total{{node="{node}"}} 100',
            f'mdm_node_poll_failures_total{{node="{node}"}} {100 * (1 - up)}',
        ]
    for topic in _TOPICS:
        labels = f'node="mdm-1",storage="main",topic="{topic}"'
        lines.append(f"mdm_devices_enrolled{{{labels}}} 200")
        for number, days in enumerate((1, 7, 14, 30, 60, 90)):
            lines.append(f'mdm_devices_seen{{{labels},within="{days * _DAY}"}} {150 + 10 * number}')
    return lines


def _devices(now: float) -> list[str]:
    labels = f'node="mdm-1",storage="main",topic="{LATE}",device="AAAA-1"'
    return [
        f"mdm_device_last_seen_timestamp_seconds{{{labels}}} {now - 40 * _DAY}",
        'mdm_device_series_dropped{node="mdm-1",storage="main"} 599',
    ]


def _files(now: float) -> list[str]:
    lines = ['mdm_certificate_file_failure{node="pki",file="/pki/bad.pem",reason="file_empty"} 1']
    for name, readable in (("good", 1), ("bad", 0)):
        labels = f'node="pki",file="/pki/{name}.pem"'
        lines += [
            f"mdm_certificate_file_readable{{{labels}}} {readable}",
            f'mdm_certificate_file_expiry_timestamp_seconds{{{labels},topic=""}} {now + 300 * _DAY}',
        ]
    return lines


def _others(now: float) -> list[str]:
    lines = ['mdm_expiry_failure{kind="vpp_token",name="apps",node="",reason="file_not_found"} 1']
    for kind, name, days, known in (("vpp_token", "apps", 20, 0), ("tls_certificate", "mdm.example", -1, 1)):
        labels = f'kind="{kind}",name="{name}",node=""'
        lines += [
            f"mdm_expiry_timestamp_seconds{{{labels}}} {now + days * _DAY}",
            f"mdm_expiry_known{{{labels}}} {known}",
            f"mdm_expiry_last_success_timestamp_seconds{{{labels}}} {now - 600}",
        ]
    return lines


def _process(now: float) -> list[str]:
    return [
        "process_virtual_memory_bytes 2e8",
        "process_resident_memory_bytes 5e7",
        f"process_start_time_seconds {now - 3600}",
        "process_cpu_seconds_total 12",
        "process_open_fds 20",
        "process_max_fds 1024",
    ]


_HEAD = "a" * 64


def _renewals(now: float) -> list[str]:
    return [
        f'mdm_renewal_phase{{topic="{FRESH}",renewal="fresh-1",phase="rolling_out"}} 1',
        f'mdm_renewal_accepted_timestamp_seconds{{topic="{FRESH}"}} {now - 2 * _DAY}',
        f'mdm_renewal_nodes_owed{{topic="{FRESH}"}} 1',
        f'mdm_renewal_node_owed{{topic="{FRESH}",node="mdm-1"}} 0',
        f'mdm_renewal_node_owed{{topic="{FRESH}",node="mdm-3"}} 1',
        "mdm_store_up 1",
        f"mdm_store_last_success_timestamp_seconds {now - 60}",
        f'mdm_store_head_info{{head="{_HEAD}"}} 1',
        'mdm_exporter_build_info{version="0.1.0"} 1',
        f"mdm_exporter_last_round_timestamp_seconds {now - 5}",
        "mdm_exporter_config_last_reload_successful 1",
        f"mdm_exporter_config_last_reload_success_timestamp_seconds {now - 3600}",
        "mdm_exporter_snapshot_written 1",
    ]


def exposition(now: float) -> str:
    """The text of `/metrics`, format 0.0.4, at a Unix time; series of one metric stand together."""
    lines = [*_certificates(now), *_topics(), *_nodes(now), *_renewals(now)]
    lines += [*_devices(now), *_files(now), *_others(now), *_process(now)]
    return "\n".join(sorted(lines)) + "\n"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = exposition(time.time()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served() -> Iterator[str]:
    """Serve the exposition on a loopback port; gives `host:port`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
