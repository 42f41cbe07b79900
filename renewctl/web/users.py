"""Is this user's password right: bcrypt, without giving an attacker the processor or a list of users."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

LONGEST_QUEUE = 8
"""Checks that may wait; one takes some 60 ms (cost 10), so nobody waits longer than half a second."""

REMEMBERED = 100
"""Wrong passwords not to be checked again: a scraper with an old one asks every few seconds."""

_LONGEST_PASSWORD = 72
"""bcrypt takes no more bytes; Go leaves out the rest, too."""


class Busy(Exception):
    """Too many checks are waiting."""


class Passwords:
    """Remembers what was right, and some of what was wrong; checks one at a time."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._right: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._one = ThreadPoolExecutor(1, "bcrypt")
        self._waiting = 0

    async def right(self, users: Mapping[str, str], user: str, password: bytes) -> bool:
        """Whether there is such a user with this password.

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
        if self._waiting >= LONGEST_QUEUE:
            raise Busy
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            fits = await loop.run_in_executor(self._one, _checked, password, hashed, _cost(dearest))
        finally:
            self._waiting -= 1
        if fits and user in users:
            self._right[user] = mark
            return True
        self._wrong[mark] = None
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)
        return False

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
