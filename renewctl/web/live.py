"""The web config as it is now: read again whenever the file, or one it names, has changed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from renewctl.errors import RenewctlError
from renewctl.web.config import WebConfig, load
from renewctl.web.connection import Greeting

log = logging.getLogger("web")

Stamp = tuple[int, int, int, int] | None


class LiveConfig:
    """One web config file, looked at with each connection and each request.

    A file that cannot be used leaves what was read before in place: a certificate half-written must not
    cost a scrape. It is said once in the log, and in `fault` for as long as it lasts.

    Raises:
        Unusable: it cannot be used at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamps: dict[Path, Stamp] = {path: _stamp(path)}
        self._config = load(path)
        self._greeting = self._made()
        self.fault: RenewctlError | None = None

    @property
    def config(self) -> WebConfig:
        """What holds now."""
        self.look()
        return self._config

    @property
    def greeting(self) -> Greeting | None:
        """What a new connection is greeted with now; None: plain HTTP."""
        self.look()
        return self._greeting

    def look(self) -> None:
        """Read again what has changed since it was last tried."""
        with self._lock:
            if all(_stamp(path) == stamp for path, stamp in self._stamps.items()):
                return
            before = self._config, self._greeting
            self._stamps = {path: _stamp(path) for path in self._stamps}
            try:
                self._config = load(self._path)
                self._greeting = self._made()
            except RenewctlError as error:
                self._config, self._greeting = before
                self.fault = error
                log.error("the web config before stays in use: %s", error)  # noqa: TRY400 - a person's slip
            else:
                self.fault = None
                log.info("web config read again")

    def _made(self) -> Greeting | None:
        """The greeting, and from here on a watch on its files, whether it can be made or not."""
        tls = self._config.tls
        # Before they are read: what changes meanwhile is then seen as changed.
        self._stamps = {path: _stamp(path) for path in (self._path, *(tls.files if tls else ()))}
        if tls is None:
            return None
        from renewctl.web.tls import greeting  # noqa: PLC0415 - only where TLS is used

        return greeting(tls)


def _stamp(path: Path) -> Stamp:
    """Changes whenever a file is written, replaced, or its link points elsewhere."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
