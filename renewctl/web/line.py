"""Who waits for the one place where passwords are checked, and whose turn it is."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Full(Exception):
    """No place for one more, and nobody has more places than who asks."""


class Line(Generic[T]):
    """Addresses take turns, so whoever has many in the line holds up nobody at another address.

    Args:
        places: so many may wait.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()

    def join(self, address: str, one: T) -> T | None:
        """Wait behind what this address has in the line; where that was full, gives what had to leave it.

        That is the latest of the address with most.

        Raises:
            Full: nobody has to leave for this one.
        """
        network = _network(address)
        left = self._room_for(network) if len(self) >= self._places else None
        self._waiting.setdefault(network, deque()).append(one)
        return left

    def next(self) -> T | None:
        """Whose turn it is; None: nobody waits."""
        if not self._waiting:
            return None
        network, waiting = self._waiting.popitem(last=False)
        one = waiting.popleft()
        if waiting:
            self._waiting[network] = waiting
        return one

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    def _room_for(self, network: str) -> T:
        crowd = max(self._waiting, key=lambda other: len(self._waiting[other]), default=network)
        if len(self._waiting.get(crowd, ())) <= len(self._waiting.get(network, ())) + 1:
            raise Full
        return self._waiting[crowd].pop()


def _network(address: str) -> str:
    """Whose address it is: one household has a whole /64 of IPv6, and as many addresses as it likes."""
    try:
        read = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(read, ipaddress.IPv4Address):
        return str(read)
    return str(read.ipv4_mapped or read.packed[:8].hex())
