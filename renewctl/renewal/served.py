"""Is what a node was seen serving the pair that events tell of? Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta

from renewctl.observation import Observation, ServedCertificate, Source
from renewctl.renewal.events import PairRef

_ONE_SECOND = timedelta(seconds=1)  # servers round dates


def is_pair(served: ServedCertificate, pair: PairRef) -> bool:
    """By serial where the node tells it, else by the date it ends."""
    if served.serial is not None:
        return served.serial == pair.serial
    return abs(served.not_after - pair.not_after) < _ONE_SECOND


def as_served(uid: str, pair: PairRef, source: Source) -> ServedCertificate:
    """A pair on record, told as a node would tell its certificate.

    Args:
        uid: the topic's.
        source: `recorded` or `adopted`.
    """
    return ServedCertificate(
        topic=uid,
        not_after=pair.not_after,
        source=source,
        serial=pair.serial,
        fingerprint=pair.fingerprint,
        key_fingerprint=pair.key_fingerprint,
    )


def renewed_elsewhere(served: ServedCertificate, pairs: Collection[PairRef], current: PairRef) -> bool:
    """It is none of the pairs on record, and ends later than the one in use: somebody has renewed without us.

    One that ends earlier is of a node that was forgotten, and gains by whatever it is given.
    """
    return served.not_after > current.not_after and not any(
        is_pair(served, pair) for pair in (current, *pairs)
    )


def serving(seen: Mapping[str, Observation], topic: str, pair: PairRef) -> tuple[str, ...]:
    """Names of the nodes seen with this pair, in whatever place of theirs.

    Args:
        seen: node name -> one look.
        topic: the topic's UID.
    """
    return tuple(
        name
        for name, look in seen.items()
        if any(one.topic == topic and is_pair(one, pair) for one in look.certificates)
    )
