# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pairs of one place, each in a folder of its own, one of them current. Standard library alone.

A release is named by its content, so it can be checked before it is used: it is whole, or it is not there.
Whole says that it is what was found or sent, not that this was a pair: see `together`.
"""

from __future__ import annotations

import contextlib
import json
import os

from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk as disk
from ansible_collections.renewctl.mdm.plugins.module_utils import node_folder, pair_match

#: The certificate alone, public, in every release whose certificate is known.
CERTIFICATE = "cert.pem"

#: What else a release holds: the key alone, or the pair as one file.
KEY, PEM, P12 = "key.pem", "pair.pem", "pair.p12"

#: A release that is being made; and what the name of one ends with while another takes its place.
_BESIDE, _ASIDE = ".new", ".old"


def release_name(content):
    """Name of a release: SHA-256 over its files' names and contents, hex."""
    listed = {leaf: disk.digest(data) for leaf, data in content.items()}
    return disk.digest(json.dumps(listed, sort_keys=True).encode())


def together(content):
    """Whether the key in these files belongs to their certificate; None: not known, as of every PKCS#12 file.

    Args:
        content: file name in a release -> bytes, or None where there is no such file.
    """
    if P12 in content:
        return None
    certificate, key = (content.get(PEM, content.get(leaf)) for leaf in (CERTIFICATE, KEY))
    return pair_match.belongs(certificate or b"", key or b"")


class Releases:
    """A folder with `releases/<name>/` and the link `current`, which alone decides what is read."""

    def __init__(self, home):
        self.home = home
        self.current = os.path.join(home, "current")
        self._folder = os.path.join(home, "releases")

    def make(self):
        """The folders, 0755.

        Raises:
            Fault: something else lies in the place of one of them (`node_disk.held`).
        """
        top, name = os.path.split(self.home)
        node_folder.make(top)
        with disk.held(top) as at:
            node_folder.make(self.home, at)
        with disk.held(top, name) as at:
            node_folder.make(self._folder, at)

    def held(self, *below):
        """The folder of this place, or one below it, open; raises as `node_disk.held`."""
        top, name = os.path.split(self.home)
        return disk.held(top, name, *below)

    def active(self):
        """Name of the current release, or None."""
        try:
            with self.held() as at:
                return os.path.basename(os.readlink("current", dir_fd=at))
        except OSError:
            return None

    def folder_of(self, name):
        """Where a release lies."""
        return os.path.join(self._folder, name)

    def read(self, name):
        """File name -> content of a release; None where it is not there, or not as it was written."""
        folder = self.folder_of(name or _BESIDE)
        try:
            with self.held("releases", os.path.basename(folder)) as at:
                content = {leaf: disk.read(os.path.join(folder, leaf), at) for leaf in sorted(os.listdir(at))}
        except (OSError, disk.Fault):
            return None
        return content if release_name(content) == name else None

    def find(self, fingerprint, first):
        """A whole release of this certificate and its key, `first` if that is one; None: there is none."""
        for name in [first, *self._names()]:
            content = self.read(name) or {}
            is_it = disk.certificate_fingerprint(content.get(CERTIFICATE, b"")) == fingerprint
            if is_it and together(content) is not False:
                return name
        return None

    def build(self, content, looks):
        """The release of this content; one that is there only gets the looks. Its name.

        Args:
            looks: file name -> `node_disk.Look`.
        """
        name = release_name(content)
        if self.read(name) is not None:
            with self.held("releases", name) as at, disk.telling(self.folder_of(name)):
                for leaf in content:
                    _dress(leaf, looks[leaf], at)
            return name
        with self.held("releases") as at, disk.telling(self.folder_of(name)):
            disk.remove_folder(_BESIDE, at)
            os.mkdir(_BESIDE, 0o700, dir_fd=at)
            with disk.held(self.folder_of(_BESIDE), at=at) as beside:
                for leaf, data in content.items():
                    disk.create(os.path.join(self.folder_of(_BESIDE), leaf), data, looks[leaf], beside)
                disk.open_up(beside)
                os.fsync(beside)
            disk.remove_folder(name + _ASIDE, at)
            with contextlib.suppress(FileNotFoundError):  # of that name, but not of that content
                os.rename(name, name + _ASIDE, src_dir_fd=at, dst_dir_fd=at)
            os.rename(_BESIDE, name, src_dir_fd=at, dst_dir_fd=at)
            os.fsync(at)
            disk.remove_folder(name + _ASIDE, at)
        return name

    def recover(self):
        """Give consumers back what `build` was killed at replacing, whatever it is: between two renames."""
        active = self.active()
        if active is None or os.path.lexists(self.folder_of(active)):
            return
        with contextlib.suppress(FileNotFoundError), self.held("releases") as at:
            os.rename(active + _ASIDE, active, src_dir_fd=at, dst_dir_fd=at)
            os.fsync(at)

    def point(self, name):
        """Make a release the current one, by one rename."""
        self._touch_apart(name)
        with self.held() as at:
            disk.point(self.current, os.path.join("releases", name), at)

    def prune(self, keep):
        """Remove all releases but the current one and those named; a half-removed one is never used."""
        active = self.active()
        with contextlib.suppress(FileNotFoundError), self.held("releases") as at:
            for name in sorted(os.listdir(at)):
                if name not in keep and name != active:
                    disk.remove_folder(name, at)

    def _names(self):
        try:
            with self.held("releases") as at:
                return sorted(os.listdir(at))
        except FileNotFoundError:
            return []

    def _touch_apart(self, name):
        """A certificate of another time than the last: NanoMDM's `file` storage notices by time alone."""
        before, own = self._time_of(self.active()), self._time_of(name)
        if before is not None and own == before and self.active() != name:
            with self.held("releases", name) as at:
                os.utime(CERTIFICATE, (before + 1, before + 1), dir_fd=at)

    def _time_of(self, name):
        """When the certificate of a release was written, whole seconds; None where there is none."""
        if name is None:
            return None
        try:
            with self.held("releases", name) as at:
                return int(os.stat(CERTIFICATE, dir_fd=at, follow_symlinks=False).st_mtime)
        except FileNotFoundError:
            return None


def _dress(name, look, at):
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at)
    try:
        disk.dress(descriptor, look)
    finally:
        os.close(descriptor)
