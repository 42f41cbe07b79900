"""The MDM vendor certificate of a topic, as `status` watches it: without it nobody can sign a request."""

from __future__ import annotations

from datetime import datetime

from renewctl.certificate.findings import Finding, Level
from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Topic
from renewctl.reasons import Reason
from renewctl.topic_warnings import Warn


def vendor_warnings(topic: Topic, now: datetime) -> tuple[Warn, ...]:
    """What is wrong, or soon will be, with the topic's vendor certificate or its chain.

    Files that cannot be read are told, but call for nobody: they may lie on the host that signs.
    """
    try:
        found = _findings(topic, now)
    except RenewctlError as error:
        return (_warn(topic, error.reason, dict(error.values), attention=False),)
    return tuple(
        _warn(topic, finding.reason, dict(finding.values), attention=True)
        for finding in found
        if finding.reason is not Reason.VENDOR_CHAIN_ORDER  # `request` puts them in order by itself
    )


def vendor_refuses(topic: Topic, now: datetime) -> Reason | None:
    """Why the topic's vendor certificate can sign nothing now; None where it can, or lies on another host."""
    try:
        found = _findings(topic, now)
    except RenewctlError:
        return None
    return next((finding.reason for finding in found if finding.level is Level.REFUSE), None)


def _findings(topic: Topic, now: datetime) -> tuple[Finding, ...]:
    if topic.vendor is None:
        return ()
    from renewctl.certificate import intake, vendor  # noqa: PLC0415 - only where there is one to watch

    path = topic.vendor.certificate
    certificate, above = intake.read_bytes(path), [intake.read_bytes(each) for each in topic.vendor.chain]
    return vendor.check_vendor(certificate, above, None, now, path=str(path)).findings


def _warn(topic: Topic, reason: Reason, values: dict[str, object], *, attention: bool) -> Warn:
    told = {"name": topic.name, "reason": reason.value, **values}
    return Warn("warning.vendor", told, attention=attention)
