# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pairs of one place, each in a folder of its own, one of them current. Standard library alone.

A release is named by its content, so it can be checked before it is used: it is whole, or it is not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil

from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk as disk

#: The certificate alone, public, in every release whose certificate is known.
CERTIFICATE = "cert.pem"

_BESIDE = ".new"


def release_name(content):
    """Name of a release: SHA-256 over its files' names and contents, hex."""
    listed = {leaf: disk.digest(data) for leaf, data in content.items()}
    return disk.digest(json.dumps(listed, sort_keys=True).encode())


class Releases:
    """A folder with `releases/<name>/` and the link `current`, which alone decides what is read."""

    def __init__(self, home):
        self.home = home
        self.current = os.path.join(home, "current")
        self._folder = os.path.join(home, "releases")

    def make(self):
        """The folders, 0755."""
        for folder in (os.path.dirname(self.home), self.home, self._folder):
            disk.make_folder(folder)

    def active(self):
        """Name of the current release, or None."""
        try:
            return os.path.basename(os.readlink(self.current))
        except OSError:
            return None

    def folder_of(self, name):
        """Where a release lies."""
        return os.path.join(self._folder, name)

    def read(self, name):
        """File name -> content of a release; None where it is not there, or not as it was written."""
        folder = self.folder_of(name or _BESIDE)
        try:
            content = {leaf: disk.read(os.path.join(folder, leaf)) for leaf in sorted(os.listdir(folder))}
        except (OSError, disk.Fault):
            return None
        return content if release_name(content) == name else None

    def find(self, fingerprint, first):
        """A whole release of this certificate, `first` if that is one; None where there is none."""
        for name in [first, *self._names()]:
            content = self.read(name) or {}
            if disk.certificate_fingerprint(content.get(CERTIFICATE, b"")) == fingerprint:
                return name
        return None

    def build(self, content, looks):
        """The release of this content; one that is there only gets the looks. Its name.

        Args:
            looks: file name -> `node_disk.Look`.
        """
        name = release_name(content)
        folder = self.folder_of(name)
        if self.read(name) is not None:
            for leaf in content:
                self._dress(os.path.join(folder, leaf), looks[leaf])
            return name
        beside = os.path.join(self._folder, _BESIDE)
        _remove(beside)
        os.mkdir(beside, 0o700)
        for leaf, data in content.items():
            disk.create(os.path.join(beside, leaf), data, looks[leaf])
        os.chmod(beside, disk.FOLDER)
        disk.sync_folder(beside)
        _remove(folder)  # of that name, but not of that content
        os.rename(beside, folder)
        disk.sync_folder(self._folder)
        return name

    def point(self, name):
        """Make a release the current one, by one rename."""
        self._touch_apart(name)
        disk.point(self.current, os.path.join("releases", name))

    def prune(self, keep):
        """Remove all releases but the current one and those named; a half-removed one is never used."""
        for name in self._names():
            if name not in keep and name != self.active():
                _remove(os.path.join(self._folder, name))

    def _names(self):
        try:
            return sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []

    def _touch_apart(self, name):
        """A certificate of another time than the last: NanoMDM's `file` storage notices by time alone."""
        with contextlib.suppress(FileNotFoundError):
            before = int(os.stat(os.path.join(self.current, CERTIFICATE)).st_mtime)
            path = os.path.join(self._folder, name, CERTIFICATE)
            if self.active() != name and int(os.stat(path).st_mtime) == before:
                os.utime(path, (before + 1, before + 1))

    def _dress(self, path, look):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            disk.dress(descriptor, look)
        finally:
            os.close(descriptor)


def _remove(folder):
    if os.path.isdir(folder):
        shutil.rmtree(folder, ignore_errors=True)
