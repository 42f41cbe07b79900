"""What waits for a slow reader: pieces of one answer, and no request that was sent ahead."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from renewctl.web import connection
from renewctl.web.pieces import PIECE_BYTES, in_pieces

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
@pytest.mark.parametrize("more", [True, False])
def test_a_body_is_handed_on_whole_in_pieces(size: int, more: bool) -> None:
    """None larger than a piece, the last says what the whole said; what is small is one."""
    body = bytes(number % 251 for number in range(size))
    got: list[Message] = []

    async def send(message: Message) -> None:
        got.append(message)

    asyncio.run(in_pieces(send)({"type": "http.response.body", "body": body, "more_body": more}))
    assert b"".join(one["body"] for one in got) == body
    assert len(got) == max(1, -(-size // PIECE_BYTES))
    assert [one["more_body"] for one in got] == [True] * (len(got) - 1) + [more]


@pytest.mark.parametrize("pieces", [1, 4], ids=["streamed", "cut"])
def test_others_have_their_turn_between_pieces(pieces: int) -> None:
    """Also where every piece is taken at once: who left meanwhile is known to have left."""
    turns: list[str] = []

    async def send(message: Message) -> None:
        turns.append("piece")

    async def other() -> None:
        while True:
            turns.append("other")
            await asyncio.sleep(0)

    async def answered() -> None:
        beside = asyncio.create_task(other())
        for _ in range(4 // pieces):
            body = bytes(pieces * PIECE_BYTES)
            await in_pieces(send)({"type": "http.response.body", "body": body, "more_body": True})
        beside.cancel()

    asyncio.run(answered())
    assert turns == ["piece", "other"] * 4


class Reader:
    """A transport whose other side takes what it is told to."""

    def __init__(self) -> None:
        self.waiting = 0
        self.closing = False

    def get_write_buffer_size(self) -> int:
        """Bytes not taken."""
        return self.waiting

    def is_closing(self) -> bool:
        """Whether it was ended."""
        return self.closing

    def abort(self) -> None:
        """End it."""
        self.closing = True

    def write(self, data: bytes) -> None:
        """Taken later."""
        self.waiting += len(data)

    def get_extra_info(self, name: str, default: object = None) -> object:
        """The socket: something that takes options."""
        return self if name == "socket" else default

    def getsockname(self) -> tuple[str, int]:
        """Where it is."""
        return "127.0.0.1", 1

    def setsockopt(self, *_: object, **__: object) -> None:
        """As sockets do."""

    close, getpeername = abort, getsockname
    set_write_buffer_limits = pause_reading = resume_reading = setsockopt


def begun_requests(*steps: str) -> list[int]:
    """How many requests were begun after each step: `ask`, `take`, `cancel` or `end`."""
    begun = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal begun
        begun += 1
        await PlainTextResponse("hello")(scope, receive, send)

    async def play() -> list[int]:
        reader: Any = Reader()
        config = Config(app, ws="none", lifespan="off", log_config=None, proxy_headers=False)
        one = connection.HttpConnection(connection.Crowd(9), config, ServerState(), None, lambda: None)
        one.connection_made(reader)
        counts = []
        for step in steps:
            if step == "ask":
                one.data_received(GET)
            elif step == "take":
                reader.waiting = 0
            elif step == "cancel":
                for task in one.server_state.tasks:
                    task.cancel()
            else:
                reader.abort()
            await asyncio.sleep(0.05)
            counts.append(begun)
        reader.abort()
        one.connection_lost(ConnectionResetError())
        return counts

    return asyncio.run(play())


def test_a_request_sent_ahead_begins_when_the_answer_before_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would lay its answer on the others."""
    monkeypatch.setattr(connection, "_LOOK_SECONDS", 0.001)
    assert begun_requests("ask", "ask", "ask", "take", "take") == [1, 1, 1, 2, 3]


def test_a_request_of_whoever_is_gone_never_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many were sent ahead."""
    monkeypatch.setattr(connection, "_LOOK_SECONDS", 0.001)
    assert begun_requests("ask", "ask", "ask", "end") == [1, 1, 1, 1]


def test_a_request_that_waits_does_not_keep_the_program_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled, it is ended without a word: there is nobody to tell."""
    monkeypatch.setattr(connection, "_LOOK_SECONDS", 60)
    assert begun_requests("ask", "ask", "cancel") == [1, 1, 1]


def test_how_long_anybody_is_waited_for() -> None:
    """What `exporter/WEB.md` promises, seconds; tests that wait for a deadline set a shorter one."""
    assert (connection.HEAD_SECONDS, connection.ANSWER_SECONDS) == (10, 60)
