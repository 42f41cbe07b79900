# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A place where a consumer reads the pair: two files, one PEM, or one PKCS#12. Standard library alone.

Beside its first file, `/etc/mdm/push.pem` say::

    .renewctl/push.pem/          0755
      current -> releases/<name> swapped by ONE rename
      releases/<name>/           0755, named by its content
        cert.pem                 the certificate alone
        key.pem                  where the place is two files
        pair.pem or pair.p12     where it is one

The configured paths are converted once: the pair found there becomes a release, then each path becomes a
link through `current`. The content is the same before, between and after: nothing a consumer reads is mixed.
"""

from __future__ import annotations

import os
import re
import stat

from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk as disk
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.releases import (
    CERTIFICATE,
    KEY,
    P12,
    PEM,
    Releases,
    release_name,
    together,
)

#: What an inventory calls a file -> its name in a release.
_LEAVES = {"certificate": CERTIFICATE, "key": KEY, "pem": PEM, "pkcs12": P12}
_LAYOUTS = ([CERTIFICATE, KEY], [PEM], [P12])

#: What the system says of a file that is not for us.
_DENIED = ("EACCES", "EPERM")

#: How every PKCS#12 file begins: as an ASN.1 SEQUENCE.
_SEQUENCE = b"\x30"

_EVERYBODY = stat.S_IRWXO
_READ_WRITE = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP


#: Where links of ours lead.
_OURS = re.compile(r"(?:\A|/)\.renewctl/[^/]+/current/(?:cert\.pem|key\.pem|pair\.pem|pair\.p12)\Z")

#: Links the kernel follows before it says that they go round in a circle (Linux: MAXSYMLINKS).
_MOST_LINKS = 40


def home_of(path):
    """Where a place's releases lie."""
    return os.path.join(os.path.dirname(path), ".renewctl", os.path.basename(path))


def is_ours(path):
    """A link as `Place.link` makes it, also one of a place that had another name before."""
    return os.path.islink(path) and _OURS.search(os.readlink(path)) is not None


def without_links(path):
    """The path a file has without links, but for those of ours and after too many of them."""
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(path)
        path = os.path.join(os.path.realpath(folder), name)
        if not os.path.islink(path) or is_ours(path):
            break
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return path


class Place:
    """One place.

    Attributes:
        files: name in a release -> the path a consumer reads.
        path: the first of them; it names the place.
    """

    def __init__(self, named):
        self.files = {leaf: named[kind] for kind, leaf in _LEAVES.items() if named.get(kind)}
        paths = list(self.files.values())
        proper = all(os.path.isabs(path) and os.path.normpath(path) == path for path in paths)
        if list(self.files) not in _LAYOUTS or not proper or len(set(paths)) < len(paths):
            raise Fault("node_layout_unsupported", path=", ".join(paths) or "-")
        self.path = paths[0]
        self.releases = Releases(home_of(self.path))

    # What is there

    def found(self):
        """Name in a release -> what a consumer reads; None where there is nothing, or nothing in it."""
        found = self._read()
        if not any(found.values()):
            return None
        missing = [self.files[leaf] for leaf, data in found.items() if data is None]
        if missing:
            raise Fault("node_file_missing", path=missing[0])
        return found

    def _read(self):
        return {leaf: disk.read(path) for leaf, path in self.files.items()}

    def look(self):
        """What a consumer reads: whether anything, the certificate alone, and whether its key is with it.

        A PKCS#12 file is encrypted: known is only what a release of ours holds. Whatever else lies there, a
        key perhaps, is not told; but whether a pair that is sent would be refused for it.
        """
        content = disk.read(self.path)
        if P12 in self.files:
            name = self.releases.active()
            pem = self.releases.read(name).get(CERTIFICATE) if self.reads(name) else None
            belongs = None if pem is None else True
        else:
            pem = disk.certificate_block(content or b"")
            # No lock is held: between its two files a step may have switched, but not twice.
            belongs = None if content is None else self._together() or self._together()
        return {
            "path": self.path,
            "there": content is not None,
            "certificate": None if pem is None else pem.decode("ascii"),
            "together": belongs,
            "refused": self._is_refused(),
        }

    def _together(self):
        try:
            return together(self._read())
        except Fault as fault:
            # Not for the account we work as, but perhaps for its consumer.
            return None if fault.values["got"] in _DENIED else False

    def _is_refused(self):
        try:
            self._kept(self.releases.active())
        except Fault:
            return True
        return False

    def bundle(self):
        """The PKCS#12 file a consumer reads, encrypted as it is; None where there is none, or another layout.

        Raises:
            Fault: `node_file_not_pkcs12`: a key in clear, say, which must not leave the node.
        """
        content = disk.read(self.path) if P12 in self.files else None
        if content is not None and not content.startswith(_SEQUENCE):
            raise Fault("node_file_not_pkcs12", path=self.path)
        return content

    def reads(self, name):
        """The consumer reads this release, whole, through our links."""
        content = self.releases.read(name)
        if content is None or self.releases.active() != name:
            return False
        found = self._read()
        return all(self._is_ours(leaf) and found[leaf] == content[leaf] for leaf in self.files)

    def holds(self, pem, key_digest):
        """The consumer reads this very pair, from a release of ours."""
        name = self.releases.active()
        if not self.reads(name):
            return False
        content = self.releases.read(name)
        key = content.get(KEY) or disk.key_block(content.get(PEM, b""))
        return content.get(CERTIFICATE) == pem and (P12 in content or disk.digest(key or b"") == key_digest)

    def require_direct(self):
        """No path of it is somebody else's link: who reads where that leads would keep the old pair.

        Raises:
            Fault: `node_file_linked`, with the path to name instead. Nothing was changed.
        """
        for path in self.files.values():
            if os.path.islink(path) and not is_ours(path):
                raise Fault(
                    "node_file_linked", path=path, got=os.readlink(path), expected=without_links(path)
                )

    # Steps

    def convert(self):
        """What is found becomes a release, and its paths links; its name, None where there is none."""
        active = self.releases.active()
        if self.reads(active):
            return active
        content = self._kept(active)
        if content is None:
            return None
        name = release_name(content)
        self.releases.build(content, self._looks(content))
        if name != active:
            self.releases.point(name)
        self.link()
        return name

    def _kept(self, active):
        """What is found, as a release holds it; None: nothing, or what is left of a pair of ours and is none.

        Raises:
            Fault: it is not known to be a pair, and no ruin of ours either, so nobody may write over it.
        """
        ours = [leaf for leaf in self.files if self._is_ours(leaf)]
        others = any(os.path.lexists(path) for leaf, path in self.files.items() if leaf not in ours)
        # A key somebody put there by its name is never written over: it may be the only one.
        if ours and self._together() is False and (not others or (KEY in ours and self._is_half())):
            return None
        found = self.found()
        if found is None:
            return None
        content = self._known(found)
        name = release_name(content)
        # What is a pair is one to start from; what is none is what was there, and nobody's way back.
        if ours and others and name != active and together(content) is None:
            raise Fault("node_files_changed", path=self.path, got=name, expected=active)
        return content

    def _is_half(self):
        """A file is gone, or there is no certificate: no release can be made of it."""
        found = self._read()
        certificate = found.get(PEM, found.get(CERTIFICATE))
        return None in found.values() or disk.certificate_fingerprint(certificate) is None

    def build(self, pem, key, pkcs12):
        """A release of a new pair, laid out as this place is; its name."""
        if PEM in self.files:
            parts = [pem, key]
            before = disk.read(self.path) or b""
            if 0 <= before.find(b"PRIVATE KEY-----") < before.find(b"-----BEGIN CERTIFICATE"):
                parts.reverse()  # whoever reads the first block goes on finding what it found
            content = {CERTIFICATE: pem, PEM: b"".join(part.rstrip() + b"\n" for part in parts)}
        elif P12 in self.files:
            content = {CERTIFICATE: pem, P12: pkcs12}
        else:
            content = {CERTIFICATE: pem, KEY: key}
        return self.releases.build(content, self._looks(content))

    def link(self):
        """Let the configured paths lead through `current`."""
        # The key first: a consumer that wakes up at a new certificate then finds its key.
        for leaf in sorted(self.files, reverse=True):
            if not self._is_ours(leaf):
                disk.point(self.files[leaf], self._target(leaf))

    def _target(self, leaf):
        """Where a path leads: relative where it can be, for consumers that see the folder elsewhere."""
        target = os.path.join(self.releases.current, leaf)
        folder = os.path.dirname(self.path)
        return os.path.relpath(target, folder) if os.path.dirname(self.files[leaf]) == folder else target

    def _is_ours(self, leaf):
        path = self.files[leaf]
        return os.path.islink(path) and os.readlink(path) == self._target(leaf)

    def _known(self, found):
        """What was found, with its certificate alone beside it where that can be seen."""
        if P12 in found:
            self.bundle()
            return found
        pem = found[PEM] if PEM in found else found[CERTIFICATE]
        if disk.certificate_fingerprint(pem) is None:
            raise Fault("node_file_not_certificate", path=self.path)
        return found if CERTIFICATE in found else {CERTIFICATE: disk.certificate_block(pem), **found}

    def _looks(self, content):
        """How each file of a release looks: as the file it replaces, but a key is nothing for everybody."""
        looks = {leaf: self._look(leaf, self.files[leaf]) for leaf in self.files}
        if CERTIFICATE in content and CERTIFICATE not in looks:
            beside = next(iter(looks.values()))
            looks[CERTIFICATE] = disk.Look(0o644, beside.owner, beside.label)  # public: no ACL is needed
        return looks

    def _look(self, leaf, path):
        old = disk.look_of(path)
        usual = 0o644 if leaf == CERTIFICATE else 0o600
        if old is None:
            about = disk.look_of(os.path.dirname(path))
            return disk.Look(usual, about.owner if os.geteuid() == 0 else None)
        # World-readable by mistake once must not live on; nobody means execute, or a mode without the owner.
        acl = old.acl if leaf == CERTIFICATE else disk.closed_to_others(old.acl)
        lax = leaf != CERTIFICATE and old.mode & _EVERYBODY and acl is None
        kept = _READ_WRITE | (stat.S_IROTH if leaf == CERTIFICATE else 0)
        mode = usual if lax else old.mode & kept | stat.S_IRUSR
        return disk.Look(mode, old.owner, old.label, acl)
