"""One exporter at work: poll, publish, serve, read its configuration again when told to."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.app import make_app, make_health_app
from exporter.reloads import Reloads
from exporter.status.route import status_route
from exporter.watching import Watching
from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Inventory, load
from renewctl.web.hangups import answered
from renewctl.web.serving import Site, listen, serve

if TYPE_CHECKING:
    from exporter.probe_config import Module
    from renewctl.web.live import LiveConfig

log = logging.getLogger("exporter")


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    Attributes:
        config_file: the inventory.
        listen_addresses: as `listen` takes them, for everything.
        probe_listen_addresses: for health alone, without TLS and password.
        web_config_file: who may connect, and how; None: everybody, in the clear.
        probe_config_file: modules of /probe; None: it answers for nodes of the inventory alone.
        snapshot_file: where to keep what is known; None: nowhere.
        poll_interval: seconds between two looks at a node.
    """

    config_file: Path
    listen_addresses: Sequence[str]
    probe_listen_addresses: Sequence[str]
    web_config_file: Path | None
    probe_config_file: Path | None
    snapshot_file: Path | None
    poll_interval: float


class Exporter:
    """What is read, what is watched, and how it is read again."""

    def __init__(self, settings: Settings, inventory: Inventory) -> None:
        self._settings = settings
        self._one_at_a_time = threading.Lock()
        self.web = _live(settings.web_config_file)
        self.modules = read_modules(settings.probe_config_file, inventory)
        self.reloads = Reloads(datetime.now(UTC), web_is_well=lambda: self._web_fault is None)
        self.watching = Watching(inventory, settings.snapshot_file, settings.poll_interval)

    def reload(self) -> RenewctlError | None:
        """Read everything again; gives the fault because of which all stays as it was."""
        with self._one_at_a_time:
            now = datetime.now(UTC)
            try:
                inventory = load(self._settings.config_file)
                modules = read_modules(self._settings.probe_config_file, inventory)
            except RenewctlError as error:
                self.reloads.successful = False
                log.error("the configuration before stays in use: %s", error)  # noqa: TRY400 - a person's slip
                return error
            if self.web is not None:
                self.web.look()
            self.watching.change_to(inventory)
            self.modules = modules
            self.reloads.successful = True
            if self._web_fault is None:
                self.reloads.succeeded_at = now
            log.info("inventory read again, %d nodes", len(inventory.nodes))
            return self._web_fault

    def site(self, listeners: Sequence[socket.socket]) -> Site:
        """Everything, behind the web config where there is one."""
        app = make_app(self, status_route(lambda: self.watching.known))
        web = self.web
        if web is None:
            return Site(app, listeners)
        from renewctl.web.guard import Guard  # noqa: PLC0415 - only where it is used

        return Site(Guard(app, lambda: web.config), listeners, lambda: web.greeting)

    @property
    def _web_fault(self) -> RenewctlError | None:
        return None if self.web is None else self.web.fault


def run(settings: Settings, inventory: Inventory) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reads everything again; one that came while it was blocked, too.

    Raises:
        Unusable: the web config or the modules of /probe cannot be used.
        Unusable, Refused: nobody can listen there.
    """
    exporter = Exporter(settings, inventory)
    listeners = [listen(address) for address in settings.listen_addresses]
    probed = [listen(address) for address in settings.probe_listen_addresses]
    sites = [exporter.site(listeners)]
    if probed:
        sites.append(Site(make_health_app(lambda: exporter.watching.ready), probed))
    exporter.watching.start()
    for site in sites:
        _tell(site, "everything" if site is sites[0] else "health alone")
    try:
        with answered(exporter.reload):
            serve(sites)
    finally:
        exporter.watching.stop()
        log.info("ended")


def read_modules(path: Path | None, inventory: Inventory) -> Mapping[str, Module]:
    """Modules of /probe.

    Raises:
        Unusable: the file cannot be used with this inventory.
    """
    if path is None:
        return {}
    from exporter import probe_config  # noqa: PLC0415 - only where it is used

    modules = probe_config.load(path)
    probe_config.check(modules, {topic.id for topic in inventory.topics}, path)
    return modules


def _live(path: Path | None) -> LiveConfig | None:
    if path is None:
        return None
    from renewctl.web.live import LiveConfig  # noqa: PLC0415 - only where it is used

    return LiveConfig(path)


def _tell(site: Site, what: str) -> None:
    for listener in site.listeners:
        host, port = _named(listener)
        log.info("listening on %s:%d for %s", host, port, what)


def _named(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return f"[{host}]" if ":" in host else host, port
