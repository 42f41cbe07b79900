"""Every kind of attack, plainly and with TLS: what a normal scrape takes under it, and what memory it costs.

No bar here: `tests/exporter/test_exporter_attack.py` has the bounds. Each has an exporter of its own, which shows
two thousand files, so that nothing is left of the attack before, and attackers of their own process.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.attacker import ATTACKS
from tests.bench.table import Measured
from tests.support.attacked_exporter import Attacked, attacked, fill, secured

_SCRAPES = 15
_PAUSE_SECONDS = 0.1
"""Between scrapes; memory is looked at meanwhile. All end within 3 s, before the first of those who are idle or slow is dropped."""

_CERTIFICATES = 1000


def measure(folder: Path) -> Iterator[Measured]:
    """Two rows for each attack and way to speak: the scrape, and the memory."""
    certificates, place = folder / "certificates", folder / "attacked"
    certificates.mkdir()
    place.mkdir()
    fill(certificates, _CERTIFICATES)
    flag, context = secured(place)
    time.sleep(2.5)  # what was changed a moment ago is read again at the next poll
    for attack in ATTACKS:
        with attacked(place, certificates) as plain:
            yield from _under(attack, plain, "plain")
        with attacked(place, certificates, flag, tls=context) as tls:
            yield from _under(attack, tls, "TLS", str(place / "ca.pem"))


def _under(attack: str, target: Attacked, spoken: str, *ca: str) -> Iterator[Measured]:
    quiet, _ = _scrapes(target)
    target.quiet = target.rss()
    with _attacking(attack, str(target.port), *ca):
        beset, grown = _scrapes(target)
    yield Measured(f"scrape, {attack}, {spoken} / quiet", beset, quiet, math.inf, _SCRAPES)
    what = f"MiB grown, {attack}, {spoken} / held before"
    yield Measured(what, grown, target.quiet, math.inf, 1)


def _scrapes(target: Attacked) -> tuple[float, float]:
    """The median of their times, and the most memory that the exporter held more than in peace meanwhile, MiB."""
    times, grown = [], 0.0
    for _ in range(_SCRAPES):
        times.append(target.scrape())
        grown = max(grown, target.most_grown(_PAUSE_SECONDS))
    return statistics.median(times), grown


@contextlib.contextmanager
def _attacking(*words: str) -> Iterator[None]:
    """While it goes on, until the end."""
    command = [sys.executable, "-m", "tests.bench.attacker", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attackers:
        assert attackers.stdout is not None
        try:
            assert attackers.stdout.readline() == "begun\n", f"no attack: {words}"
            yield
            assert attackers.poll() is None, f"the attack has ended before: {words}"
        finally:
            attackers.terminate()
