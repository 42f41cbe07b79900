"""Consumers are told in turn, nobody is waited for without end, and one that refuses puts all of them back."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import node_reload
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault

from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import P12, PEM, TOKEN, TWO, Place

ALL = (TWO, PEM, P12)


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


def test_one_consumer_that_refuses_puts_all_of_them_back(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Each is reloaded in turn; when the second refuses, both get the old pair, and both are told again."""
    old, new = pairs
    log, once = tmp_path / "log", tmp_path / "once"
    place = Place(tmp_path, old, layouts=ALL)
    place.files.reloads = [
        ["/bin/sh", "-c", f"echo first >> {log}"],
        ["/bin/sh", "-c", f"echo second >> {log}; test -e {once} || {{ touch {once}; exit 7; }}"],
        ["/bin/sh", "-c", f"echo third >> {log}"],
    ]
    place.files.fence(1, TOKEN)
    with pytest.raises(Fault) as caught:
        place.switch(new)
    assert (caught.value.reason, caught.value.values["got"]) == ("reload_failed", "exit 7")
    assert caught.value.values["put_back"] is True
    assert place.serves(old)
    assert log.read_text().split() == ["first", "second", "first", "second", "third"]
    assert place.state()["phase"] == "committed"


def test_a_consumer_that_refuses_both_stops_nobody_from_getting_the_old_pair(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """On the way back every reload runs, whatever the one before it said; the node still says it is not well."""
    old, new = pairs
    log = tmp_path / "log"
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    place.files.reloads = [["/bin/false"], ["/bin/sh", "-c", f"echo second >> {log}"]]
    place.files.fence(1, TOKEN)
    with pytest.raises(Fault) as caught:
        place.switch(new)
    assert caught.value.values["put_back"] is False
    assert place.serves(old)
    assert log.read_text() == "second\n"
    assert place.state()["phase"] == "switching"


def test_a_place_that_had_no_pair_keeps_the_new_one_and_says_so(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """A consumer added this year has nothing to go back to; the other one goes back."""
    old, new = pairs
    place = Place(tmp_path, old, ["/bin/false"], layouts=(TWO, PEM))
    place.pem.unlink()
    place.files.fence(1, TOKEN)
    with pytest.raises(Fault) as caught:
        place.switch(new)
    assert caught.value.values["put_back"] is False
    place.files.reloads = []
    assert place.files.fence(2, TOKEN) is True
    assert place.holds(TWO) == (old.der, old.key_pem)
    assert place.holds(PEM) == (new.der, new.key_pem)
    assert place.state()["phase"] == "switching", "its places differ"
    assert place.switch(new, run=2) is True
    assert place.state()["phase"] == "committed"


def test_a_reload_that_hangs_is_ended_with_its_children(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit ends the program and what it started, and the old pair comes back."""
    old, new = pairs
    monkeypatch.setattr(node_reload, "RELOAD_SECONDS", 5.0)
    pids, once = tmp_path / "pids", tmp_path / "once"
    script = f"test -e {once} && exit 0; touch {once}; sleep 600 & echo $! > {pids}; sleep 600"
    place = Place(tmp_path, old, ["/bin/sh", "-c", script])
    place.files.fence(1, TOKEN)
    with pytest.raises(Fault) as caught:
        place.switch(new)
    assert (caught.value.reason, caught.value.values["got"]) == ("reload_failed", "5 s")
    assert caught.value.values["put_back"] is True
    assert place.serves(old)
    end = time.monotonic() + 60
    while _runs(int(pids.read_text())):
        assert time.monotonic() < end, "its child lives on"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Alive, and not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
