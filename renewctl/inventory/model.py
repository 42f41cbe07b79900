"""What an inventory says, as frozen values. `reading` makes them from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from renewctl.secrets import SecretRef

DEFAULT_WINDOW = timedelta(days=60)
"""How long before its end a push certificate is due, where the topic does not say."""


class Product(StrEnum):
    """The MDM server product of a node."""

    NANOMDM = "nanomdm"
    FILES = "files"  # no API at all: pair and certificate as files


class AccountKind(StrEnum):
    """Apple Accounts come in two kinds; they are recovered in different ways."""

    MANAGED = "managed"
    PERSONAL = "personal"


class Language(StrEnum):
    """Languages the renewal speaks to a person."""

    EN = "en"
    JA = "ja"


@dataclass(frozen=True)
class Account:
    """The Apple Account that owns a push certificate at the portal."""

    alias: str
    address: str | None = None
    kind: AccountKind | None = None
    second_factor: str | None = None  # where the code arrives, in words


@dataclass(frozen=True)
class Vendor:
    """The MDM vendor certificate that signs requests; `key` None: somebody else signs (`--csr-only`).

    Attributes:
        certificate: PEM file of the vendor certificate.
        chain: PEM files above it, in order: Apple WWDR intermediate, Apple root.
        key: its private key.
    """

    certificate: Path
    chain: tuple[Path, ...]
    key: SecretRef | None = None


@dataclass(frozen=True)
class Topic:
    """One push certificate's topic, and everything a person must know of it.

    Attributes:
        id: short, ours; names renewals (`<id>-<n>`) and files.
        topic: the UID the portal shows.
        window: how long before its end the push certificate is due.
        zone: IANA name; instants of this topic are shown in it.
        labels: routing labels of metrics.
        vendor: its own, else the inventory's (`load` fills it in); None: neither.
    """

    id: str
    topic: str
    name: str
    account: Account
    owner: str | None = None
    deputy: str | None = None
    window: timedelta = DEFAULT_WINDOW
    zone: str = "UTC"
    language: Language | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    vendor: Vendor | None = None


@dataclass(frozen=True)
class Place:
    """Where a consumer on a node reads the pair: `certificate` and `key`, `pem`, or `pkcs12`. Absolute paths.

    Attributes:
        pem: one PEM file that holds both.
        pkcs12: one PKCS#12 file that holds both, under `password`.
        reload: program and arguments that tell this consumer; None: it notices by itself.
    """

    certificate: str | None = None
    key: str | None = None
    pem: str | None = None
    pkcs12: str | None = None
    password: SecretRef | None = None
    reload: tuple[str, ...] | None = None

    @property
    def files(self) -> Mapping[str, str]:
        """What the inventory calls each file -> its path; the one that names the place first."""
        named = {"certificate": self.certificate, "key": self.key, "pem": self.pem, "pkcs12": self.pkcs12}
        return {kind: path for kind, path in named.items() if path is not None}

    @property
    def path(self) -> str:
        """The file the certificate is in; it names the place."""
        return next(iter(self.files.values()), "-")


@dataclass(frozen=True)
class FileInstall:
    """A pair installed as files over SSH.

    Attributes:
        places: all that are switched together; beside each lies the node's journal.
        host: Ansible host; None means the node's own name.
        reload: program and arguments run on the node after all places' own; None: nothing more to tell.
        variables: further Ansible connection variables (`ansible_host`, `ansible_port`, `ansible_user`, …).
    """

    places: tuple[Place, ...]
    host: str | None = None
    reload: tuple[str, ...] | None = None
    variables: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def reloads(self) -> tuple[tuple[str, ...], ...]:
        """Every reload command once, in the order they run."""
        named = (*(place.reload for place in self.places), self.reload)
        return tuple(dict.fromkeys(command for command in named if command is not None))


@dataclass(frozen=True)
class Devices:
    """Where a node's devices (and, for NanoMDM, its stored certificates) can be read.

    Attributes:
        sql: database URL of a SELECT-only role, by reference, or a plain string without a password.
        folder: NanoMDM's own file storage (filekv), readable from here.
        series: of `sql`: how many devices, those silent for longest, are watched one by one; 0: none.
    """

    sql: SecretRef | str | None = None
    folder: Path | None = None
    series: int = 0


@dataclass(frozen=True)
class Node:
    """One MDM server process.

    Attributes:
        url: base URL of its API (`http://127.0.0.1:9000`), None for `files`.
        install: None means through the API.
        storage: nodes of one storage share what is installed; defaults to the node's own name.
        folder: of product `files`: a folder on this machine whose certificate files are watched, and no more.
        topics: ids of the topics it serves; empty means every topic of the inventory (of a folder: none).
        canary_enrollments: devices a person names for the first push.
    """

    name: str
    product: Product
    topics: tuple[str, ...]
    storage: str
    url: str | None = None
    install: FileInstall | None = None
    folder: Path | None = None
    user: str | None = None
    password: SecretRef | None = None
    devices: Devices | None = None
    canary_enrollments: tuple[str, ...] = ()
    ca_file: Path | None = None
    insecure_http: bool = False
    allow_api_credential: bool = False


@dataclass(frozen=True)
class Keys:
    """The key store: a folder, or the table `keys` of a PostgreSQL store (`folder` None).

    Attributes:
        recipients: age or SSH recipients every new key is encrypted to, the escrow's among them.
        identity: opens them; needed by every step but `open` and `request --csr-only`.
        shared: the folder is on storage all operators share (needed with a PostgreSQL store).
        escrow: those recipients whose identity is kept offline, for the day everything else is lost.
        destroy_after: how long a superseded key is kept; None: for ever.
    """

    recipients: tuple[str, ...]
    folder: Path | None = None
    identity: SecretRef | None = None
    shared: bool = False
    escrow: tuple[str, ...] = ()
    destroy_after: timedelta | None = None


@dataclass(frozen=True)
class Apns:
    """Apple's push service, or a stand-in."""

    url: str = "https://api.push.apple.com"
    ca_file: Path | None = None


class ExpiryKind(StrEnum):
    """What else expires; label values."""

    VENDOR_CERTIFICATE = "vendor_certificate"
    WWDR_INTERMEDIATE = "wwdr_intermediate"
    TLS_CERTIFICATE = "tls_certificate"  # of an MDM server
    SCEP_CA = "scep_ca"
    ADE_TOKEN = "ade_token"  # noqa: S105 - a kind, not a token
    VPP_TOKEN = "vpp_token"  # noqa: S105


@dataclass(frozen=True)
class Expiring:
    """One thing that expires, and where its date is read.

    Attributes:
        node: the node it belongs to, for people; "" none.
        file: on this machine.
        url: asked instead; of a TLS certificate: whom to greet.
        user: for HTTP Basic; "" with a password: that is sent as a Bearer token.
    """

    kind: ExpiryKind
    name: str
    node: str = ""
    file: Path | None = None
    url: str | None = None
    user: str = ""
    password: SecretRef | None = None
    ca_file: Path | None = None
    insecure_http: bool = False
    allow_api_credential: bool = False


@dataclass(frozen=True)
class Inventory:
    """The whole inventory.

    Attributes:
        path: the file (or folder) it was read from.
        digest: SHA-256 over the bytes read, hex; events record it.
        store: URL of the store, by reference or as a string without a password; "" for `none`.
        trust: PEM files of issuers we expect push certificates from; empty: Apple's names alone.
        expires: what else to watch, as far as the inventory names it for that alone.
    """

    path: Path
    digest: str
    store: SecretRef | str
    keys: Keys
    topics: tuple[Topic, ...]
    nodes: tuple[Node, ...]
    apns: Apns = Apns()
    vendor: Vendor | None = None
    trust: tuple[Path, ...] = ()
    expires: tuple[Expiring, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder relative paths of the inventory are meant from."""
        return (self.path if self.path.is_dir() else self.path.parent).absolute()

    def nodes_of(self, topic_id: str) -> tuple[Node, ...]:
        """The nodes that serve a topic, in the inventory's order."""
        return tuple(node for node in self.nodes if topic_id in node.topics)
