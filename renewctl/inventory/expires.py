"""The inventory's `expires`: what else ends one day, beside push certificates, and where its date is read."""

from __future__ import annotations

from renewctl.inventory.fields import Fields, is_loopback
from renewctl.inventory.model import Expiring, ExpiryKind
from renewctl.reasons import Reason

_CERTIFICATES = frozenset(
    {ExpiryKind.VENDOR_CERTIFICATE, ExpiryKind.WWDR_INTERMEDIATE, ExpiryKind.TLS_CERTIFICATE}
)
_EXPECTED = "file: … | url: …"


def expiring_from(fields: Fields) -> Expiring:
    """Read one entry; what is wrong is noted."""
    kind = fields.choice("kind", ExpiryKind)
    fields.need("kind", kind)
    url = fields.url("url", ("http", "https"))
    expiring = Expiring(
        kind=kind or ExpiryKind.TLS_CERTIFICATE,
        name=fields.must_text("name"),
        node=fields.text("node") or "",
        file=fields.file("file"),
        url=None if url is None else url.geturl(),
        user=fields.text("user") or "",
        password=fields.secret("password"),
        ca_file=fields.file("ca_file"),
        insecure_http=fields.flag("insecure_http"),
        allow_api_credential=fields.flag("allow_api_credential"),
    )
    if (fields.raw("file") is None) == (fields.raw("url") is None):
        fields.problem(Reason.INVENTORY_BAD_VALUE, "file", got="-", expected=_EXPECTED)
    if url is not None:
        live = kind is ExpiryKind.TLS_CERTIFICATE
        if kind in _CERTIFICATES and not (live and url.scheme == "https"):
            expected = "https://…" if live else "file: …"
            fields.problem(Reason.INVENTORY_BAD_VALUE, "url", got=url.geturl(), expected=expected)
        elif url.scheme == "http" and not expiring.insecure_http and not is_loopback(url.hostname or ""):
            fields.problem(Reason.INVENTORY_INSECURE_HTTP, "url", got=url.geturl(), expected="https://…")
    fields.done()
    return expiring
