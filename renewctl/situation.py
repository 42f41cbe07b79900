"""What next steps are computed from, and what one looks like. Values alone; `guidance` decides."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from renewctl.errors import Refused, RenewctlError
from renewctl.inventory.reading import Topic
from renewctl.reasons import Reason
from renewctl.renewal.history import TopicHistory


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        key: of the sentence, in the catalogues (`next.…`).
        values: what the sentence needs. Instants stay instants; whoever renders knows the zone.
        command: what to type, ready to paste; None where it is not done in a terminal.
    """

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)
    command: str | None = None


@dataclass(frozen=True)
class Situation:
    """All that the next step depends on.

    Attributes:
        owed: nodes of the topic still owed the accepted pair.
        owed_previous: nodes of the topic a roll-back is not known to have put back, or seen with the new pair
            after it.
        gone: nodes touched that left the topic, not known to hold the pair they should.
        wrong_id: why the topic's id and UID do not go with the record (`history.misnamed`).
        renewed_elsewhere: a node serves a newer pair that is on no record.
        not_after: end of the certificate in use, as best known; None: not known.
        options: what every command needs again (`--inventory FILE`), already split.
        refused: why the command that ends here did not do what was asked; None: it did, or nothing was asked.
        request_file: where the command that ends here has just written the portal's file.
        csr_file: where the command that ends here has just written the CSR.
        left_out: node -> why, as typed for the command that ends here.
        store_missing: nothing can be recorded yet.
        vendor_refuses: why the vendor certificate can sign nothing now; None: it can, as far as is known.
    """

    topic: Topic
    history: TopicHistory
    now: datetime
    owed: Sequence[str] = ()
    owed_previous: Sequence[str] = ()
    gone: Sequence[str] = ()
    wrong_id: Refused | None = None
    renewed_elsewhere: bool = False
    not_after: datetime | None = None
    options: Sequence[str] = ()
    refused: RenewctlError | None = None
    request_file: Path | None = None
    csr_file: Path | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    store_missing: bool = False
    vendor_refuses: Reason | None = None

    def command(self, *words: str) -> str:
        """A whole command line for this topic."""
        return command(self.options, *words, "--topic", self.topic.id)


def command(options: Sequence[str], *words: str) -> str:
    """A whole command line, ready to paste."""
    return shlex.join(["renewctl", *options, *words])
