"""Every world of the one list ends as the list says; the nodes' own logs are the witnesses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from renewctl.sandbox.worlds import WORLDS, WorldSpec, world
from tests.support.cli import validate
from tests.support.operator import Operator, operator

pytestmark = pytest.mark.slow

FEW = 9
PATIENT = ("--check-in-timeout", "60")
"""Devices that check in do so soon, unless the machine is busy."""

QUICK = ("--check-in-timeout", "10")
"""Where they do not, that is waited out."""


@pytest.mark.parametrize("spec", WORLDS, ids=lambda spec: spec.name)
def test_every_world_ends_as_its_list_says(spec: WorldSpec, tmp_path: Path) -> None:
    """Exit code and reason of the last step are the list's; refused before the roll-out touches nothing."""
    with operator(replace(spec, devices=FEW), tmp_path) as person:
        person.adopt()
        person.told("renewal", "open")
        before = person.changes()
        last = _play(person, spec)
        if spec.expected.step != "roll-out":
            assert person.changes() == before == dict.fromkeys(before, 0)
        if spec.expected.exit_code == 0:
            assert last["renewal"]["phase"] == "proven"
            validate("renewal", last)
        else:
            assert last["error"]["reason"] in spec.expected.reasons
            validate("error", last)


def _play(person: Operator, spec: WorldSpec) -> dict[str, dict[str, object]]:
    wanted = spec.expected
    if wanted.step == "request":
        return person.told("renewal", "request", "--out", person.request, code=wanted.exit_code)
    person.told("renewal", "request", "--out", person.request, code=3)
    downloaded = person.world.person(person.request)
    if wanted.step == "accept":
        return person.told("renewal", "accept", downloaded, code=wanted.exit_code)
    person.told("renewal", "accept", downloaded)
    waits = QUICK if wanted.exit_code else PATIENT
    return person.told("renewal", "roll-out", *waits, *wanted.options, code=wanted.exit_code)


def test_nobody_goes_back_to_an_expired_certificate_unasked(tmp_path: Path) -> None:
    """Forward only out of a dead certificate: the way back says what it means, and no node is touched before that."""
    with operator(replace(world("expired-yesterday"), devices=FEW), tmp_path) as person:
        person.to_accepted()
        person.told("renewal", "roll-out", *PATIENT, "--forward-only")
        before = person.changes()
        assert person.refusal("renewal", "roll-back", *QUICK, code=1) == "roll_back_to_expired"
        told = person.told("renewal", "roll-back", *QUICK, "--dry-run", code=1)
        assert told["refused"]["reason"] == "roll_back_to_expired"
        assert person.changes() == before
        back = ("roll-back", *QUICK, "--without-push", "--reason", "a trial")
        assert person.refusal("renewal", *back, code=4) == "roll_back_useless"
        steps = person.told("renewal", "show")["next_steps"]
        assert [step["key"] for step in steps] == ["next.roll_out_instead", "next.roll_back_again"]
        person.told("renewal", "roll-out", *PATIENT, "--forward-only")
