"""Whoever holds a secret leaves no core file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.identities import new_key, pem
from tests.support.unprivileged import as_nobody, python

_TELL = """
import ctypes, os, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
{does}
memory = os.memfd_create("pair")
os.write(memory, b"loaded")
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE),
      Path(f"/proc/self/fd/{{memory}}").read_text())
"""

HOLDERS = {
    "reads a secret": "from renewctl.secrets import *; read(SecretRef(Kind.FILE, (sys.argv[1],)))",
    "takes a key": "from renewctl.certificate.private_key import pkcs1; pkcs1(Path(sys.argv[1]).read_bytes(), 'k')",
    "opens a plain key": "from renewctl.keys.unseal import *; load_plain_key(Path(sys.argv[1]))",
    "makes a key": "from renewctl.certificate.request import make_key; make_key()",
    "makes an identity": "from renewctl.keys.unseal import new_identity; new_identity()",
}


def _told(does: str, folder: Path) -> list[str]:
    file = folder / "key.pem"
    file.write_bytes(pem(new_key()))
    return python(_TELL.format(does=does), file, prefix=as_nobody()).split()


@pytest.mark.slow
@pytest.mark.parametrize("does", HOLDERS.values(), ids=HOLDERS)
def test_a_process_that_holds_a_secret_cannot_be_dumped(does: str, open_folder: Path) -> None:
    """Not dumpable, core limit 0 and not to be raised; a memory file still opens under its own name."""
    assert _told(does, open_folder) == ["0", "0", "0", "loaded"]


@pytest.mark.slow
def test_another_process_could_be_dumped(open_folder: Path) -> None:
    """The check can fail: a process that holds nothing is as it was."""
    assert _told("pass", open_folder)[0] == "1"
