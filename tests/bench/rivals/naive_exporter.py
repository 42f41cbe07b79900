"""The exporter people write first: prometheus_client, every file read and parsed at every scrape."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID
from prometheus_client import REGISTRY, start_http_server
from prometheus_client.core import GaugeMetricFamily

_LABELS = ["file", "topic", "serial"]


class Certificates:
    """A collector over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Both dates of each certificate."""
        after = GaugeMetricFamily("cert_not_after_timestamp_seconds", "End of validity.", labels=_LABELS)
        before = GaugeMetricFamily("cert_not_before_timestamp_seconds", "Begin of validity.", labels=_LABELS)
        for path in sorted(self.folder.glob("*.pem")):
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            topic = str(certificate.subject.get_attributes_for_oid(NameOID.USER_ID)[0].value)
            labels = [path.name, topic, f"{certificate.serial_number:x}"]
            after.add_metric(labels, certificate.not_valid_after_utc.timestamp())
            before.add_metric(labels, certificate.not_valid_before_utc.timestamp())
        yield from (after, before)


if __name__ == "__main__":
    REGISTRY.register(Certificates(Path(sys.argv[1])))
    start_http_server(int(sys.argv[2]), addr="127.0.0.1")
    signal.pause()
