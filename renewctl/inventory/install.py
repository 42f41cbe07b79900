"""How a node takes its pair: through its API, or as files, in the layouts its consumers read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from renewctl.inventory.fields import Fields
from renewctl.inventory.model import FileInstall, Place, Product
from renewctl.reasons import Reason

_LAYOUTS = ({"certificate", "key"}, {"pem"}, {"pkcs12"})
_EXPECTED = "{certificate: …, key: …} | {pem: …} | {pkcs12: …, password: …}"

# Absolute, and not roundabout: the folder kept beside a place is found again by its path.
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[^/\n]+)+")


CONNECTION_VARIABLES = frozenset(
    {
        "ansible_become",
        "ansible_become_method",
        "ansible_become_user",
        "ansible_connection",
        "ansible_host",
        "ansible_port",
        "ansible_python_interpreter",
        "ansible_ssh_private_key_file",
        "ansible_ssh_timeout",
        "ansible_timeout",
        "ansible_user",
    }
)
"""What an inventory may say of a connection. None of these starts a program on the controller, as
`ansible_ssh_common_args` or `ansible_ssh_executable` could: merging to the inventory must not run code."""


def read_install(fields: Fields, product: Product | None) -> FileInstall | None:
    """The key `install` of a node; None: through its API."""
    value = fields.raw("install")
    if value == "api" or value is None:
        if product is Product.FILES:
            expected = f"{{paths: {_EXPECTED}}}"
            fields.problem(Reason.INVENTORY_MISSING_KEY, "install", got=value or "-", expected=expected)
        return None
    below = fields.mapping("install")
    if below is None or not isinstance(value, Mapping):
        return None
    install = FileInstall(
        places=_places(below),
        host=below.text("host"),
        reload=below.texts("reload") or None,
        variables=below.pairs("variables", (str, int, bool)),
    )
    for name in install.variables:
        if name not in CONNECTION_VARIABLES:
            expected = ", ".join(sorted(CONNECTION_VARIABLES))
            reason = Reason.CONNECTION_VARIABLE_REFUSED
            below.problem(reason, f"variables.{name}", got=name, expected=expected)
    below.done()
    return install


def read_folder(fields: Fields, product: Product | None) -> Path | None:
    """`folder` in place of `install`: watched alone, so it serves no topic and takes no pair."""
    folder = fields.file("folder")
    if folder is None:
        return None
    taken = [key for key in ("install", "topics") if fields.raw(key) is not None]
    if taken or product is not Product.FILES:
        fields.problem(
            Reason.INVENTORY_BAD_VALUE,
            "folder",
            got=", ".join(taken) or product or "-",
            expected="product: files",
        )
    return folder


def _places(below: Fields) -> tuple[Place, ...]:
    """`paths`: one place, or a list of them."""
    value = below.raw("paths")
    below.need("paths", value)
    if isinstance(value, list | tuple):
        places = below.items("paths", _place)
        if not places:
            below.problem(Reason.INVENTORY_BAD_VALUE, "paths", got="[]", expected=_EXPECTED)
    else:
        one = below.mapping("paths")
        places = () if one is None else (_place(one),)
    _refuse_twice(below, places)
    return places


def _place(fields: Fields) -> Place:
    named = {kind for layout in _LAYOUTS for kind in layout if fields.raw(kind) is not None}
    pair = bool(named) and named <= {"certificate", "key"}
    if not pair and named not in _LAYOUTS:
        got = ", ".join(sorted(named)) or "-"
        fields.problems.add(Reason.INVENTORY_BAD_VALUE, fields.path, got=got, expected=_EXPECTED)
    place = Place(
        certificate=_path(fields, "certificate") if pair else None,
        key=_path(fields, "key") if pair else None,
        pem=_path(fields, "pem") if "pem" in named else None,
        pkcs12=_path(fields, "pkcs12") if "pkcs12" in named else None,
        password=fields.must_secret("password") if "pkcs12" in named else None,
        reload=fields.texts("reload") or None,
    )
    fields.done()
    return place


def _path(fields: Fields, key: str) -> str:
    return fields.matching(key, _PATH, "/etc/…")


def _refuse_twice(below: Fields, places: tuple[Place, ...]) -> None:
    paths = [path for place in places for path in place.files.values() if path]
    for path in sorted(path for path, count in Counter(paths).items() if count > 1):
        where = below.problems.where(below.at("paths"))
        below.problem(Reason.INVENTORY_DUPLICATE, "paths", got=path, expected=where)
