"""What the bench says of a rival that is not run follows from what was measured, and is called computed."""

from __future__ import annotations

import pytest

from tests.bench.exporter_scrapes import _CPU, _WALL, NAIVE_TO_X509, SIZES, X509, compared, computed
from tests.bench.exporter_scrapes import Taken as Scrapes


@pytest.mark.parametrize("size", SIZES)
def test_the_outside_rows_are_our_ratio_times_the_published_one(size: int) -> None:
    """Wall and CPU, with their bars and no rounds; memory has no such row."""
    taken = {"ours": Scrapes([0.001] * 3, [0.002], 40), "naive": Scrapes([0.5] * 3, [0.25], 40)}
    rows = list(computed(list(compared(taken, "naive", "scrape", (1.0,) * 3, size)), size))
    assert [row.what for row in rows] == [
        "scrape, wall p50 / x509 (computed)",
        "scrape, CPU / x509 (computed)",
    ]
    assert [row.ratio for row in rows] == pytest.approx(
        [0.001 / 0.5 * NAIVE_TO_X509[size]["wall p50"], 0.002 / 0.25 * NAIVE_TO_X509[size]["CPU"]]
    )
    assert {(row.bar, row.rounds) for row in rows} == {(X509[size], 0)}


@pytest.mark.parametrize("size", SIZES)
def test_who_keeps_the_bars_to_the_naive_exporter_keeps_the_outside_ones(size: int) -> None:
    """The measured bars are the stricter ones: the computed rows cannot be kept by luck of the published ratios."""
    assert _WALL[size] * NAIVE_TO_X509[size]["wall p50"] <= X509[size]
    assert _CPU[size] * NAIVE_TO_X509[size]["CPU"] <= X509[size]
