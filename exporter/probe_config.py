"""Modules of /probe: what may be asked that the inventory does not name, and with what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from renewctl.errors import Unusable
from renewctl.inventory.fields import Fields, raise_first
from renewctl.inventory.reading import Node, Product
from renewctl.inventory.yaml_lines import parse
from renewctl.reasons import Reason
from renewctl.secrets import SecretRef
from renewctl.web.config import read_file

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*")  # a name, IPv4; IPv6
_WILDCARD = re.compile(
    r"\*(?:\.[a-z0-9_-]+)*\.[a-z0-9_-]+\.[a-z][a-z0-9-]*"
)  # never a whole top-level domain, or IPs


class _Probed(StrEnum):
    """Products that can be asked from afar: those with an API."""

    NANOMDM = Product.NANOMDM.value


@dataclass(frozen=True)
class Target:
    """A base URL, normalised.

    Attributes:
        host: lower case; in a module it may begin with `*.`, for every name below.
    """

    scheme: str
    host: str
    port: int

    def covers(self, other: Target) -> bool:
        """Whether another target is this one, or below this wildcard."""
        if (self.scheme, self.port) != (other.scheme, other.port):
            return False
        return other.host == self.host or (self.is_wildcard and other.host.endswith(self.host[1:]))

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for many hosts."""
        return self.host.startswith("*")

    @property
    def address(self) -> str:
        """`HOST:PORT`: the node's name in what is published."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Module:
    """How a target that is no node of the inventory is asked.

    Attributes:
        targets: what may be asked.
        topics: ids in the inventory; empty: all.
        user, password: sent to these targets alone, each of which is then one exact host.
    """

    product: Product
    targets: tuple[Target, ...]
    topics: tuple[str, ...] = ()
    ca_file: Path | None = None
    insecure_http: bool = False
    user: str | None = None
    password: SecretRef | None = field(default=None, repr=False)

    def allows(self, target: Target) -> bool:
        """Whether it may be asked with this module."""
        return any(one.covers(target) for one in self.targets)

    def node(self, target: Target) -> Node:
        """The target as a node."""
        return Node(
            name=target.address,
            product=self.product,
            topics=self.topics,
            storage=target.address,
            url=f"{target.scheme}://{target.address}",
            user=self.user,
            password=self.password,
            ca_file=self.ca_file,
            insecure_http=self.insecure_http,
            allow_api_credential=self.password is not None,  # host and credential are named together
        )


def read_target(text: str, *, wildcard: bool = False) -> Target | None:
    """`HOST`, `HOST:PORT` (https), or a base URL; None where it is no such thing.

    Args:
        wildcard: whether `*.` may stand first.
    """
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        port, host = parts.port, (parts.hostname or "").rstrip(".")
    except ValueError:
        return None
    known = _HOST.fullmatch(host) or (wildcard and _WILDCARD.fullmatch(host))
    more = parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in _PORTS or not known or more or port == 0:
        return None
    return Target(parts.scheme, host, port or _PORTS[parts.scheme])


def load(path: Path) -> Mapping[str, Module]:
    """Name -> module.

    Raises:
        Unusable: with the first fault found and all further ones in `.others`.
    """
    value, problems = parse(read_file(path), str(path))
    fields = Fields(value, "", problems, path.parent.absolute())
    below = fields.mapping("modules")
    fields.need("modules", below)
    modules: dict[str, Module] = {}
    for name in () if below is None else below.keys():
        one = None if below is None else below.mapping(name)
        if one is not None:
            modules[name] = _module(one)
    fields.done()
    if below is not None:
        below.done()
    raise_first(problems.found)
    return modules


def _module(fields: Fields) -> Module:
    product = fields.choice("product", _Probed)
    fields.need("product", product)
    module = Module(
        Product(product or _Probed.NANOMDM),
        _targets(fields),
        fields.texts("topics"),
        fields.file("ca_file"),
        fields.flag("insecure_http"),
        fields.text("user"),
        fields.secret("password"),
    )
    if (module.user or module.password) and any(target.is_wildcard for target in module.targets):
        fields.problem(Reason.PROBE_CREDENTIAL_FOR_MANY, "targets")
    fields.done()
    return module


def _targets(fields: Fields) -> tuple[Target, ...]:
    found = []
    if fields.raw("targets") == []:
        fields.problem(Reason.INVENTORY_MISSING_KEY, "targets", expected="targets")
    fields.need("targets", None)
    for index, text in enumerate(fields.texts("targets")):
        target = read_target(text, wildcard=True)
        if target is None:
            expected = "https://HOST[:PORT] | https://*.DOMAIN[:PORT]"
            fields.problem(Reason.INVENTORY_BAD_VALUE, f"targets[{index}]", got=text, expected=expected)
        else:
            found.append(target)
    return tuple(found)


def check(modules: Mapping[str, Module], topics: set[str], path: Path) -> None:
    """Topics that modules name are the inventory's.

    Raises:
        Unusable: `inventory_dangling`.
    """
    for name, module in modules.items():
        for topic in module.topics:
            if topic not in topics:
                where = f"modules.{name}.topics"
                raise Unusable(
                    Reason.INVENTORY_DANGLING,
                    where=str(path),
                    path=where,
                    got=topic,
                    expected=", ".join(sorted(topics)) or "-",
                )
