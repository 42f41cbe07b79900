"""What somebody may type at the office of `test_commands_machine`, what fits when, and how it may be refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from renewctl import messages
from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Topic
from renewctl.reasons import Reason
from renewctl.renewal.rules import Phase
from renewctl.upkeep import backup, backup_file
from renewctl.workflow import deploy, keyring, prepare, rolling, rolling_back
from renewctl.workflow.choices import Options
from renewctl.workflow.workplace import Workplace
from tests.support.desk import APPLE, VENDOR
from tests.support.vendor_office import signed_by

KEPT = "kept.tar"
"""The newest backup."""

LONG_AGO = timedelta(days=-36500)
"""Superseded keys may go at once."""

NATURAL: Mapping[Phase | None, tuple[str, ...]] = {
    None: ("open", "open", "adopt", "adopt", "roll-back", "keys destroy"),
    Phase.OPEN: ("request", "request", "request", "accept --previous", "keys destroy", "abort"),
    Phase.CSR_MADE: ("request", "request --signed", "accept", "accept"),
    Phase.REQUESTED: ("accept", "accept", "accept", "request", "request --signed", "a stranger's"),
    Phase.ACCEPTED: ("roll-out", "roll-out", "roll-out", "abort"),
    Phase.ROLLING_OUT: ("roll-out", "roll-out", "roll-back", "verify", "backup"),
    Phase.INSTALLED: ("verify", "roll-out", "close", "roll-back"),
    Phase.PROVEN: ("close", "close", "verify", "roll-back", "roll-out"),
    Phase.ROLLED_BACK: ("abort", "roll-out", "roll-back"),
}
"""What somebody would type who has just looked."""

HOLDER = ("renewal", "holder", "since")
NAMED: Mapping[Reason, tuple[str, ...]] = {
    Reason.RUN_HELD: (*HOLDER, "host", "run"),
    Reason.RUN_OVERTAKEN: (*HOLDER, "host", "run", "nodes"),
    Reason.SOMEBODY_ELSE_MOVED: (*HOLDER, "host"),
    Reason.RENEWAL_OPEN_ALREADY: (*HOLDER, "got"),
    Reason.RUN_LOST: ("renewal", "run"),
    Reason.TOPIC_UNDER_OTHER_ID: ("topic", "got", "expected"),
    Reason.PREVIOUS_PAIR_MISSING: ("renewal",),
    Reason.REQUEST_OF_ANOTHER_CSR: ("got", "expected"),
    Reason.REQUEST_IS_CERTIFICATE: ("path",),  # the CSR was made after the vendor should have had it
    Reason.OUT_OF_ORDER: ("renewal", "got", "step"),
    Reason.RENEWAL_NONE_OPEN: ("topic",),
    Reason.RENEWAL_CLOSED: ("renewal", "since"),
    Reason.NO_PAIR_BEFORE: ("renewal", "topic"),
    Reason.RUN_SUPERSEDED: ("node", "got", "expected"),
    Reason.FENCE_FAILED: ("nodes",),
    Reason.NODES_UNKNOWN: ("renewal", "nodes"),
    Reason.NODES_NOT_PROVEN: ("renewal", "nodes"),
    Reason.NODES_WRONG: ("renewal", "nodes"),
    Reason.NODES_OWED: ("renewal", "nodes"),
    Reason.ROLL_OUT_STOPPED: ("renewal", "nodes"),
    Reason.ROLL_BACK_OWED: ("renewal", "nodes"),
    Reason.ROLL_BACK_GONE: ("renewal", "nodes"),
    Reason.KEY_OF_ANOTHER_REQUEST: ("got", "expected"),
    Reason.KEY_OF_CURRENT_CERTIFICATE: ("got", "expected"),
}
"""Why a command may be refused here, and what its refusal must name; any other reason is a fault."""


def _request(work: Workplace, topic: Topic, file: Path) -> None:
    prepare.make_csr(work, topic, new_key=False)
    prepare.sign(work, topic, file)


def _take_signed(work: Workplace, topic: Topic, file: Path) -> None:
    """A vendor has signed the CSR there was when it was sent off."""
    renewal = work.history(topic).open
    if renewal is not None and renewal.csr is not None:
        file.write_bytes(signed_by(VENDOR, work.store.document(renewal.csr)))
    prepare.take_signed(work, topic, file, file)


def _backup(work: Workplace, topic: Topic, file: Path) -> None:
    """Whoever is at work meanwhile: what is read is whole, and the newest copy is kept."""
    taken = backup.take(work.store.url, work.keys, now=work.now(), tell=lambda _key: None)
    assert (backup.missing_keys(taken), backup.broken_links(taken)) == ((), ())
    kept = file.with_name(KEPT)
    kept.unlink(missing_ok=True)
    backup_file.write(kept, taken)


def _accept(work: Workplace, topic: Topic, file: Path) -> None:
    prepare.accept(work, topic, prepare.Downloaded(file, None, None))


def _accept_strangers(work: Workplace, topic: Topic, file: Path) -> None:
    file.write_bytes(APPLE.push(topic.topic, key="a stranger's").pem)
    _accept(work, topic, file)


def _rekey(work: Workplace, _topic: Topic, _file: Path) -> None:
    identity = work.inventory.keys.identity
    assert identity is not None
    assert [
        one.fault for one in keyring.rekey(work, keyring.sorted_keys(work), identity, identity) if one.fault
    ] == []


COMMANDS: Mapping[str, Callable[[Workplace, Topic, Path], object]] = {
    "open": lambda work, topic, _: prepare.open_renewal(work, topic),
    "request": _request,
    "request --new-key": lambda work, topic, _: prepare.make_csr(work, topic, new_key=True),
    "accept": _accept,
    "a stranger's": _accept_strangers,
    "accept --previous": lambda work, topic, _: deploy.accept_before(work, topic, None),
    "roll-out": lambda work, topic, _: rolling.roll_out(work, topic, Options(waves=("100%",))),
    "verify": lambda work, topic, _: rolling.verify(work, topic, Options()),
    "roll-back": lambda work, topic, _: rolling_back.roll_back(work, topic, Options(), lambda _doubt: True),
    "close": lambda work, topic, _: deploy.close(work, topic, without_proof=True),
    "abort": lambda work, topic, _: prepare.abort(work, topic, {}),
    "adopt": lambda *_: None,
    "request --signed": _take_signed,
    "backup": _backup,
    "keys rekey": _rekey,
    "keys destroy": lambda work, *_: keyring.destroy(work, keyring.sorted_keys(work), LONG_AGO),
}
"""What may be typed, whether it fits or not; the file is the certificate that is at hand."""


def names_what_it_should(name: str, refused: RenewctlError) -> None:
    """A refusal has a reason that can be meant here, and its sentences name who and what, in both languages."""
    assert refused.reason in NAMED, (name, refused)
    for value in NAMED[refused.reason]:
        assert refused.values.get(value) not in {None, ""}, (name, value, refused)
    for language in messages.LANGUAGES:
        sentence = messages.text(refused.reason.value, language, **refused.values)
        for value in {"holder", "nodes"} & set(NAMED[refused.reason]):
            assert str(refused.values[value]) in sentence, (name, sentence)
