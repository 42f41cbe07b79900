"""The harness around PostgreSQL: a product that writes twice, a strike that misses, and each judge's complaint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.part_postgresql import _repeated
from tests.crash.pg_bench import YEAR, Bench
from tests.crash.pg_judge import rows_of, troubles
from tests.crash.pg_proxy import COMMIT, Strike, Where
from tests.crash.pg_trial import Baseline, Job, Trials, Verdict
from tests.support.postgres import running_cluster

pytestmark = pytest.mark.slow

_ADOPT, OPEN = YEAR[:2]
FORGETFUL = "tests.crash_harness.forgetful"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench with an adopted pair."""
    with running_cluster() as cluster:
        made = Bench(cluster, tmp_path_factory.mktemp("crash") / "desk")
        assert made.run(("init", "--existing")).code == 0
        assert made.run(_ADOPT.words).code == 0
        made.keep("adopt")
        yield made
        made.close()


@pytest.fixture
def trials(bench: Bench) -> Iterator[Trials]:
    """Each strike with a repeat of its own."""
    bench.broken = ""
    yield Trials({OPEN.name: Baseline.of(bench, OPEN)}, remember=False)
    bench.broken = ""


def commit(asked: Sequence[str]) -> int:
    """The number of the commit of the event."""
    return asked.index(COMMIT) + 1


def test_a_second_insert_after_a_lost_answer_is_caught(bench: Bench, trials: Trials) -> None:
    """The broken one writes the event twice; ours finds its own. Undisturbed both pass."""
    lost = Job(OPEN, commit(trials.baselines[OPEN.name].asked), Where.AFTER, "cut")
    assert trials.judge(bench, lost).troubles == ()
    bench.broken = FORGETFUL
    bench.back_to("adopt")
    untouched = bench.run(OPEN.words)
    assert untouched.code == OPEN.code
    verdict = trials.judge(bench, replace(lost, number=commit(untouched.asked)))
    assert verdict.struck
    assert not verdict.sound
    assert any("neither before nor after" in text for text in verdict.troubles)
    assert any("history_broken" in text for text in verdict.troubles)


def test_a_strike_that_misses_is_told(bench: Bench, trials: Trials) -> None:
    """A request that never comes is no kill, though all is well."""
    verdict = trials.judge(bench, Job(OPEN, 999, Where.BEFORE, "kill"))
    assert not verdict.struck
    assert [text for text in verdict.troubles if "never came" in text]


@pytest.mark.parametrize(
    ("where", "is_there"), [(Where.BEFORE, False), (Where.IN, False), (Where.AFTER, True)]
)
def test_the_proxy_strikes_where_it_says(bench: Bench, trials: Trials, where: Where, is_there: bool) -> None:
    """Before a commit, or in the middle of it, the server has not done it; after it, it has."""
    bench.back_to("adopt")
    before, killed = len(rows_of(bench)), []

    def strike(_pid: object) -> Strike:
        return Strike(
            commit(trials.baselines[OPEN.name].asked), where, lambda: killed.append(len(rows_of(bench)))
        )

    ended = bench.run(OPEN.words, strike)
    assert ended.struck
    assert killed == [before + is_there]


def test_the_judges_complain(bench: Bench) -> None:
    """Of a changed event, of a key that is gone, of a node that was changed unannounced; not of a sound store."""
    bench.back_to("adopt")
    assert troubles(bench, rows_of(bench)) == []
    bench.played().write_text(json.dumps({"name": "rollout", "run": 1, "nodes": ["n1"]}) + "\n")
    with bench.admin() as connection:
        connection.execute("UPDATE events SET actor = 'somebody'")
        connection.execute("DELETE FROM keys")
    said = "\n".join(troubles(bench, rows_of(bench)))
    bench.played().unlink()
    for complaint in ("the chain breaks at", "cannot be opened", "was played on n1 without an event"):
        assert complaint in said


def test_what_was_not_said_again_is_told() -> None:
    """Healed may be known from another strike that left the same: how often is no secret."""
    job = Job(OPEN, 1, Where.BEFORE, "kill")
    verdicts = [Verdict(job, True, True, True, repeated, ()) for repeated in (True, False, False)]
    assert "said again after 1 of 3 strikes" in _repeated(verdicts)[0]


def test_a_bench_puts_everything_back(bench: Bench) -> None:
    """Rows and files of the state, and nothing a strike left."""
    bench.back_to("adopt")
    kept = rows_of(bench)
    assert bench.run(OPEN.words).code == 0
    Path(bench.folder / "left").touch()
    assert len(rows_of(bench)) > len(kept)
    bench.back_to("adopt")
    assert rows_of(bench) == kept
    assert not (bench.folder / "left").exists()
