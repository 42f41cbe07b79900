"""Faults of an inventory that is not written yet, told by the option the value came from. Pure."""

from __future__ import annotations

import re

from renewctl.errors import RenewctlError, Unusable
from renewctl.reasons import Reason

_OPTIONS = (
    (r"store", "--store"),
    (r"keys\.folder", "--keys"),
    (r"keys\.recipients.*", "--recipient"),
    (r"topics\[\d+\]\.id", "--id"),
    (r"topics\[\d+\]\.topic", "--topic"),
    (r"topics\[\d+\]\.name", "--name"),
    (r"topics\[\d+\]\.zone", "--zone"),
    (r"topics\[\d+\]\.account\.alias", "--account"),
    (r"topics\[\d+\]\.account\.address", "--account-address"),
    (r"nodes\[\d+\]\.(name|url)", "--node"),
    (r"nodes\[\d+\]\.user", "--node-user"),
    (r"nodes\[\d+\]\.password.*", "--node-password-file"),
    (r"nodes\[\d+\]\.devices.*", "--node-sql"),
    (r"name", "--from"),
    (r"url", "--from-url"),
    (r"user", "--from-user"),
    (r"password.*", "--from-password-file"),
    (r"devices.*", "--from-sql"),
)
"""Path of a field -> its option; the last five are of the node named by `--from`, alone."""

_OF_SOURCE = {
    "--node": {"name": "--from", "url": "--from-url"},
    "--node-user": {"user": "--from-user"},
    "--node-password-file": {"password": "--from-password-file"},
    "--node-sql": {"devices": "--from-sql"},
}


def as_options(error: RenewctlError, *, source: bool) -> RenewctlError:
    """The same faults, each naming its option instead of a line nobody has seen.

    Args:
        error: as `inventory.from_bytes` or `inventory.node_from_mapping` raised it.
        source: the first node is the one named by `--from`.
    """
    told = _told(error, source=source)
    told.others = tuple(_told(other, source=source) for other in error.others)
    return told


def _told(error: RenewctlError, *, source: bool) -> RenewctlError:
    path = str(error.values.get("path", ""))
    option = next((option for pattern, option in _OPTIONS if re.fullmatch(pattern, path)), None)
    if option is None:
        return error
    if source and path.startswith("nodes[0]."):
        field = re.split(r"\W", path.removeprefix("nodes[0]."))[0]
        option = _OF_SOURCE.get(option, {}).get(field, option)
    values = {name: value for name, value in error.values.items() if name not in {"where", "file", "line"}}
    if error.reason is Reason.INVENTORY_BAD_VALUE:
        return Unusable(Reason.OPTION_VALUE, option=option, **values)
    return Unusable(error.reason, where=option, **values)
