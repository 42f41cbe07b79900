"""A node's step is killed, or its disk fails, at every call that changes something: what is called proven stays.

The controller's steps are asked, as the action plugin asks them; the node's program runs in a child of its own.
"""

from __future__ import annotations

import functools
import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import node_step
from ansible_collections.renewctl.mdm.plugins.plugin_utils import steps
from ansible_collections.renewctl.mdm.plugins.plugin_utils.file_target import FileTarget, Said
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import SPEC, Settings

from renewctl import verification
from renewctl.servers.registry import connect
from tests.playbooks.test_pair_files_killed import MUTATING
from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import PEM, TWO, Place

pytestmark = pytest.mark.slow

KILL = 0
ERRORS = {"KILL": KILL, "ENOSPC": 28, "EIO": 5, "EROFS": 30}


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second look is waited for."""
    timing = verification.Timing(sleep=lambda _: None)
    verify = functools.partial(verification.verify, timing=timing)
    monkeypatch.setattr(steps.verification, "verify", verify)


class Node:
    """A file node: each order is carried out by the node's program in a child, which may be in for trouble.

    Attributes:
        trouble: an error number, or KILL, and the call (1, 2, …) of the next order of `op` it meets; None: none.
        stays: every call after it fails as well.
        met: that call was reached.
    """

    def __init__(self, place: Place, pairs: tuple[Issued, Issued]) -> None:
        self.place = place
        self.trouble: tuple[str, int, int] | None = None
        self.stays = False
        self.met = False
        for name, pair in zip(("old", "new"), pairs, strict=True):
            (place.folder / f"{name}.crt").write_bytes(pair.pem)
            (place.folder / f"{name}.key").write_bytes(pair.key_pem)

    def python(self) -> str | None:
        """Nobody has named one."""
        return None

    def send(self, _command: str, data: bytes, _seconds: float) -> Said:
        """Carry out an order; exit code and what was printed."""
        size, _, rest = data.partition(b"\n")
        order = rest[int(size) :]
        trouble = self.trouble
        if trouble is None or f'"op": "{trouble[0]}"'.encode() not in order:
            trouble = None
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                with redirect_stdout(io.StringIO()) as said, failing(trouble, stays=self.stays) as met:
                    node_step.main(io.BytesIO(order))
                os.write(writing, (f"{met()}\n" + said.getvalue()).encode())
            finally:
                os.kill(os.getpid(), 9)  # a clean end has coverage write a file, thousands of times
        os.close(writing)
        with os.fdopen(reading) as told:
            met_, ended, said_ = told.read().partition("\n")
        os.waitpid(pid, 0)
        assert ended or (trouble is not None and trouble[2] == KILL)
        if trouble is not None:
            self.met, self.trouble = not ended or met_ == "True", None
        return Said(0 if ended else -9, said_, "")

    def does(self, state: str, run: int) -> dict[str, Any]:
        """What a step says that is asked for as the action plugin does; after a wrong one it is put back."""
        places = [self.place.named(layout) for layout in self.place.layouts]
        arguments: dict[str, Any] = {name: spec.get("default") for name, spec in SPEC.items()}
        arguments |= {"state": state, "base": str(self.place.folder), "topic": TOPIC, "run": run}
        arguments |= {"token": f"{run:032x}", "node": {"product": "files", "install": {"paths": places}}}
        for variable, name in (("pair", "new"), ("previous", "old")):
            arguments[variable] = {"certificate": f"{name}.crt", "key": {"file": f"{name}.key"}}
        settings = Settings.from_arguments(arguments, "f1", check=False)
        assert settings.node.install is not None
        target = FileTarget(connect(settings.node), settings.node.install, settings, self)
        try:
            told: dict[str, Any] = steps.chosen(settings)(target, settings)["renewctl"]
        except verification.RenewctlError as error:
            return {"outcome": "failed", "reason": error.reason.value, "values": dict(error.values)}
        return told


@contextmanager
def failing(trouble: tuple[str, int, int] | None, *, stays: bool) -> Iterator[Callable[[], bool]]:
    """In this process the nth call that changes something is met by this; whether it came to that."""
    made = 0
    _, wanted, error = trouble or ("", 0, KILL)

    def met() -> bool:
        return 0 < wanted <= made

    def call_of(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += not only_reads(real, args)
            if made == wanted or (stays and met() and not only_reads(real, args)):
                if error == KILL:
                    os.kill(os.getpid(), 9)
                raise OSError(error, os.strerror(error), args[0])
            return real(*args, **kwargs)

        return call

    if trouble is not None:
        for name in MUTATING:
            setattr(os, name, call_of(getattr(os, name)))
    yield met


def only_reads(real: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """An `open` that writes nothing."""
    return real.__name__ == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)


def troubled(pairs: tuple[Issued, Issued]) -> Iterator[tuple[int, Node]]:
    """A fenced node for each point of a step, until one has no such point."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        for point in itertools.count(1):
            home = Path(folder) / str(point)
            home.mkdir()
            node = Node(Place(home, pairs[0], layouts=(TWO, PEM)), pairs)
            node.does("fenced", 1)
            yield point, node
            if not node.met:
                return


def rehearsed(node: Node, state: str, op: str, point: int, error: str, pairs: tuple[Issued, Issued]) -> str:
    """One step in trouble, what is said of it then, and the next fence; the outcome."""
    old, new = pairs
    node.trouble = op, point, ERRORS[error]
    outcome = str(node.does(state, 1)["outcome"])
    if outcome == "wrong":  # as the playbook does
        outcome = str(node.does("put_back", 1)["outcome"])
    node.stays = False
    asked = node.does("verified", 1)["outcome"]
    before = node.place.serves(new)
    fenced = node.does("fenced", 2)
    assert fenced["outcome"] == "fenced"
    undone = bool(fenced["values"]["undone"])
    assert not node.place.mixed(old, new)
    if outcome in {"proven", "put_back"}:
        assert not undone, "a proof that the next fence took away"
        assert node.place.serves(new if outcome == "proven" else old)
    if outcome == "failed":
        assert not undone
        assert node.place.serves(old if state == "present" else new)
    if asked == "proven":
        assert (before, node.place.serves(new), undone) == (True, True, False)
    if node.place.serves(new) != before:
        assert undone, "another pair, and nobody was told"
    if undone:
        assert fenced["reason"] == "node_step_undone"
        assert fenced["values"]["serial"] == (new if node.place.serves(new) else old).serial
    return outcome


@pytest.mark.parametrize(
    ("error", "stays"),
    [("KILL", False), ("EIO", False), ("ENOSPC", False), ("ENOSPC", True), ("EROFS", True)],
)
def test_a_switch_in_trouble_is_called_proven_only_where_it_stays(
    pairs: tuple[Issued, Issued], error: str, stays: bool
) -> None:
    """At every call: proven, and the next fence leaves it alone; or not proven, and what the fence undoes is told."""
    outcomes = set()
    for point, node in troubled(pairs):
        node.stays = stays
        outcomes.add(rehearsed(node, "present", "switch", point, error, pairs))
        if node.met:
            assert node.does("present", 2)["outcome"] in {"proven", "unchanged"}
            assert node.place.serves(pairs[1])
    assert point > 30
    assert {"proven", "unknown"} <= outcomes


@pytest.mark.parametrize("error", ["KILL", "EIO"])
def test_a_way_back_in_trouble_is_called_put_back_only_where_it_stays(
    pairs: tuple[Issued, Issued], error: str
) -> None:
    """The same of going back: what is called put back is what the next fence finds, and leaves."""
    outcomes = set()
    for point, node in troubled(pairs):
        node.does("present", 1)
        outcomes.add(rehearsed(node, "put_back", "revert", point, error, pairs))
    assert point > 10
    assert {"put_back", "unknown"} <= outcomes
