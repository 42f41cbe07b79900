"""What an inventory may not say, told where it is read: before any command does anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from renewctl import messages
from renewctl.errors import Unusable
from renewctl.inventory import reading as inventory
from renewctl.reasons import Reason
from tests.support.inventories import right, spoilt, write


def fault(path: Path) -> Unusable:
    """The only one."""
    with pytest.raises(Unusable) as caught:
        inventory.load(path)
    assert caught.value.others == ()
    return caught.value


@pytest.mark.parametrize(
    "variable",
    [
        "ansible_ssh_common_args",
        "ansible_ssh_executable",
        "ansible_become_exe",
        "ansible_shell_type",
        "ansible_password",
    ],
)
@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_an_inventory_cannot_start_programs_here(tmp_path: Path, variable: str, language: str) -> None:
    """Connection variables that could run something on this host are refused by name, at their line."""
    found = fault(write(tmp_path, spoilt("nodes.1.install.variables", {variable: "x"})))
    assert (found.reason, found.values["got"]) == (Reason.CONNECTION_VARIABLE_REFUSED, variable)
    assert found.values["path"] == f"nodes[1].install.variables.{variable}"
    told, _ = messages.sentence(found.reason, language, found.values)
    assert told.startswith(f"{tmp_path}/renewctl.yaml:{found.values['line']}: ")


@pytest.mark.parametrize("letters", [64, 200])
def test_a_name_that_is_too_long_is_told_the_limit(tmp_path: Path, letters: int) -> None:
    """63 letters are taken; one more is refused with that number."""
    assert inventory.load(write(tmp_path, spoilt("nodes.1.name", "n" * 63))).nodes[1].name == "n" * 63
    found = fault(write(tmp_path, spoilt("nodes.1.name", "n" * letters)))
    assert found.values["expected"] == "A-Z a-z 0-9 . _ - (<= 63)"


def test_what_is_right_stays_right(tmp_path: Path) -> None:
    """The example these are spoilt from can be read."""
    assert inventory.load(write(tmp_path, right())).nodes
