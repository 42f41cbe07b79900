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
from dataclasses import dataclass

from renewctl.web.line import Full, Line

LONGEST_LINE = 64
"""Checks that may wait. Addresses take turns, so a scraper waits for one check of each other address in it:
some 60 ms each (cost 10) or 270 ms (cost 12, what Python's bcrypt makes unless told)."""

REMEMBERED = 100
"""Wrong passwords not to be checked again: a scraper with an old one asks every few seconds."""

_LONGEST_PASSWORD = 72
"""bcrypt takes no more bytes; Go leaves out the rest, too."""


class Busy(Exception):
    """Too many checks are waiting."""


@dataclass(frozen=True, eq=False)
class _Check:
    """One password to be checked, and what it came to."""

    user: str
    password: bytes
    users: Mapping[str, str]
    ended: asyncio.Future[bool]

    def made(self) -> bool:
        """Whether there is such a user with this password."""
        dearest = max(self.users.values(), key=_cost)
        fits = _checked(self.password, self.users.get(self.user, dearest), _cost(dearest))
        return fits and self.user in self.users


class Passwords:
    """Remembers what was right, and some of what was wrong; checks one at a time."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._right: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._line: Line[_Check] = Line(LONGEST_LINE)
        self._asked: dict[bytes, _Check] = {}
        self._busy = False
        self._one = ThreadPoolExecutor(1, "bcrypt")
        self._one.submit(int)  # its thread is there before anybody can have the system refuse further ones

    async def right(self, users: Mapping[str, str], user: str, password: bytes, address: str = "") -> bool:
        """Whether there is such a user with this password.

        Args:
            address: whose request it is.

        Raises:
            Busy: it would have to be checked, and too many others wait for that.
        """
        mark = self._mark(user, users.get(user, ""), password)
        if hmac.compare_digest(self._right.get(user, b""), mark):
            return True
        if mark in self._wrong:
            return False
        if mark not in self._asked:
            ended = asyncio.get_running_loop().create_future()
            self._ask(mark, _Check(user, password, users, ended), address)
        ended = self._asked[mark].ended
        await asyncio.wait([ended])  # whoever gives up leaves it to those who ask the same again
        if ended.cancelled():
            raise Busy
        return ended.result()

    def _ask(self, mark: bytes, check: _Check, address: str) -> None:
        try:
            left = self._line.join(address, check)
        except Full:
            raise Busy from None
        if left is not None:
            left.ended.cancel()
        self._asked[mark] = check
        check.ended.add_done_callback(lambda ended: self._remember(mark, check.user, ended))
        self._go_on()

    def _go_on(self) -> None:
        if self._busy or (check := self._line.next()) is None:
            return
        self._busy = True
        run = asyncio.get_running_loop().run_in_executor(self._one, check.made)
        run.add_done_callback(lambda run: self._end(check, run))

    def _end(self, check: _Check, run: asyncio.Future[bool]) -> None:
        self._busy = False
        if run.cancelled():  # the end of the program
            return
        if error := run.exception():
            check.ended.set_exception(error)
        else:
            check.ended.set_result(run.result())
        self._go_on()

    def _remember(self, mark: bytes, user: str, ended: asyncio.Future[bool]) -> None:
        del self._asked[mark]
        if ended.cancelled() or ended.exception():
            return
        if ended.result():
            self._right[user] = mark
            return
        self._wrong[mark] = None
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)

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
