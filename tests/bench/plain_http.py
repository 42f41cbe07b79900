"""The rival: PUT, read back, push, the requests of a roll-out and nothing else, in the same three waves.

`python -m tests.bench.plain_http < JOB`: a JSON object of `urls`, `body`, `topic` and `password`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx


async def main(job: dict[str, Any]) -> None:
    """Wave after wave, all of a wave at once."""
    urls = job["urls"]
    async with httpx.AsyncClient(auth=("nanomdm", job["password"]), timeout=60) as client:
        for wave in (urls[:1], urls[1:11], urls[11:]):
            await asyncio.gather(*(_one(client, url, job) for url in wave))


async def _one(client: httpx.AsyncClient, url: str, job: dict[str, Any]) -> None:
    (await client.put(f"{url}/v1/pushcert", content=job["body"])).raise_for_status()
    (await client.get(f"{url}/v1/pushcert", params={"topic": job["topic"]})).raise_for_status()
    (await client.get(f"{url}/v1/push/DEVICE-0")).raise_for_status()


if __name__ == "__main__":
    asyncio.run(main(json.load(sys.stdin)))
