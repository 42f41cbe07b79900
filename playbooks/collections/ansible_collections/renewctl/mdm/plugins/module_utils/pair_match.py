# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a private key belongs to a certificate, which Python's own TLS knows. Standard library alone."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk as disk

#: How a file in memory is opened by its name (Linux); `ssl` takes names alone, and a key must touch no disk.
OPEN = "/proc/self/fd/%d"

#: A short key or an old signature is no reason to say that two are no pair (OpenSSL 1.1.0 or newer).
_ANY_STRENGTH = "ALL:@SECLEVEL=0"


class _Locked(Exception):
    """The key is under a password, and nobody here knows that."""


def belongs(certificate, key):
    """Whether these are a pair, as whoever reads both would find; when it ends does not matter.

    Args:
        certificate, key: PEM texts; of each the first block of its kind counts.

    None: not known. The key is under a password, Python has no `ssl`, or the system no files in memory.
    """
    certificate, key = disk.certificate_block(certificate), disk.key_block(key)
    if certificate is None or key is None:
        return False
    try:
        with _in_memory(certificate) as one, _in_memory(key) as other:
            return _is_taken(one, other)
    except (ImportError, AttributeError, OSError, _Locked):
        return None


def _is_taken(certificate, key):
    import ssl  # noqa: PLC0415 - not every Python has it, and most steps need none

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLError):
        context.set_ciphers(_ANY_STRENGTH)
    try:
        context.load_cert_chain(certificate, key, password=_locked)
    except ssl.SSLError:
        return False
    return True


def _locked():
    raise _Locked  # without this OpenSSL would ask at the terminal


@contextlib.contextmanager
def _in_memory(data):
    with os.fdopen(os.memfd_create("pair"), "wb") as file:
        file.write(data)
        file.flush()
        yield OPEN % file.fileno()
