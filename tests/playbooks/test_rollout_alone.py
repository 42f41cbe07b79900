"""What the collection refuses by itself, without `renewctl` in front of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleUndefinedVariable
from ansible_collections.renewctl.mdm.plugins.plugin_utils import agreement

from renewctl import messages
from renewctl.errors import Refused
from renewctl.reasons import Reason
from tests.support.playbook_world import TOPIC, World
from tests.support.sandbox_parts import in_days

pytestmark = pytest.mark.slow

OTHER = "com.apple.mgmt.External.99999999-2222-4333-8444-555555555555"


@pytest.mark.parametrize("limit", [None, ["n1"]])
def test_a_pair_of_another_topic_reaches_no_node(mdm: World, limit: list[str] | None) -> None:
    """What Create at the portal gives: refused by its UID before a node or the push service is asked."""
    mdm.api_node("n1")
    before = len(mdm.pushes.log())
    ended = mdm.run("rollout", limit=limit, renewctl_topic=OTHER)
    assert ended.exit_code != 0
    assert ended.push_service is not None
    assert ended.push_service.reason is Reason.TOPIC_DIFFERS
    assert mdm.changes() == {"n1": []}
    assert len(mdm.pushes.log()) == before


def test_a_wave_shows_the_pairs_first_unless_its_run_has_done_so(mdm: World) -> None:
    """Under a limit nobody knows what fence showed to whom; `renewctl` says so for its own waves."""
    mdm.api_node("n1")
    shown = mdm.run("rollout", limit=["n1"], check=True)
    assert shown.push_service is not None
    assert shown.push_service.accepted
    assert mdm.run("rollout", limit=["n1"], check=True, renewctl_shown=True).push_service is None


def _play(mdm: World, hosts: dict[str, dict[str, Any]] | None = None) -> subprocess.CompletedProcess[str]:
    """`ansible-playbook renewctl.mdm.rollout` by a person; `hosts`: host -> further variables of its own."""
    inventory, variables = mdm.plain_inventory()
    told = json.loads(inventory.read_text())
    for host, own in (hosts or {}).items():
        told["mdm"]["hosts"][host] |= own
    once = json.loads(variables.read_text())
    told["mdm"]["vars"] = {name: once.pop(name) for name in ("renewctl_pair", "renewctl_previous")}
    inventory.write_text(json.dumps(told))
    variables.write_text(json.dumps(once))
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [program, "renewctl.mdm.rollout", "-i", inventory, "-e", f"@{variables}"],
        cwd=mdm.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(mdm.folder), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_hosts_that_name_different_pairs_are_refused_in_the_fence(mdm: World) -> None:
    """The sentence names what differs and the hosts of each camp; no node and no push service is asked."""
    for name in ("n1", "n2", "n3"):
        mdm.api_node(name)
    before = len(mdm.pushes.log())
    other = {"certificate": str(mdm.old.certificate), "key": mdm.new.reference["key"]}
    done = _play(mdm, {"n2": {"renewctl_pair": other}})
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert "hosts of the inventory say different things: renewctl_pair.certificate: n1, n3 | n2." in said
    assert "once for the whole group" in said
    assert mdm.changes() == {"n1": [], "n2": [], "n3": []}
    assert len(mdm.pushes.log()) == before


def test_a_person_reads_a_sentence_and_a_hint(mdm: World) -> None:
    """Without `renewctl` in front, a pair of another topic is refused in words, with the code to search for."""
    mdm.api_node("n1")
    stranger = mdm.pushes.apple.push_pair(OTHER, ends=in_days(365))
    certificate, key = stranger.write(mdm.folder, "stranger")
    done = _play(mdm, {"n1": {"renewctl_pair": {"certificate": str(certificate), "key": {"file": str(key)}}}})
    assert done.returncode == 2
    values = {"got": OTHER, "expected": TOPIC, "topic": TOPIC}
    happened, hint = messages.sentence(Reason.TOPIC_DIFFERS, "en", values)
    assert f"{happened}. {hint} (topic_differs)" in " ".join(done.stdout.split())


def test_all_that_is_said_once_is_compared_and_no_value_is_told() -> None:
    """A camp is a set of equal values; a missing one is a value too; a key written where a path belongs is not shown."""
    one = {"renewctl_pair": {"certificate": "a", "key": {"file": "SECRET"}}, "other": 1}
    two = {"renewctl_pair": {"certificate": "a", "key": {"file": "x"}}, "other": 2}
    agreement.require_one_answer({"mdm": ["a", "b"]}, {"a": one, "b": one, "c": two})
    with pytest.raises(Refused) as refused:
        agreement.require_one_answer({"mdm": ["a", "b", "c"]}, {"a": one, "b": two, "c": {}})
    assert refused.value.reason is Reason.HOSTS_DIFFER
    assert refused.value.values == {"variable": "renewctl_pair.certificate", "hosts": "a, b | c"}


def test_a_host_that_cannot_be_read_is_left_to_its_own_task() -> None:
    """A template that does not resolve is told of the host it belongs to, not of whoever looked."""

    class Broken(dict[str, Any]):
        def __getitem__(self, _: str) -> Any:
            raise AnsibleUndefinedVariable("'nowhere' is undefined")

    hostvars = {"a": API, "b": Broken()}
    agreement.require_sorted({"mdm": ["a", "b"], "renewctl_api": ["a", "b"]}, hostvars)


API, FILES = {"renewctl_node": {"install": "api"}}, {"renewctl_node": {"install": {"paths": {}}}}


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ({}, None),
        ({"renewctl_api": ["a", "b"], "renewctl_files": ["f"]}, None),
        ({"renewctl_api": ["a", "b"]}, "f (renewctl_files)"),
        ({"renewctl_files": ["f"]}, "a (renewctl_api), b (renewctl_api)"),
        ({"renewctl_api": ["a", "b", "f"], "renewctl_files": ["f"]}, "f (renewctl_files)"),
        ({"renewctl_api": ["b", "f"], "renewctl_files": ["a"]}, "a (renewctl_api), f (renewctl_files)"),
        ({"renewctl_api": ["a", "b", "x"], "renewctl_files": ["f"]}, "x (mdm)"),
    ],
)
def test_each_node_is_in_the_one_group_that_plays_it(groups: dict[str, list[str]], named: str | None) -> None:
    """In neither it would be left out, in both asked twice, in the wrong one misunderstood; a stranger is none of ours."""
    hostvars = {"a": API, "b": {}, "f": FILES, "x": API}
    if named is None:
        agreement.require_sorted({"mdm": ["a", "b", "f"], **groups}, hostvars)
        return
    with pytest.raises(Refused) as refused:
        agreement.require_sorted({"mdm": ["a", "b", "f"], **groups}, hostvars)
    assert (refused.value.reason, refused.value.values) == (Reason.HOSTS_NOT_SORTED, {"hosts": named})
