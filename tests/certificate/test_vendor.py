"""The vendor certificate and what is above it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from renewctl.certificate.findings import Level
from renewctl.certificate.vendor import VendorCheck, check_vendor, in_order
from renewctl.errors import RenewctlError
from renewctl.reasons import Reason
from tests.support.certs import NOW, Issued, apple_like, with_broken_signature

APPLE = apple_like()
VENDOR = APPLE.vendor()
ABOVE = [APPLE.wwdr.pem, APPLE.root.pem]


def check(
    vendor: Issued = VENDOR, above: list[bytes] | None = None, key: bytes | None = None, now: datetime = NOW
) -> VendorCheck:
    """A check with one thing out of the ordinary."""
    return check_vendor(vendor.pem, ABOVE if above is None else above, key, now)


def reasons(found: VendorCheck) -> list[tuple[Reason, Level]]:
    """What was found."""
    return [(one.reason, one.level) for one in found.findings]


def test_all_in_order() -> None:
    """Nothing is found, and the last day is the vendor certificate's."""
    found = check(key=VENDOR.key_pem)
    assert found.findings == ()
    assert found.last_day == VENDOR.certificate.not_valid_after_utc
    assert found.serial == VENDOR.serial
    assert found.chain == (VENDOR.der, APPLE.wwdr.der, APPLE.root.der)


def test_the_last_day_is_the_chains_earliest() -> None:
    """An intermediate that ends first counts."""
    late = APPLE.vendor(not_after=datetime(2050, 1, 1, tzinfo=UTC))
    assert check(late).last_day == APPLE.wwdr.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (check(APPLE.vendor(marked=False)), Reason.VENDOR_MARK_MISSING),
        (check(APPLE.vendor(not_after=NOW)), Reason.VENDOR_EXPIRED),
        (check(APPLE.vendor(not_before=NOW + timedelta(seconds=1))), Reason.VENDOR_NOT_YET_VALID),
        (check(above=[]), Reason.VENDOR_CHAIN_INCOMPLETE),
        (check(above=[APPLE.wwdr.pem]), Reason.VENDOR_CHAIN_INCOMPLETE),
        (check(above=[apple_like("second").wwdr.pem, APPLE.root.pem]), Reason.VENDOR_CHAIN_INCOMPLETE),
        (check(with_broken_signature(VENDOR)), Reason.VENDOR_CHAIN_INCOMPLETE),
        (check(key=APPLE.root.key_pem), Reason.VENDOR_KEY_DIFFERS),
        (check(APPLE.root, above=[]), Reason.VENDOR_MARK_MISSING),
    ],
)
def test_what_the_portal_would_refuse(found: VendorCheck, reason: Reason) -> None:
    """Each a refusal of its own."""
    assert reasons(found)[0] == (reason, Level.REFUSE)


def test_an_authority_out_of_its_time_is_refused() -> None:
    """The whole chain has to be valid, not the vendor certificate alone."""
    late = APPLE.vendor(not_after=datetime(2050, 1, 1, tzinfo=UTC))
    found = check(late, now=datetime(2045, 1, 1, tzinfo=UTC))
    assert {one.reason for one in found.findings} == {Reason.VENDOR_CHAIN_EXPIRED}


def test_a_wrong_order_in_the_inventory_is_put_right() -> None:
    """Said, but no reason to stop; authorities that have no part in it are left out."""
    found = check(above=[APPLE.root.pem, apple_like("second").wwdr.pem, APPLE.wwdr.pem])
    assert reasons(found) == [(Reason.VENDOR_CHAIN_ORDER, Level.WARN)]
    assert found.chain == (VENDOR.der, APPLE.wwdr.der, APPLE.root.der)


@pytest.mark.parametrize(("days", "warned"), [(29, True), (31, False)])
def test_the_end_is_announced_a_month_ahead(days: int, warned: bool) -> None:
    """A new vendor certificate takes days to get."""
    found = check(APPLE.vendor(not_after=NOW + timedelta(days=days)))
    assert reasons(found) == ([(Reason.VENDOR_EXPIRING, Level.WARN)] if warned else [])


def test_the_roots_own_signature_is_not_looked_at() -> None:
    """Apple's root signs itself with SHA-1."""
    assert check(above=[APPLE.wwdr.pem, with_broken_signature(APPLE.root).pem]).findings == ()


def test_one_file_may_hold_the_whole_chain() -> None:
    """Vendor certificate first or not."""
    whole = APPLE.root.pem + VENDOR.pem + APPLE.wwdr.pem
    assert in_order(whole, []) == (VENDOR.der, APPLE.wwdr.der, APPLE.root.der)
    assert check_vendor(whole, [], None, NOW).chain == in_order(whole, [])


@pytest.mark.parametrize(
    ("vendor", "above", "key", "reason", "path"),
    [
        (b"", ABOVE, None, Reason.FILE_EMPTY, "vendor.pem"),
        (VENDOR.key_pem, ABOVE, None, Reason.FILE_IS_PRIVATE_KEY, "vendor.pem"),
        (VENDOR.pem, [APPLE.wwdr.pem, b"<html>"], None, Reason.FILE_IS_WEB_PAGE, "vendor.chain[1]"),
        (VENDOR.pem, ABOVE, b"junk", Reason.VENDOR_KEY_UNREADABLE, "vendor.pem"),
    ],
)
def test_files_that_are_something_else(
    vendor: bytes, above: list[bytes], key: bytes | None, reason: Reason, path: str
) -> None:
    """Named by the place in the inventory."""
    with pytest.raises(RenewctlError) as caught:
        check_vendor(vendor, above, key, NOW, path="vendor.pem")
    assert (caught.value.reason, caught.value.values["path"]) == (reason, path)
