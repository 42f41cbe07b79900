"""Parsers that do everything they must not, to see that it is noticed. In no table."""

from __future__ import annotations

import ctypes
import time

from renewctl.errors import Unusable
from renewctl.reasons import Reason
from tests.hostile.parser import Made, Parser


def _take(data: bytes) -> None:
    what = data.decode()
    if what == "raise":
        raise KeyError(what)
    if what == "refuse":
        raise Unusable(Reason.FILE_EMPTY, path="x")
    if what == "refuse unspeakably":
        raise Unusable(Reason.FILE_EMPTY, path=_Unspeakable())
    if what == "die":
        ctypes.string_at(0)
    if what == "hang":
        time.sleep(60)
    if what == "slow":
        time.sleep(0.9)
    if what == "large":
        bytearray(b"x") * (250 * 1024 * 1024)


class _Unspeakable:
    """Has words for the error itself, none for the sentence."""

    told = False

    def __format__(self, _spec: str) -> str:
        if self.told:
            raise TypeError("no words")
        self.told = True
        return "x"


def _make() -> Made:
    return Made(_take, [b"good"])


PARSERS = [Parser("faulty.everything", _make, [], (Unusable,), seconds=0.6)]
