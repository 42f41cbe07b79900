"""The one list of worlds, for demo and tests: what is so, what a person does, how it must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from renewctl.sandbox.person import Deed

OWNER_ACCOUNT = "apple-push@tokyo.example"
"""The Apple Account that owns the push certificate."""

OTHER_ACCOUNT = "someone.new@tokyo.example"
"""An Apple Account of the same company that owns nothing."""

NODES = ("node-1", "node-2", "node-3")
"""Every world has these three MDM servers."""

_OWN_STORAGES = MappingProxyType({"node-1": "storage-1", "node-2": "storage-2", "node-3": "storage-3"})
_SHARED_STORAGES = MappingProxyType({"node-1": "storage-1", "node-2": "storage-1", "node-3": "storage-2"})


@dataclass(frozen=True)
class Expected:
    """How the renewal must end.

    Attributes:
        step: the command at which the story ends: `request`, `accept` or `roll-out`.
        exit_code: of that command.
        reasons: reason codes it must name; empty where it ends well.
        first: exit code of a roll-out without `options`; None: there are none.
        options: what a person who understood the refusal adds to the roll-out.
    """

    step: str = "roll-out"
    exit_code: int = 0
    reasons: tuple[str, ...] = ()
    first: int | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorldSpec:
    """One scenario.

    Attributes:
        name: as in `make demo WORLD=…`.
        claim: one sentence: what is so, and what it shows.
        old_days_left: whole days until the certificate in use ends; negative: it has ended.
        vendor_days_left: the same of the vendor certificate.
        account: the Apple Account the person signs in with.
        deed: what the person does at the portal.
        storages: node -> storage; nodes of one storage share a database.
        down: nodes that do not answer when the renewal begins.
        old_key_at_hand: the key of the certificate in use is there for `renewctl adopt`.
        devices: how many, spread over the nodes.
        expected: how it must end.
    """

    name: str
    claim: str
    old_days_left: int = 42
    vendor_days_left: int = 200
    account: str = OWNER_ACCOUNT
    deed: Deed = Deed.RENEWS
    storages: Mapping[str, str] = field(default_factory=lambda: _OWN_STORAGES)
    down: tuple[str, ...] = ()
    old_key_at_hand: bool = True
    devices: int = 200
    expected: Expected = Expected()


WORLDS: tuple[WorldSpec, ...] = (
    WorldSpec("happy-year", "Three servers, 200 devices, 42 days left, and everybody does the right thing."),
    WorldSpec(
        "wrong-apple-account",
        "The person signs in with another Apple Account, finds no row, presses Create: a valid certificate"
        " with a new topic, refused before any server is touched.",
        account=OTHER_ACCOUNT,
        deed=Deed.CREATES,
        expected=Expected("accept", 1, ("topic_differs",)),
    ),
    WorldSpec(
        "wrong-file",
        "The person renews, but hands over last year's file: the certificate in use, not the new one.",
        deed=Deed.TAKES_LAST_YEARS_FILE,
        expected=Expected("accept", 1, ("certificate_is_current",)),
    ),
    WorldSpec(
        "expired-yesterday",
        "The certificate ended yesterday: no push goes through, there is no way back, only forward.",
        old_days_left=-1,
        expected=Expected(first=1, options=("--forward-only",)),
    ),
    WorldSpec(
        "vendor-expired",
        "The vendor certificate has ended: the portal would refuse the request, so none is made.",
        vendor_days_left=-20,
        expected=Expected("request", 1, ("vendor_expired",)),
    ),
    WorldSpec(
        "node-down",
        "One server does not answer: left out with a reason, it stays owed; the others are renewed.",
        down=("node-3",),
        expected=Expected("roll-out", 4, ("nodes_owed",), 4, ("--leave-out", "node-3=power cut")),
    ),
    WorldSpec(
        "no-old-key",
        "The key of the certificate in use is lost: there is no way back, and the roll-out says so first.",
        old_key_at_hand=False,
        expected=Expected("roll-out", 1, ("previous_pair_missing",)),
    ),
    WorldSpec(
        "shared-database",
        "Two servers share one database: one installation reaches both, so one device is the canary.",
        storages=_SHARED_STORAGES,
    ),
)
"""Every world; names are unique."""


def world(name: str) -> WorldSpec:
    """The world of a name.

    Raises:
        KeyError: there is none.
    """
    return {spec.name: spec for spec in WORLDS}[name]
