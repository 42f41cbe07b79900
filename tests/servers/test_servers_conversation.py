"""Several questions to a node over one connection: what an exporter's look costs, and what may go wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from renewctl.errors import NodeFault
from renewctl.inventory.reading import Node
from renewctl.reasons import Reason
from renewctl.servers import deadline
from renewctl.servers.nanomdm import NanoMDM
from renewctl.servers.transport import Transport
from tests.support.certs import NOW
from tests.support.sandbox_parts import eventually
from tests.support.scripted_http import hang_up, reply, scripted

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

NodeAt = Callable[..., Node]


class Keeping(ThreadingHTTPServer):
    """Keeps connections open, as Go's servers do, and counts them."""

    daemon_threads = True
    connections = 0
    requests = 0
    meanwhile: Callable[[], object] = staticmethod(lambda: None)
    leaves_after = 1000

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def get_request(self) -> Any:
        """One connection more."""
        self.connections += 1
        return super().get_request()


class _Telling(BaseHTTPRequestHandler):
    """NanoMDM's main branch, as far as a look goes."""

    protocol_version = "HTTP/1.1"
    server: Keeping

    def do_GET(self) -> None:
        self.server.requests += 1
        self.server.meanwhile()
        _, asked, topic = self.path.partition("?topic=")
        told = {"topic": topic, "not_after": "2027-11-22T12:00:00Z"} if asked else {"version": "v1"}
        bare = self.path == "/v1/pushcert"
        body = json.dumps({"error": "missing required query parameter: topic"} if bare else told).encode()
        self.send_response(400 if bare else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        # Without a word of it before, as whoever restarts.
        self.close_connection = self.server.requests % self.server.leaves_after == 0

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def keeping() -> Iterator[Keeping]:
    """One that answers until the test ends."""
    with Keeping(("127.0.0.1", 0), _Telling) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_look_of_ten_topics_is_one_connection(keeping: Keeping, node_at: NodeAt) -> None:
    """Twelve requests; a new connection for each took most of an exporter's time."""
    seen = NanoMDM(node_at(keeping.url), [f"t{number}" for number in range(10)]).observe(NOW)
    assert len(seen.certificates) == 10
    assert (keeping.requests, keeping.connections) == (12, 1)


def test_a_connection_closed_between_two_questions_costs_no_answer(keeping: Keeping, node_at: NodeAt) -> None:
    """The question is asked on a new one."""
    keeping.leaves_after = 2
    with Transport(node_at(keeping.url)).conversation() as node:
        assert [node.get("/version").status for _ in range(5)] == [200] * 5
    assert keeping.connections == 3


def test_each_question_has_a_deadline_of_its_own(
    keeping: Keeping, node_at: NodeAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What several take together may be longer; resting is no waiting."""

    def pass_by(seconds: float) -> None:
        before = deadline._now
        monkeypatch.setattr(deadline, "_now", lambda: before() + seconds)

    answers = threading.Event()
    keeping.meanwhile = lambda: pass_by(25)
    with Transport(node_at(keeping.url), deadline_seconds=60.0).conversation() as node:
        assert [node.get("/version").status for _ in range(3)] == [200] * 3
        pass_by(3600)
        with deadline.Deadline(0.01) as another:  # the watcher has looked at that clock
            eventually(lambda: another.expired)
        assert node.get("/version").status == 200
        assert keeping.connections == 1
        keeping.meanwhile = lambda: [pass_by(60), answers.wait(100)]
        with pytest.raises(NodeFault) as caught:
            node.get("/version")
    assert caught.value.reason is Reason.NODE_TIMEOUT
    answers.set()
    assert keeping.requests == 5  # what took too long is not asked again


def test_who_never_answers_is_asked_no_third_time(node_at: NodeAt) -> None:
    """Once, and once more where a connection was kept; the fault is told."""
    with scripted(reply(200), hang_up) as server, Transport(node_at(server.url)).conversation() as node:
        assert node.get("/a").status == 200
        for asked in (3, 4):
            with pytest.raises(NodeFault) as caught:
                node.get("/b")
            assert caught.value.reason is Reason.NODE_NO_ANSWER
            assert len(server.requests) <= asked
