"""The whole renewal against real NanoMDM processes, by the real CLI in child processes."""

from __future__ import annotations

import pytest

from renewctl.sandbox.person import Deed
from tests.support.cli import validate
from tests.support.year import OTHER_ACCOUNT, Year

pytestmark = pytest.mark.slow


def test_a_year_from_the_date_in_red_to_a_proven_certificate(year: Year) -> None:
    """Every node ends on the new serial, shown by renewctl, by the push service's log, and by a device."""
    year.adopt()
    status = year.told("status", code=4)
    assert status["topics"][0]["days_left"] == 42
    year.told("renewal", "open")
    year.told("renewal", "request", "--out", year.request, code=3)
    serial = year.told("renewal", "accept", year.person())["renewal"]["serial"]
    before = len(year.pushes.log())

    rolled = year.told("renewal", "roll-out", "--check-in-timeout", "15")

    validate("renewal", rolled)
    assert rolled["renewal"]["phase"] == "proven"
    for name in year.nodes:
        told = rolled["renewal"]["nodes"][name]
        assert (told["direction"], told["outcome"]) == ("new", "proven")
        assert told["proof"]["rungs"] == dict.fromkeys(("read_back", "serial", "push", "check_in"), "yes")
        enrollment = told["proof"]["enrollment"]
        assert ("GET", f"/v1/push/{enrollment}") in year.nodes[name].requests() or name == "mdm-4"
        assert year.serials_of(enrollment, before)[-1] == serial
    assert year.told("renewal", "close")["renewal"]["phase"] == "closed"
    assert year.told("status")["topics"][0]["days_left"] == 364


def test_a_second_roll_out_changes_nothing(year: Year) -> None:
    """The nodes' own logs show no second PUT, and the files on the file node stay as they are."""
    year.to_accepted()
    year.told("renewal", "roll-out")
    stored = {name: changes.count(("PUT", "/v1/pushcert")) for name, changes in year.changes().items()}
    files = sorted((year.nodes["mdm-4"].folder / "storage").rglob("*.pem"))
    written = [path.stat().st_mtime_ns for path in files]

    again = year.told("renewal", "roll-out")

    assert again["renewal"]["phase"] == "proven"
    after = {name: changes.count(("PUT", "/v1/pushcert")) for name, changes in year.changes().items()}
    assert after == stored
    assert stored == {"mdm-1": 2, "mdm-2": 0, "mdm-3": 2, "mdm-4": 1}
    assert [path.stat().st_mtime_ns for path in files] == written


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


def test_a_dry_run_says_what_would_change_and_changes_nothing(year: Year) -> None:
    """No node is installed on or pushed through; every node is named with what would happen to it."""
    year.to_accepted()
    before = year.changes()

    told = year.told("renewal", "roll-out", "--dry-run")

    assert {node["node"]: node["would_change"] for node in told["nodes"]} == dict.fromkeys(year.nodes, True)
    assert year.changes() == before
    assert year.told("renewal", "show")["renewal"]["phase"] == "accepted"


def test_the_wrong_account_never_reaches_a_node(year: Year) -> None:
    """A certificate made with Create is refused by its topic; the nodes' own logs hold no changing request."""
    year.adopt()
    year.told("renewal", "open")
    year.told("renewal", "request", "--out", year.request, code=3)
    before = year.changes()

    refused = year.run("renewal", "accept", year.person(Deed.CREATES, OTHER_ACCOUNT), "--json")

    assert refused.code == 1
    assert refused.document["error"]["reason"] == "topic_differs"
    assert year.changes() == before
    assert year.told("renewal", "show")["renewal"]["phase"] == "requested"
