"""The search for secrets of `test_secrets` finds what is there, however it is written."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.certs import pkcs1, rsa_key
from tests.support.leaks import Seen, forms_of_key, forms_of_text, leaks, watched
from tests.support.sandbox_parts import eventually

pytestmark = pytest.mark.slow

KEY = pkcs1(rsa_key("planted"))
DER = base64.b64decode(b"".join(KEY.splitlines()[1:-1]))
PASSWORD = "correct+horse/battery=staple%21"
OTHER = 'it\'s \\a "passwört"'


def _zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("noise", b"noise " * 50)
        archive.writestr("module.py", content)
    return packed.getvalue()


def _openssl(content: bytes) -> bytes:
    """Colons and folded lines, as `openssl rsa -text` prints a number."""
    text = content.hex(":")
    return b"".join(b"    %s\n" % text[start : start + 45].encode() for start in range(0, len(text), 45))


#: How bytes are shown or packed, between other bytes.
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "hex": lambda raw: raw.hex().encode(),
    "upper-case hex": lambda raw: raw.hex().upper().encode(),
    "hex with colons": lambda raw: raw.hex(":").encode(),
    "upper-case hex with colons": lambda raw: raw.hex(":").upper().encode(),
    "hex as openssl folds it": _openssl,
    "Python's repr": lambda raw: repr(raw).encode(),
    "UTF-16, little end first": lambda raw: raw.decode("latin-1").encode("utf-16-le"),
    "UTF-16, big end first": lambda raw: raw.decode("latin-1").encode("utf-16-be"),
    "url": lambda raw: quote(raw, safe="").encode(),
    "base64": base64.b64encode,
    "base64, one byte on": lambda raw: base64.b64encode(b"x" + raw),
    "base64, two bytes on": lambda raw: base64.b64encode(b"xy" + raw),
    "base64 for urls": lambda raw: base64.urlsafe_b64encode(b"x" + raw),
    "base64 in lines": lambda raw: base64.encodebytes(b"x" + raw),
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zip": _zip,
    "zip in base64, as Ansible sends modules": lambda raw: base64.b64encode(_zip(raw)),
    "gzip in base64, in lines": lambda raw: base64.encodebytes(gzip.compress(raw)),
    "gzip in base64": lambda raw: base64.b64encode(gzip.compress(raw)),
    "hex in gzip": lambda raw: gzip.compress(raw.hex().encode()),
    "gzip in gzip": lambda raw: gzip.compress(gzip.compress(raw)),
}
WHAT = {"pem": KEY, "der": DER, "password": PASSWORD.encode(), "other password": OTHER.encode()}
PLANTS = {
    **{f"{what}: {way}": shown(raw) for what, raw in WHAT.items() for way, shown in WAYS.items()},
    "a single line": KEY.splitlines()[14],
    "json": json.dumps({"key": KEY.decode()}).encode(),
    "base64 without line ends": b"".join(KEY.splitlines()[1:-1]),
    "basic authentication": b"Basic " + base64.b64encode(f"nanomdm:{PASSWORD}".encode()),
    "password in a url": f"https://nanomdm:{quote(PASSWORD, safe='')}@mdm".encode(),
}


WANTED = {
    "key": forms_of_key(KEY),
    "password": forms_of_text(PASSWORD),
    "other password": forms_of_text(OTHER),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_planted_leak_is_found(plant: bytes) -> None:
    """Whatever the encoding, between other bytes; and nothing is found where nothing is."""
    assert len(leaks({"log": b"noise " * 50 + plant + b" noise"}, WANTED)) == 1
    public = rsa_key("planted").public_key().public_numbers().n
    assert leaks({"log": b"noise " * 50 + public.to_bytes(256).hex().encode()}, WANTED) == set()


def _found(seen: Seen, wanted: dict[str, set[bytes]]) -> bool:
    return leaks(seen.places, wanted) != set()


def test_a_leak_in_a_running_process_or_a_passing_file_is_found(tmp_path: Path) -> None:
    """Argument, environment, and a temp file that is gone at the end."""
    wanted = {"password": forms_of_text(PASSWORD)}
    code = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(sys.stdin.readline()); sys.stdin.read()"
    for argument, environment, text in ((PASSWORD, "", ""), ("", PASSWORD, ""), ("", "", PASSWORD)):
        with watched(tmp_path) as seen:
            command = [sys.executable, "-c", code, str(tmp_path / "passing"), argument]
            with subprocess.Popen(command, stdin=subprocess.PIPE, env={"SECRET": environment}) as child:
                assert child.stdin is not None
                child.stdin.write(f"{text}\n".encode())
                child.stdin.flush()
                eventually(partial(_found, seen, wanted), seconds=60)
                child.stdin.close()
        (tmp_path / "passing").unlink()
