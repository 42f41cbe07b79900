"""The web config file: who may connect to a server of ours, and how; the format of exporter-toolkit.

What is taken and where it differs from exporter-toolkit stands in `exporter/WEB.md`; a corpus of files that
promtool judges, too, holds it (`tests/web/corpus.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from renewctl.errors import Unusable
from renewctl.inventory.fields import Fields, Problems, raise_first
from renewctl.inventory.yaml_lines import parse
from renewctl.reasons import Reason

MAX_BYTES = 1024 * 1024
"""Of the file, and of each PEM file it names."""

_BCRYPT = re.compile(
    r"\$2[abxy]?\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}"
)  # costs bcrypt knows: 4 to 31
_PRINTABLE = re.compile(r"[ -~]+")
_SPAN = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}

HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""Headers that may be set -> the values they may have; none named: any."""

CIPHERS: Mapping[str, str | None] = {
    "TLS_AES_128_GCM_SHA256": None,
    "TLS_AES_256_GCM_SHA384": None,
    "TLS_CHACHA20_POLY1305_SHA256": None,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""Names in the file (IANA's, as Go has them) -> OpenSSL's; None: of TLS 1.3, always on in Go and here."""


class ClientAuth(StrEnum):
    """What is asked of clients, in Go's words."""

    NONE = "NoClientCert"
    REQUEST = "RequestClientCert"
    REQUIRE_ANY = "RequireAnyClientCert"
    REQUIRE_ANY_ONCE = "RequireClientCert"  # the name exporter-toolkit once had for it
    VERIFY_IF_GIVEN = "VerifyClientCertIfGiven"
    REQUIRE = "RequireAndVerifyClientCert"


VERIFIED = (ClientAuth.NONE, ClientAuth.VERIFY_IF_GIVEN, ClientAuth.REQUIRE)
"""What is taken: the others ask for a certificate and then believe any."""


class TlsVersion(StrEnum):
    """In the file's words; older ones are refused."""

    TLS12 = "TLS12"
    TLS13 = "TLS13"


@dataclass(frozen=True)
class Tls:
    """How connections are encrypted.

    Attributes:
        certificate, key, client_ca: a PEM file, or PEM text written in the file itself (never shown).
        client_auth: one of `VERIFIED`.
        allowed_sans: a client's certificate must carry one of them; empty: any verified certificate will do.
        minimum, maximum: versions.
        ciphers: OpenSSL's names for TLS 1.2; None: OpenSSL's choice; empty: none, so TLS 1.3 alone.
        server_prefers: the order of `ciphers` counts, not the client's.
    """

    certificate: Path | str = field(repr=False)
    key: Path | str = field(repr=False)
    client_ca: Path | str | None = field(default=None, repr=False)
    client_auth: ClientAuth = ClientAuth.NONE
    allowed_sans: tuple[str, ...] = ()
    minimum: TlsVersion = TlsVersion.TLS12
    maximum: TlsVersion = TlsVersion.TLS13
    ciphers: tuple[str, ...] | None = None
    server_prefers: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file it is read from."""
        named = (self.certificate, self.key, self.client_ca)
        return tuple(one for one in named if isinstance(one, Path))


@dataclass(frozen=True)
class Rate:
    """Requests let through: a token bucket.

    Attributes:
        interval: seconds until there is one more token.
        burst: tokens there can be.
    """

    interval: float
    burst: int


@dataclass(frozen=True)
class WebConfig:
    """The whole file.

    Attributes:
        tls: None: plain HTTP.
        users: name -> bcrypt hash; empty: nobody is asked.
        headers: sent with every answer that does not say them itself.
        rate: None: unlimited.
    """

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    rate: Rate | None = None


def load(path: Path) -> WebConfig:
    """Read a web config file; an empty one asks for nothing. Files it names are not looked at yet.

    Raises:
        Unusable: with the first fault found and all further ones in `.others`.
    """
    data = read_file(path)
    value, problems = parse(data, str(path)) if data.strip() else (None, Problems(str(path)))
    fields = Fields({} if value is None else value, "", problems, path.parent.absolute())
    config = WebConfig(_tls(fields), _users(fields), _headers(fields), _rate(fields))
    fields.done()
    raise_first(problems.found)
    return config


def read_file(path: Path) -> bytes:
    """The bytes of the file itself or of one it names.

    Raises:
        Unusable: missing, unreadable, no regular file, larger than `MAX_BYTES`.
    """
    try:
        if path.exists() and not path.is_file():
            raise Unusable(Reason.FILE_NOT_REGULAR, path=str(path))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Unusable(Reason.FILE_NOT_FOUND, path=str(path)) from None
    except OSError as error:
        raise Unusable(Reason.FILE_UNREADABLE, path=str(path), got=error.strerror) from None
    if len(data) > MAX_BYTES:
        raise Unusable(Reason.FILE_TOO_LARGE, path=str(path), got=f"> {MAX_BYTES}", expected=MAX_BYTES)
    return data


def _tls(top: Fields) -> Tls | None:
    fields = top.mapping("tls_server_config")
    if fields is None or not fields.keys():
        return None
    certificate, key = _pem(fields, "cert"), _pem(fields, "key")
    client_ca, auth = _pem(fields, "client_ca"), _client_auth(fields)
    for name, value in (("cert_file", certificate), ("key_file", key)):
        if value is None and fields.raw(name) is None:
            fields.problem(Reason.WEB_KEY_MISSING, name, expected=name)
    if client_ca is None and auth in {ClientAuth.VERIFY_IF_GIVEN, ClientAuth.REQUIRE}:
        fields.problem(Reason.WEB_KEY_MISSING, "client_ca_file", expected="client_ca_file")
    if client_ca is not None and auth is ClientAuth.NONE:
        fields.problem(Reason.WEB_KEY_MISSING, "client_auth_type", expected=ClientAuth.REQUIRE)
    sans = fields.texts("client_allowed_sans")
    if fields.raw("client_allowed_sans") is not None and auth is not ClientAuth.REQUIRE:
        got = auth.value
        fields.problem(Reason.INVENTORY_BAD_VALUE, "client_auth_type", got=got, expected=ClientAuth.REQUIRE)
    if fields.raw("curve_preferences"):
        fields.problem(Reason.WEB_TLS_UNSUPPORTED, "curve_preferences")
    minimum = fields.choice("min_version", TlsVersion) or TlsVersion.TLS12
    maximum = fields.choice("max_version", TlsVersion) or TlsVersion.TLS13
    if minimum > maximum:
        fields.problem(Reason.INVENTORY_BAD_VALUE, "min_version", got=minimum, expected=f"<= {maximum}")
    ciphers, prefers = _ciphers(fields), _flag(fields, "prefer_server_cipher_suites")
    fields.done()
    return Tls(
        certificate or "", key or "", client_ca, auth, sans, minimum, maximum, ciphers, server_prefers=prefers
    )


def _pem(fields: Fields, key: str) -> Path | str | None:
    """`KEY_file: PATH`, or `KEY: PEM text`; the file counts where there are both."""
    text = fields.text(key)
    return fields.file(f"{key}_file") or text


def _client_auth(fields: Fields) -> ClientAuth:
    auth = fields.choice("client_auth_type", ClientAuth) or ClientAuth.NONE
    if auth not in VERIFIED:
        fields.problem(Reason.WEB_CLIENT_UNVERIFIED, "client_auth_type", got=auth)
    return auth


def _ciphers(fields: Fields) -> tuple[str, ...] | None:
    names = fields.texts("cipher_suites")
    for index, name in enumerate(names):
        if name not in CIPHERS:
            at = f"cipher_suites[{index}]"
            fields.problem(Reason.INVENTORY_BAD_VALUE, at, got=name, expected=" | ".join(CIPHERS))
    return tuple(known for name in names if (known := CIPHERS.get(name))) if names else None


def _flag(fields: Fields, key: str) -> bool:
    """True where absent."""
    given = fields.flag(key)
    return given or fields.raw(key) is None


def _users(top: Fields) -> dict[str, str]:
    below = top.mapping("basic_auth_users")
    users: dict[str, str] = {}
    for name in () if below is None else below.keys():
        assert below is not None  # noqa: S101 - otherwise there are no names
        hashed = below.raw(name)
        if isinstance(hashed, str) and _BCRYPT.fullmatch(hashed):
            users[name] = hashed
        else:  # whatever it is, it may be a password: never shown
            below.problem(Reason.WEB_PASSWORD_NOT_BCRYPT, name)
    if below is not None:
        below.done()
    return users


def _headers(top: Fields) -> dict[str, str]:
    server = top.mapping("http_server_config")
    if server is None:
        return {}
    _flag(server, "http2")  # taken, and without effect: uvicorn speaks HTTP/1.1
    below = server.mapping("headers")
    server.done()
    if below is None:
        return {}
    found: dict[str, str] = {}
    for name, allowed in HEADERS.items():
        value = below.raw(name)
        if value is None or (value == "" and not allowed):
            continue
        if isinstance(value, str) and _PRINTABLE.fullmatch(value) and (not allowed or value in allowed):
            found[name] = value
        else:
            expected = " | ".join(allowed) or "ASCII"
            below.problem(Reason.INVENTORY_BAD_VALUE, name, got=value, expected=expected)
    below.done()
    return found


def _rate(top: Fields) -> Rate | None:
    fields = top.mapping("rate_limit")
    if fields is None:
        return None
    interval, burst = fields.raw("interval"), fields.raw("burst")
    fields.done()
    seconds = _seconds(interval)
    if seconds is None:
        fields.problem(
            Reason.INVENTORY_BAD_VALUE, "interval", got=interval, expected="1s | 500ms | 1m30s | 0"
        )
        return None
    if not seconds:
        return None
    if not isinstance(burst, int) or isinstance(burst, bool) or burst < 1:
        fields.problem(Reason.INVENTORY_BAD_VALUE, "burst", got=burst, expected=">= 1")
        return None
    return Rate(seconds, burst)


def _seconds(value: object) -> float | None:
    """A duration as Go writes it, `1m30s`; 0 for none; None: no duration."""
    if value is None or (value == 0 and not isinstance(value, bool)) or value == "0":
        return 0.0
    if not isinstance(value, str) or "".join(_SPAN.findall(value)) != value or not value:
        return None
    total = 0.0
    for span in _SPAN.findall(value):
        number = span.rstrip("nuµmsh")
        total += float(number) * _UNITS[span[len(number) :]]
    return total
