"""From the web config's TLS section to what greets a connection, and who may stay after the greeting."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from renewctl import undumpable
from renewctl.errors import Unusable
from renewctl.reasons import Reason
from renewctl.web.config import ClientAuth, Tls, TlsVersion, read_file
from renewctl.web.connection import Greeting

_VERSIONS = {TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.VERIFY_IF_GIVEN: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRE: ssl.CERT_REQUIRED,
}


def greeting(tls: Tls) -> Greeting:
    """A server's context, its files read now, and whom it admits.

    Raises:
        Unusable: `web_tls_file`: a file is no such PEM, the key is another certificate's or has a passphrase;
            or a file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_pair(context, tls)
    if tls.client_ca is not None:
        _load_client_ca(context, tls.client_ca)
    context.verify_mode = _VERIFY[tls.client_auth]
    # TLS 1.2 without any cipher of its own is no TLS 1.2.
    lowest = TlsVersion.TLS13 if tls.ciphers == () else tls.minimum
    context.minimum_version, context.maximum_version = _VERSIONS[lowest], _VERSIONS[tls.maximum]
    if tls.ciphers:
        context.set_ciphers(":".join(tls.ciphers))
    if not tls.server_prefers:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return Greeting(context, partial(may_stay, allowed=tls.allowed_sans))


def may_stay(certificate: Mapping[str, Any] | None, allowed: Sequence[str]) -> bool:
    """Whether a client's verified certificate carries one of the allowed names, exactly.

    Args:
        certificate: as `SSLObject.getpeercert` gives it.
        allowed: DNS names, IP addresses, e-mail addresses or URIs; empty: anybody's may stay.
    """
    if not allowed:
        return True
    names = (certificate or {}).get("subjectAltName", ())
    own = {_plain_address(value) if kind == "IP Address" else value for kind, value in names}
    return not own.isdisjoint(allowed)


def _plain_address(text: str) -> str:
    """As people write it, where OpenSSL writes an IPv6 address in full."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text


def _load_pair(context: ssl.SSLContext, tls: Tls) -> None:
    undumpable.keep_to_ourselves()
    with _as_file(tls.certificate) as certificate, _as_file(tls.key) as key:
        try:
            # A passphrase would be asked for on the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            named = tls.key if _is_of_the_key(error, certificate) else tls.certificate
            raise _unusable(named, error) from None


def _load_client_ca(context: ssl.SSLContext, material: Path | str) -> None:
    text = read_file(material).decode("ascii", "replace") if isinstance(material, Path) else material
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise _unusable(material, error) from None


def _is_of_the_key(error: Exception, certificate: str) -> bool:
    """Of two files of which one is no PEM OpenSSL says the same, whichever it is."""
    if reason := getattr(error, "reason", None):
        return reason in {"KEY_VALUES_MISMATCH", "BAD_DECRYPT", "KEY_TYPE_MISMATCH"}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _unusable(material: Path | str, error: Exception) -> Unusable:
    got = getattr(error, "reason", None) or "NO_PEM"
    return Unusable(Reason.WEB_TLS_FILE, path=str(material) if isinstance(material, Path) else "PEM", got=got)


@contextlib.contextmanager
def _as_file(material: Path | str) -> Iterator[str]:
    """A path OpenSSL can read; the content is in memory alone, and read once."""
    content = read_file(material) if isinstance(material, Path) else material.encode()
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
