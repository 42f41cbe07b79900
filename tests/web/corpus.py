"""Web config files, good and bad, as exporter-toolkit's format has them; judged by us and by promtool.

Every case stands in a folder with `server.pem`, `server.key`, `ca.pem`, `other.key` (another certificate's),
`locked.key` (under a passphrase) and `junk.pem` (no PEM at all).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.web_pki import Authority, write_pair

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
_PAIR = "cert_file: server.pem, key_file: server.key"
_MUTUAL = f"{_PAIR}, client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert"


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        ours: whether we take it.
        differs: why promtool judges otherwise; empty: it does not. Each is listed in `exporter/WEB.md`.
    """

    name: str
    text: str
    ours: bool
    differs: str = ""

    @property
    def promtool(self) -> bool:
        """Whether promtool takes it."""
        return self.ours is not bool(self.differs)


def _tls(more: str, first: str = _PAIR) -> str:
    return f"tls_server_config: {{{', '.join(part for part in (first, more) if part)}}}"


_UNVERIFIED = "unverified client certificates"
_CURVES = "curve_preferences"
_OLD = "TLS 1.0 and 1.1"
_STRICTER = "settings that would have no effect, or shut everybody out"
_TYPES = "types"

GOOD = [
    ("empty", ""),
    ("a comment alone", "# nothing yet\n"),
    ("nothing in any section", "tls_server_config: {}\nhttp_server_config: {}\nbasic_auth_users: {}\n"),
    ("sections without a value", "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n"),
    ("certificate and key", _tls("")),
    ("client certificates", _tls("", _MUTUAL)),
    (
        "client certificates where given",
        _tls("client_ca_file: ca.pem, client_auth_type: VerifyClientCertIfGiven"),
    ),
    ("no client certificate, said", _tls("client_auth_type: NoClientCert")),
    ("an empty client_auth_type left out", _tls("min_version: TLS12")),
    ("allowed names", _tls("client_allowed_sans: [prometheus.example, 10.0.0.1, a@b.example]", _MUTUAL)),
    ("versions", _tls("min_version: TLS13, max_version: TLS13")),
    ("ciphers", _tls("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]")),
    ("ciphers of TLS 1.3 alone", _tls("cipher_suites: [TLS_AES_128_GCM_SHA256]")),
    ("old ciphers with CBC", _tls("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]")),
    ("chacha", _tls("cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]")),
    ("the client's order", _tls("prefer_server_cipher_suites: false")),
    ("no HTTP/2", "http_server_config: {http2: false}"),
    ("HTTP/2", "http_server_config: {http2: true}"),
    (
        "all headers",
        (
            "http_server_config: {headers: {Content-Security-Policy: \"default-src 'none'\", X-Frame-Options: deny, "
            'X-Content-Type-Options: nosniff, X-XSS-Protection: "1", Strict-Transport-Security: max-age=1}}'
        ),
    ),
    ("a blank header is none", "http_server_config: {headers: {Content-Security-Policy: ''}}"),
    ("a user", f"basic_auth_users: {{alice: {HASH}}}"),
    ("bcrypt of Python", f"basic_auth_users: {{alice: {HASH.replace('2y', '2b')}}}"),
    ("bcrypt of old", f"basic_auth_users: {{alice: {HASH.replace('2y', '2a')}}}"),
    ("a dear hash", f"basic_auth_users: {{alice: {HASH.replace('$10$', '$31$')}}}"),
    ("a user with a dot", f"basic_auth_users: {{a.b@c: {HASH}}}"),
    ("a rate", "rate_limit: {interval: 1s, burst: 10}"),
    ("a composed rate", "rate_limit: {interval: 1m0.5s, burst: 1}"),
    ("no rate", "rate_limit: {interval: 0, burst: 0}"),
    ("a rate without a burst, off", "rate_limit: {interval: 0s}"),
]
BAD = [
    ("not YAML", "tls_server_config: {"),
    ("a list", "- tls_server_config"),
    ("a text", "tls_server_config"),
    ("an unknown section", "tls_config: {cert_file: server.pem}"),
    ("an unknown key of TLS", _tls("ca_file: ca.pem")),
    ("an unknown key of HTTP", "http_server_config: {http3: true}"),
    ("an unknown key of the rate", "rate_limit: {interval: 1s, burst: 1, size: 2}"),
    ("a section twice", "basic_auth_users: {}\nbasic_auth_users: {}\n"),
    ("a key twice", f"basic_auth_users: {{alice: {HASH}, alice: {HASH}}}"),
    ("no key", "tls_server_config: {cert_file: server.pem}"),
    ("no certificate", "tls_server_config: {key_file: server.key}"),
    ("a CA alone", "tls_server_config: {client_ca_file: ca.pem}"),
    ("a client policy alone", "tls_server_config: {client_auth_type: RequireAndVerifyClientCert}"),
    ("a missing certificate", _tls("", "cert_file: none.pem, key_file: server.key")),
    ("a missing key", _tls("", "cert_file: server.pem, key_file: none.key")),
    ("another certificate's key", _tls("", "cert_file: server.pem, key_file: other.key")),
    ("a key with a passphrase", _tls("", "cert_file: server.pem, key_file: locked.key")),
    ("certificate and key swapped", _tls("", "cert_file: server.key, key_file: server.pem")),
    ("a certificate that is none", _tls("", "cert_file: junk.pem, key_file: server.key")),
    ("a key that is none", _tls("", "cert_file: server.pem, key_file: junk.pem")),
    ("a certificate that is a folder", _tls("", "cert_file: ., key_file: server.key")),
    ("a missing CA", _tls("", _MUTUAL.replace("ca.pem", "none.pem"))),
    ("a CA without a policy", _tls("client_ca_file: ca.pem")),
    ("a CA and no client certificate", _tls("client_ca_file: ca.pem, client_auth_type: NoClientCert")),
    ("an unknown policy", _tls("client_ca_file: ca.pem, client_auth_type: Require")),
    (
        "a policy in small letters",
        _tls("client_ca_file: ca.pem, client_auth_type: requireandverifyclientcert"),
    ),
    ("allowed names as a text", _tls("client_allowed_sans: {a: b}", _MUTUAL)),
    ("an unknown version", _tls("min_version: TLS14")),
    ("a version in other words", _tls("min_version: '1.2'")),
    ("SSL 3", _tls("min_version: SSL30")),
    ("an unknown cipher", _tls("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]")),
    ("OpenSSL's name of a cipher", _tls("cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256]")),
    ("an unknown curve", _tls("curve_preferences: [P256]")),
    ("an unknown header", "http_server_config: {headers: {Server: x}}"),
    ("a header in small letters", "http_server_config: {headers: {x-frame-options: deny}}"),
    ("another frame option", "http_server_config: {headers: {X-Frame-Options: allow}}"),
    ("a blank frame option", "http_server_config: {headers: {X-Frame-Options: ''}}"),
    ("another content type option", "http_server_config: {headers: {X-Content-Type-Options: sniff}}"),
    ("a password in clear", "basic_auth_users: {alice: swordfish}"),
    ("no password", "basic_auth_users: {alice: ''}"),
    ("no hash at all", "basic_auth_users: {alice: }"),
    ("an apr1 hash", "basic_auth_users: {alice: $apr1$xyz$zV2Nl1mkuPIjzSZCsGXlI1}"),
    ("a hash cut short", f"basic_auth_users: {{alice: {HASH[:50]}}}"),
    ("a hash of too low a cost", f"basic_auth_users: {{alice: {HASH.replace('$10$', '$03$')}}}"),
    ("a hash of too high a cost", f"basic_auth_users: {{alice: {HASH.replace('$10$', '$32$')}}}"),
    ("users as a list", "basic_auth_users: [alice]"),
    ("a rate that is no duration", "rate_limit: {interval: often, burst: 1}"),
    ("a rate in days", "rate_limit: {interval: 1d, burst: 1}"),
    ("a burst that is no number", "rate_limit: {interval: 1s, burst: many}"),
    ("a yes that is no truth", "http_server_config: {http2: 'yes'}"),
]
DIFFERENT = [
    ("asked and not verified", _tls("client_auth_type: RequestClientCert"), _UNVERIFIED),
    ("demanded and not verified", _tls("client_auth_type: RequireAnyClientCert"), _UNVERIFIED),
    ("demanded, by its old name", _tls("client_auth_type: RequireClientCert"), _UNVERIFIED),
    ("curves", _tls("curve_preferences: [CurveP256, X25519]"), _CURVES),
    ("TLS 1.0", _tls("min_version: TLS10"), _OLD),
    ("TLS 1.1 at most", _tls("min_version: TLS11, max_version: TLS11"), _OLD),
    ("from 1.3 to 1.2", _tls("min_version: TLS13, max_version: TLS12"), _STRICTER),
    ("a version without a certificate", "tls_server_config: {min_version: TLS13}", _STRICTER),
    ("verified against no CA", _tls("client_auth_type: RequireAndVerifyClientCert"), _STRICTER),
    ("verified against a CA that is none", _tls("", _MUTUAL.replace("ca.pem", "junk.pem")), _STRICTER),
    ("allowed names of nobody asked", _tls("client_allowed_sans: [a.example]"), _STRICTER),
    (
        "allowed names of whom is let in anyway",
        _tls("client_ca_file: ca.pem, client_auth_type: VerifyClientCertIfGiven, client_allowed_sans: [a.example]"),
        _STRICTER,
    ),
    ("a rate without a burst", "rate_limit: {interval: 1s}", _STRICTER),
    ("a negative rate", "rate_limit: {interval: -1s, burst: 1}", _STRICTER),
    ("a rate in nanoseconds", "rate_limit: {interval: 5, burst: 1}", _TYPES),
    ("a header of two lines", 'http_server_config: {headers: {X-XSS-Protection: "1\\n2"}}', _STRICTER),
    ("a hash with letters bcrypt has not", f"basic_auth_users: {{alice: {HASH[:-1]}!}}", _STRICTER),
    ("a number for a text", _tls("client_allowed_sans: [1]", _MUTUAL), _TYPES),
]  # fmt: skip

CASES = [
    *(Case(name, text, ours=True) for name, text in GOOD),
    *(Case(name, text, ours=False) for name, text in BAD),
    *(Case(name, text, ours=False, differs=why) for name, text, why in DIFFERENT),
]


def furnish(folder: Path) -> None:
    """Write the files the cases name."""
    authority = Authority()
    write_pair(folder, authority.server())
    write_pair(folder, authority.server(), "other")
    write_pair(folder, authority.issue("locked", passphrase=b"secret"), "locked")
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "junk.pem").write_text("no PEM\n")


def inline(folder: Path) -> str:
    """The same, with everything written in the file itself."""
    lines = ["tls_server_config:", "  client_auth_type: RequireAndVerifyClientCert"]
    for key, file in (("cert", "server.pem"), ("key", "server.key"), ("client_ca", "ca.pem")):
        lines += [f"  {key}: |", *(f"    {line}" for line in (folder / file).read_text().splitlines())]
    return "\n".join(lines) + "\n"
