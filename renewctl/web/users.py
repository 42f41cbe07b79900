"""Is this user's password right: bcrypt, without giving an attacker the processor or a list of users."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

LONGEST_QUEUE = 64
"""Checks that may wait; one takes some 60 ms (cost 10), so nobody waits longer than four seconds, and a
scraper has ten. In a full line whoever has most makes room: it takes so many addresses to shut others out."""

REMEMBERED = 100
"""Wrong passwords not to be checked again: a scraper with an old one asks every few seconds."""

_LONGEST_PASSWORD = 72
"""bcrypt takes no more bytes; Go leaves out the rest, too."""


class Busy(Exception):
    """Too many checks are waiting."""


class Passwords:
    """Remembers what was right, and some of what was wrong; checks one at a time, and keeps the line fair."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._right: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._one = ThreadPoolExecutor(1, "bcrypt")
        self._line: dict[Future[bool], str] = {}

    async def right(self, users: Mapping[str, str], user: str, password: bytes, address: str = "") -> bool:
        """Whether there is such a user with this password.

        Args:
            address: whose request it is.

        Raises:
            Busy: it would have to be checked, and too many others wait for that.
        """
        dearest = max(users.values(), key=_cost)
        hashed = users.get(user, dearest)
        mark = self._mark(user, hashed, password)
        if hmac.compare_digest(self._right.get(user, b""), mark):
            return user in users
        if mark in self._wrong:
            return False
        if await self._fits(_network(address), password, hashed, _cost(dearest)) and user in users:
            self._right[user] = mark
            return True
        self._wrong[mark] = None
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)
        return False

    async def _fits(self, network: str, password: bytes, hashed: str, dearest: int) -> bool:
        """Whether they fit, when it is this check's turn."""
        self._make_room(network)
        check = self._one.submit(_checked, password, hashed, dearest)
        self._line[check] = network
        try:
            await asyncio.wait([ended := asyncio.wrap_future(check)])
        finally:
            self._line.pop(check, None)
        if ended.cancelled():
            raise Busy
        return ended.result()

    def _make_room(self, network: str) -> None:
        """One more may wait: where the line is full, whoever has most in it loses the latest."""
        if len(self._line) < LONGEST_QUEUE:
            return
        counts = Counter([network, *self._line.values()])
        crowd = max(counts, key=counts.__getitem__)
        if counts[network] == counts[crowd]:
            raise Busy
        latest = next(check for check, whose in reversed(self._line.items()) if whose == crowd)
        latest.cancel()
        del self._line[latest]

    def _mark(self, user: str, hashed: str, password: bytes) -> bytes:
        """Stands for the three, in memory alone; a changed hash makes another one."""
        digest = hashlib.blake2b(key=self._secret)
        for part in (user.encode("utf-8", "replace"), hashed.encode(), password):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


def credentials(authorization: str) -> tuple[str, bytes] | None:
    """User and password of an `Authorization: Basic` header; None where it is no such header."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, found, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user.decode("utf-8", "replace"), password) if found else None


def _network(address: str) -> str:
    """Whose address it is: one household has a whole /64 of IPv6, and as many addresses as it likes."""
    try:
        read = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(read, ipaddress.IPv4Address):
        return str(read)
    return str(read.ipv4_mapped or read.packed[:8].hex())


def _cost(hashed: str) -> int:
    """Of `$2y$10$…`: 10, which stands for 2**10 rounds."""
    return int(hashed.split("$")[2])


def _checked(password: bytes, hashed: str, dearest: int) -> bool:
    """Whether it fits, after 2**dearest rounds whoever is asked for: time tells no names."""
    fits = _fits(password, hashed)
    for cost in range(_cost(hashed), dearest):  # 2**c + (2**c + 2**(c+1) + … + 2**(dearest-1)) = 2**dearest
        _fits(password, f"{hashed[:4]}{cost:02}{hashed[6:]}")
    return fits


def _fits(password: bytes, hashed: str) -> bool:
    import bcrypt  # noqa: PLC0415 - only where there are users

    try:
        return bcrypt.checkpw(password[:_LONGEST_PASSWORD], hashed.encode())
    except ValueError:  # a salt or a password that bcrypt does not take
        return False
