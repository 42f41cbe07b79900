"""Apple's Push Certificates Portal: sign in, a list of rows, Renew, Create, Revoke, download.

A person's browser signs in (`POST /signin?account=ADDRESS` sets a cookie), reads the list (`GET /`, HTML, or
JSON for who asks), uploads a request (`POST /certificates/ROW/renew`, or `/certificates` to create; the body
is the file) and downloads (`GET /certificates/ROW/download`). Renew keeps the UID, Create makes a new one.
The real portal has no API; what is here is what a person sees there.
"""

from __future__ import annotations

import argparse
import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from renewctl.sandbox.authority import YEAR, Apple, new_topic, serial_of, topic_of
from renewctl.sandbox.portal_page import page, signin_page
from renewctl.sandbox.request_file import Upload, UploadRefused, check
from renewctl.sandbox.serving import serve

_COOKIE = "account"
_GRACE = timedelta(days=30)  # said to be renewable for so long after the end; sources disagree


@dataclass
class Row:
    """One line of the portal's list."""

    number: int
    vendor: str
    certificate: x509.Certificate
    revoked: bool = False

    @property
    def topic(self) -> str:
        """The value shown as UID."""
        return topic_of(self.certificate) or ""

    def shown(self, now: datetime) -> dict[str, object]:
        """What the page tells of it."""
        ends = self.certificate.not_valid_after_utc
        status = "Revoked" if self.revoked else "Expired" if ends < now else "Active"
        return {
            "row": self.number,
            "service": "Mobile Device Management",
            "vendor": self.vendor,
            "uid": self.topic,
            "serial": serial_of(self.certificate),
            "expires": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
            "status": status,
        }


class Portal:
    """The accounts and their certificates."""

    def __init__(
        self,
        apple: Apple,
        accounts: dict[str, list[Row]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._apple = apple
        self._accounts = accounts
        self._clock = clock

    def application(self) -> Starlette:
        """The HTTP application."""
        return Starlette(
            routes=[
                Route("/", self._list),
                Route("/signin", self._sign_in, methods=["GET", "POST"]),
                Route("/certificates", self._create, methods=["POST"]),
                Route("/certificates/{row:int}/renew", self._renew, methods=["POST"]),
                Route("/certificates/{row:int}/revoke", self._revoke, methods=["POST"]),
                Route("/certificates/{row:int}/download", self._download),
            ],
            exception_handlers={UploadRefused: _refused},
        )

    async def _sign_in(self, request: Request) -> Response:
        account = request.query_params.get(_COOKIE, "")
        if account not in self._accounts:
            return JSONResponse({"ErrorMessage": "Your Apple Account or password was incorrect."}, 401)
        response = RedirectResponse("/", 303)
        response.set_cookie(_COOKIE, account, httponly=True, samesite="strict")
        return response

    async def _list(self, request: Request) -> Response:
        rows = self._rows(request)
        wants_json = "application/json" in request.headers.get("accept", "")
        if rows is None:
            return _signed_out() if wants_json else HTMLResponse(signin_page(list(self._accounts)))
        shown = [row.shown(self._clock()) for row in rows]
        if wants_json:
            return JSONResponse(shown)
        return HTMLResponse(page(html.escape(request.cookies[_COOKIE]), shown))

    async def _create(self, request: Request) -> Response:
        rows = self._rows(request)
        if rows is None:
            return _signed_out()
        upload = check(await request.body(), self._apple.root.certificate, self._clock())
        number = 1 + max((row.number for every in self._accounts.values() for row in every), default=0)
        rows.append(Row(number, upload.vendor_name, self._issue(upload, new_topic())))
        return JSONResponse(rows[-1].shown(self._clock()))

    async def _renew(self, request: Request) -> Response:
        row = self._row(request)
        if row is None:
            return _not_found()
        now = self._clock()
        upload = check(await request.body(), self._apple.root.certificate, now)
        if row.revoked or row.certificate.not_valid_after_utc + _GRACE < now:
            return JSONResponse({"ErrorMessage": "This certificate can no longer be renewed."}, 409)
        row.certificate = self._issue(upload, row.topic)
        row.vendor = upload.vendor_name
        return JSONResponse(row.shown(now))

    async def _revoke(self, request: Request) -> Response:
        row = self._row(request)
        if row is None:
            return _not_found()
        row.revoked = True
        return JSONResponse(row.shown(self._clock()))

    async def _download(self, request: Request) -> Response:
        row = self._row(request)
        if row is None:
            return _not_found()
        return Response(
            row.certificate.public_bytes(Encoding.PEM),
            media_type="application/x-pem-file",
            headers={"Content-Disposition": f'attachment; filename="MDM_ {row.vendor}_Certificate.pem"'},
        )

    def _issue(self, upload: Upload, topic: str) -> x509.Certificate:
        return self._apple.push_certificate(upload.public_key, topic, ends=self._clock() + YEAR)

    def _rows(self, request: Request) -> list[Row] | None:
        """The signed-in account's rows; None: signed out."""
        return self._accounts.get(request.cookies.get(_COOKIE, ""))

    def _row(self, request: Request) -> Row | None:
        """The row of the path, if the signed-in account has it."""
        rows = self._rows(request) or []
        return next((row for row in rows if row.number == request.path_params["row"]), None)


def _signed_out() -> Response:
    return JSONResponse({"ErrorMessage": "Sign in with your Apple Account."}, 401)


def _not_found() -> Response:
    return JSONResponse({"ErrorMessage": "This account has no such certificate."}, 404)


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, UploadRefused):  # pragma: no cover - registered for UploadRefused alone
        raise error
    return JSONResponse({"ErrorCode": error.code, "ErrorMessage": error.text, "sandbox": error.why}, 400)


def read_accounts(path: Path) -> dict[str, list[Row]]:
    """Accounts from a JSON file `{address: [{"vendor", "certificate": PEM}, …]}`."""
    number = 0
    accounts: dict[str, list[Row]] = {}
    for address, entries in json.loads(path.read_text()).items():
        accounts[address] = []
        for entry in entries:
            number += 1
            certificate = x509.load_pem_x509_certificate(entry["certificate"].encode())
            accounts[address].append(Row(number, entry["vendor"], certificate))
    return accounts


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="Apple's Push Certificates Portal, for the sandbox")
    parser.add_argument("--fd", type=int, required=True, help="inherited listening socket")
    parser.add_argument("--pki", type=Path, required=True, help="folder with apple-*.pem and .key")
    parser.add_argument("--accounts", type=Path, required=True, help="JSON: accounts and certificates")
    options = parser.parse_args()
    serve(Portal(Apple.load(options.pki), read_accounts(options.accounts)).application(), options.fd)


if __name__ == "__main__":
    main()
