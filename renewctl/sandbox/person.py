"""The person: signs in at the portal, finds the row, presses a button, uploads, downloads.

What the person does right or wrong is the world's choice; see `Deed`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Self

import httpx

_SECONDS = 20.0
_FILE_NAME = re.compile(r'filename="([^"/]+)"')


class Deed(StrEnum):
    """What a person does with a request."""

    RENEWS = "renews"  # the row whose UID is the topic, Renew
    CREATES = "creates"  # Create a Certificate, in whichever account
    TAKES_LAST_YEARS_FILE = "takes-last-years-file"  # renews, but then picks the file of last year


class PortalSaidNo(Exception):
    """The portal refused, or the row is not there; the text is what the page shows."""


class Person:
    """Somebody signed in at the portal."""

    def __init__(self, portal: str, account: str) -> None:
        self._browser = httpx.Client(
            base_url=portal,
            timeout=_SECONDS,
            trust_env=False,
            follow_redirects=True,
            headers={"Accept": "application/json"},
        )
        try:
            self._take(self._browser.post("/signin", params={"account": account}))
        except PortalSaidNo:
            self._browser.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()

    def rows(self) -> list[dict[str, object]]:
        """The list as the page shows it."""
        rows: list[dict[str, object]] = self._take(self._browser.get("/")).json()
        return rows

    def renew(self, topic: str, request: bytes) -> int:
        """Press Renew on the row whose UID is the topic; returns the row."""
        row = next((row for row in self.rows() if row["uid"] == topic), None)
        if row is None:
            raise PortalSaidNo(f"this account has no row with the UID {topic}")
        return self._upload(f"/certificates/{row['row']}/renew", request)

    def create(self, request: bytes) -> int:
        """Press Create a Certificate; returns the new row."""
        return self._upload("/certificates", request)

    def revoke(self, row: int) -> None:
        """Press Revoke, which nobody should."""
        self._take(self._browser.post(f"/certificates/{row}/revoke"))

    def download(self, row: int, folder: Path) -> Path:
        """Download the certificate of a row under the name the portal gives it."""
        response = self._take(self._browser.get(f"/certificates/{row}/download"))
        found = _FILE_NAME.search(response.headers["content-disposition"])
        target = folder / (found.group(1) if found else "certificate.pem")
        target.write_bytes(response.content)
        return target

    def _upload(self, path: str, request: bytes) -> int:
        told = self._take(self._browser.post(path, content=request)).json()
        return int(told["row"])

    @staticmethod
    def _take(response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        raise PortalSaidNo(str(response.json().get("ErrorMessage", response.status_code)))


def act(deed: Deed, *, portal: str, account: str, topic: str, request: Path, folder: Path) -> Path:
    """Do one deed; returns the downloaded file.

    Args:
        deed: what to do.
        portal: its URL.
        account: the Apple Account to sign in with.
        topic: the UID to look for.
        request: the file to upload.
        folder: where downloads go; must exist.

    Raises:
        PortalSaidNo: the portal refused.
    """
    content = request.read_bytes()
    with Person(portal, account) as person:
        row = person.create(content) if deed is Deed.CREATES else person.renew(topic, content)
        return person.download(row, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do one deed and print the path of the downloaded file."""
    parser = argparse.ArgumentParser(description="The person at the portal, for the sandbox")
    parser.add_argument("--portal", required=True, help="URL of the portal")
    parser.add_argument("--account", required=True, help="Apple Account to sign in with")
    parser.add_argument("--topic", required=True, help="UID of the row to renew")
    parser.add_argument("--request", type=Path, required=True, help="file to upload")
    parser.add_argument("--save-to", type=Path, required=True, help="folder for the download")
    parser.add_argument("--deed", type=Deed, choices=list(Deed), default=Deed.RENEWS, help="what to do")
    options = parser.parse_args(arguments)
    try:
        saved = act(
            options.deed,
            portal=options.portal,
            account=options.account,
            topic=options.topic,
            request=options.request,
            folder=options.save_to,
        )
    except PortalSaidNo as error:
        sys.exit(f"portal: {error}")
    sys.stdout.write(f"{saved}\n")


if __name__ == "__main__":
    main()
