"""The whole renewal against real NanoMDM processes, by the real CLI in child processes."""

from __future__ import annotations

import pytest

from renewctl.sandbox.person import Deed
from tests.support.cli import validate
from tests.support.year import OTHER_ACCOUNT, Year

pytestmark = pytest.mark.slow

STORED = ("PUT", "/v1/pushcert")


def test_a_year_from_the_date_in_red_to_a_proven_certificate(year: Year) -> None:
    """Wrong account refused, right one accepted, dry run, roll-out proven on every node, done again: nothing."""
    year.adopt()
    assert year.told("status", code=4)["topics"][0]["days_left"] == 42
    year.told("renewal", "open")
    year.told("renewal", "request", "--out", year.request, code=3)
    untouched = year.changes()
    _the_wrong_account_is_refused(year)
    serial = year.told("renewal", "accept", year.person())["renewal"]["serial"]
    _a_dry_run_names_every_node(year)
    assert year.changes() == untouched

    before = len(year.pushes.log())
    rolled = year.told("renewal", "roll-out", "--check-in-timeout", "15")

    validate("renewal", rolled)
    assert rolled["renewal"]["phase"] == "proven"
    for name, told in rolled["renewal"]["nodes"].items():
        assert (told["direction"], told["outcome"]) == ("new", "proven")
        assert told["proof"]["rungs"] == dict.fromkeys(("read_back", "serial", "push", "check_in"), "yes")
        enrollment = told["proof"]["enrollment"]
        assert enrollment == year.enrolled[name][0]  # its own canary, which no other node may wake
        pushed = [path for _, path in year.nodes[name].requests() if path.endswith(f"/{enrollment}")]
        assert pushed
        assert set(year.serials_of(enrollment, before)) == {serial}
        assert enrollment in year.checked_in()
    assert set(rolled["renewal"]["nodes"]) == set(year.nodes)
    _again_changes_nothing(year)
    assert year.told("renewal", "close")["renewal"]["phase"] == "closed"
    assert year.told("status")["topics"][0]["days_left"] == 364


def test_roll_back_puts_every_node_on_the_previous_pair_and_proves_it(year: Year) -> None:
    """After a roll-back every node pushes with the old serial again, and a device checks in."""
    year.to_accepted()
    year.told("renewal", "roll-out")
    before, old = len(year.pushes.log()), year.old.certificate.serial_number

    back = year.told("renewal", "roll-back", "--check-in-timeout", "15")

    assert back["renewal"]["phase"] == "rolled_back"
    for told in back["renewal"]["nodes"].values():
        assert (told["direction"], told["outcome"]) == ("previous", "proven")
        assert int(year.serials_of(told["proof"]["enrollment"], before)[-1], 16) == old


def _the_wrong_account_is_refused(year: Year) -> None:
    refused = year.run("renewal", "accept", year.person(Deed.CREATES, OTHER_ACCOUNT), "--json")
    assert refused.code == 1
    assert refused.document["error"]["reason"] == "topic_differs"
    assert year.told("renewal", "show")["renewal"]["phase"] == "requested"


def _a_dry_run_names_every_node(year: Year) -> None:
    told = year.told("renewal", "roll-out", "--dry-run")
    assert {node["node"]: node["would_change"] for node in told["nodes"]} == dict.fromkeys(year.nodes, True)
    assert year.told("renewal", "show")["renewal"]["phase"] == "accepted"


def _again_changes_nothing(year: Year) -> None:
    """The nodes' own logs show one PUT a storage; the files of the file node stay as they are."""
    stored = {name: changes.count(STORED) for name, changes in year.changes().items()}
    assert stored == {"mdm-1": 2, "mdm-2": 0, "mdm-3": 2, "mdm-4": 1}
    found = (year.nodes["mdm-4"].folder / "storage").rglob("*.pem")
    files = sorted(path for path in found if path.is_file())  # releases lie in a folder of their place's name
    written = [path.stat().st_mtime_ns for path in files]
    assert year.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    assert {name: changes.count(STORED) for name, changes in year.changes().items()} == stored
    assert [path.stat().st_mtime_ns for path in files] == written
