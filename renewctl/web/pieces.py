"""A large body is handed on as fast as it is taken, and no faster: what waits for a slow reader is memory."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Send

PIECE_BYTES = 64 * 1024
"""What asyncio lets wait for a connection before it asks for patience."""


def in_pieces(send: Send) -> Send:
    """The same, with large bodies cut; each piece waits until the ones before are almost taken."""

    async def hand_on(message: Message) -> None:
        await send(message)
        if message.get("more_body"):
            # A reader who takes everything at once is not the only one, and that one is gone shows by then.
            await asyncio.sleep(0)

    async def sending(message: Message) -> None:
        if len(message.get("body", b"")) <= PIECE_BYTES:
            await hand_on(message)
            return
        rest = memoryview(message["body"])
        while len(rest) > PIECE_BYTES:
            await hand_on({**message, "body": rest[:PIECE_BYTES], "more_body": True})
            rest = rest[PIECE_BYTES:]
        await hand_on({**message, "body": rest})

    return sending
