"""What holds for all tests."""

import socketserver
import sys
from typing import Any

import httpx
from hypothesis import HealthCheck, settings

# A crowded machine is no reason to fail: nothing here is measured by the clock.
settings.register_profile("renewctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("renewctl")

# Nor for a test's own question to a server of its own: httpx gives up after five seconds.
for _phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _phase, 60.0)

_tell = socketserver.BaseServer.handle_error


def _unless_hung_up(server: socketserver.BaseServer, request: Any, client: Any) -> None:
    """A client that went away is no news: its thread would print that into whatever test runs by then."""
    if not isinstance(sys.exception(), ConnectionError):
        _tell(server, request, client)


socketserver.BaseServer.handle_error = _unless_hung_up  # type: ignore[method-assign]
