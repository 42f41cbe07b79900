"""One exporter at work: poll, publish, serve."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from exporter.app import make_app
from exporter.node_look import NodeLook
from exporter.poller import Look, Poller
from exporter.publisher import Publisher
from exporter.start import starting_snapshot
from exporter.status.route import status_route
from exporter.store_look import StoreLook
from renewctl.inventory.reading import Inventory
from renewctl.web.serving import listen, serve

log = logging.getLogger("exporter")

_STORE = "\N{SECTION SIGN} store"
"""The store's name among the looks; no node can be called so."""


def run(
    inventory: Inventory, *, listen_address: str, snapshot_file: Path | None, poll_interval: float
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        listen_address: as `listen` takes it.
        snapshot_file: where to keep what is known; None: nowhere.
        poll_interval: seconds.

    Raises:
        Unusable, Refused: nobody can listen there.
    """
    listener = listen(listen_address)
    uids = {topic.id: topic.topic for topic in inventory.topics}
    looks: dict[str, Look] = {
        node.name: NodeLook(node, [uids[id_] for id_ in node.topics]) for node in inventory.nodes
    }
    if inventory.store:
        looks[_STORE] = StoreLook(inventory)
    snapshot = starting_snapshot(snapshot_file, inventory)
    changed = threading.Event()
    poller = Poller(looks, snapshot, poll_interval, changed.set)
    publisher = Publisher(inventory, lambda: poller.snapshot, snapshot_file, changed)
    publisher.start()
    poller.start()
    host, port = listener.getsockname()[:2]
    log.info("listening on %s:%d", f"[{host}]" if ":" in host else host, port)
    try:
        status = status_route(lambda: (inventory, poller.snapshot))
        serve(make_app(lambda: publisher.page, lambda: poller.all_asked, status), listener)
    finally:
        poller.stop()
        publisher.stop()
        log.info("ended")
