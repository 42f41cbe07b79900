"""A TCP proxy as a cable that can be cut: nothing gets through any more, and neither end is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

HOST = "127.0.0.1"


class Cable:
    """From a port of its own to another one on loopback."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server((HOST, 0))
        self._whole = threading.Event()
        self._whole.set()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it begins."""
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """From now on nothing gets through, on old connections and on new ones."""
        self._whole.clear()

    def lay_anew(self) -> None:
        """New connections get through; those from before stay dead."""
        self._whole = threading.Event()
        self._whole.set()

    def close(self) -> None:
        """Let go of everything."""
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((HOST, self._to))
                self._ends += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=(*ends, self._whole), daemon=True).start()


def _carry(from_: socket.socket, to: socket.socket, whole: threading.Event) -> None:
    with suppress(OSError):  # one end is gone
        while data := from_.recv(65_536):
            whole.wait()
            to.sendall(data)
        whole.wait()
        to.shutdown(socket.SHUT_WR)


@contextmanager
def cable(to: int) -> Iterator[Cable]:
    """One for the block."""
    with closing(Cable(to)) as laid:
        yield laid
