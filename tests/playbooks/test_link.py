"""The way to a node: a step over it ends in time, whatever the connection does."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.renewctl.mdm.plugins.plugin_utils import link


class Connection:
    """As an action plugin has it."""

    def __init__(self, transport: str = "ssh", **options: Any) -> None:
        self.transport = transport
        self.options = {"timeout": 0, "ssh_extra_args": "", **options}
        self.resets = 0

    def get_option(self, name: str) -> Any:
        """What a person has set."""
        return self.options[name]

    def set_option(self, name: str, value: Any) -> None:
        """What we set."""
        self.options[name] = value

    def reset(self) -> None:
        """Drop a shared connection."""
        self.resets += 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing in takes no time."""
    monkeypatch.setattr(link, "SIGN_IN_SECONDS", 0.0)


def test_a_step_that_takes_too_long_is_ended(quick: None) -> None:
    """With the program it waits for; others that were there before go on; the shared connection is dropped."""
    connection, before = Connection(timeout=0.1), subprocess.Popen(["sleep", "60"])
    children: list[subprocess.Popen[bytes]] = []

    def step() -> None:
        with link.within(0.3 + connection.resets, connection):
            children.append(subprocess.Popen(["sleep", "60"]))
            children[0].wait()

    began, tries = time.monotonic(), 0
    while not children:  # a busy machine may not have begun it in time
        tries += 1
        with pytest.raises(AnsibleConnectionFailure, match="no answer within"):
            step()
    assert 0.3 < time.monotonic() - began < 50
    assert children[0].wait(60) == -signal.SIGTERM
    assert (before.poll(), connection.resets) == (None, tries)
    before.kill()
    before.wait()
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_what_tries_again_does_not_hide_the_end(quick: None) -> None:
    """Ansible's connections catch every `Exception` and begin anew."""

    def step() -> None:
        with link.within(0.1, Connection("local")):
            for _ in range(100):
                with suppress(Exception):
                    time.sleep(10)

    with pytest.raises(AnsibleConnectionFailure):
        step()


def test_a_step_in_time_is_left_alone(quick: None) -> None:
    """What it says, and what it raises, passes; nothing rings later."""
    with link.within(60, Connection()):
        pass
    with pytest.raises(ValueError, match="its own"), link.within(60, Connection()):
        raise ValueError("its own")
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_time_limit_of_the_persons_own_stays(quick: None) -> None:
    """ANSIBLE_TASK_TIMEOUT has its own alarm; ours would silence it."""
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        with link.within(0.01, Connection()):
            time.sleep(0.1)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_ssh_is_told_to_notice_a_cut(tmp_path: Path) -> None:
    """After what people have set; no shared connection where its socket has no place; others are left alone."""
    usual = Connection(control_path_dir=str(tmp_path / "cp"), ssh_extra_args="-o Compression=yes")
    link.prepare(usual)
    assert usual.options["ssh_extra_args"] == f"-o Compression=yes {link.ALIVE}"
    (tmp_path / "file").touch()
    homeless = Connection(control_path_dir=str(tmp_path / "file" / "cp"))
    link.prepare(homeless)
    assert homeless.options["ssh_extra_args"] == f"{link.ALIVE} -o ControlPath=none"
    local = Connection("local")
    link.prepare(local)
    assert local.options["ssh_extra_args"] == ""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "ssh f1 true"),
        ({"ansible_host": "10.0.0.1", "ansible_user": "mdm"}, "ssh mdm@10.0.0.1 true"),
        (
            {"ansible_port": 22, "ansible_ssh_private_key_file": "/my keys/id", "ansible_ssh_pass": "secret"},
            "ssh -p 22 -i '/my keys/id' f1 true",
        ),
        ({"ansible_ssh_common_args": "-o ProxyCommand='sshpass -p secret ssh'"}, "ssh f1 true"),
    ],
)
def test_the_command_to_try(variables: dict[str, Any], expected: str) -> None:
    """Where the inventory says so with port, key and user; never with options that may hold a password."""
    assert link.try_by_hand("f1", variables) == expected


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("", 1, ""),
        ("Task failed: no answer within 55 s", 1, "no answer within 55 s"),
        (
            "Make sure this host can be reached over ssh: Hello\r\nPermission denied.\r\n",
            1,
            "Permission denied.",
        ),
        ("Failed to connect to the host via ssh: \x1b[31mrefused", 1, "[31mrefused"),
        ("one\ntwo\n\nthree\n", 2, "two; three"),
        ("x" * 999, 1, "x" * 200),
    ],
)
def test_last_words(text: str, lines: int, expected: str) -> None:
    """The last lines, short, fit to print, without Ansible's own words before them."""
    assert link.last_words(text, lines) == expected
