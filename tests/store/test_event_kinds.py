"""What an older renewctl cannot read must have a schema number that it refuses."""

from __future__ import annotations

from renewctl.database import sql_version
from renewctl.renewal.events import Kind

KINDS = {
    1: {
        "opened", "key_made", "csr_made", "requested", "certificate_refused", "accepted", "roll_out_started",
        "wave_started", "node_finished", "node_verified", "roll_out_finished", "roll_back_started",
        "roll_back_finished", "closed", "aborted", "adopted", "restored", "rekey_started", "key_resealed",
        "destruction_started", "key_destroyed",
    }
}  # fmt: skip
"""Schema -> every kind of event it may hold; a row is never changed once it was released."""


def test_a_new_kind_of_event_is_a_new_schema() -> None:
    """Each kind we write belongs to the schema we write; older ones, which lack it, refuse such a store."""
    assert {kind.value for kind in Kind} == KINDS[sql_version.SCHEMA]
    assert all(KINDS[number] < KINDS[number + 1] for number in KINDS if number + 1 in KINDS)
