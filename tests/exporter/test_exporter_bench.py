"""What the bench says of a rival that is not run follows from what was measured, and is called computed."""

from __future__ import annotations

import pytest

from tests.bench.exporter_scrapes import _CPU, _WALL, NAIVE_TO_X509, SIZES, X509, compared, computed
from tests.bench.exporter_scrapes import Taken as Scrapes
from tests.bench.watching import mean_interval


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


def looks(interval: float, jitter: float = 0.1) -> dict[str, set[float]]:
    """Of a thousand nodes that are asked so often, as seen for a minute and a half."""
    first = {f"n{number}": 1e9 + interval * number / 1000 for number in range(1000)}
    gap = {name: interval * (1 + jitter * (number % 21 - 10) / 10) for number, name in enumerate(first)}
    return {
        name: {
            at + count * gap[name] for count in range(9) if 1e9 + 10 <= at + count * gap[name] <= 1e9 + 150
        }
        for name, at in first.items()
    }


@pytest.mark.parametrize("interval", [60.0, 61.0, 62.0])
def test_nodes_asked_once_a_minute_are_taken_for_that(interval: float) -> None:
    """With the time a look takes."""
    assert mean_interval(looks(interval)) == pytest.approx(interval, rel=0.02)


@pytest.mark.parametrize("interval", [30.0, 50.0, 66.0, 75.0, 1e9])
def test_nodes_asked_more_or_less_often_are_refused(interval: float) -> None:
    """A share of a core for another interval is not the one that has a bar."""
    with pytest.raises(ValueError, match="not every 60 s"):
        mean_interval(looks(interval))


def test_nodes_that_are_forgotten_are_refused_though_the_mean_is_right() -> None:
    """But for the one that hangs."""
    found = looks(60) | {"n1": {0.0}}
    assert mean_interval(found) == pytest.approx(60, rel=0.02)
    with pytest.raises(ValueError, match="2 nodes were not asked twice"):
        mean_interval(found | {"n2": {1e9}})


def test_more_jitter_than_documented_is_refused() -> None:
    """A tenth is."""
    with pytest.raises(ValueError, match="times not after 54 to 69 s"):
        mean_interval(looks(60, jitter=0.2))
