# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pair as two files on a node, which can never be mixed. Standard library alone.

Beside the certificate::

    .renewctl/                  0755
      lock                      one step at a time
      state.json                0600  {v, run, token, phase, active, previous}
      current -> releases/<fp>  swapped by ONE rename
      releases/<fp>/            0755  cert.pem 0644, key.pem 0600 (0640 where the old key was group-readable)
      staged-<token>/key.pem    what the controller sent, until it becomes a release

The configured paths are converted once: the pair found there becomes a release, then each path becomes a
link to `current/…`. The content is the same before, between and after, so nothing a consumer reads is mixed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import stat
import subprocess

from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk as disk
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault

#: Version of state.json; a newer one is refused, never guessed at.
STATE_VERSION = 1

#: A reload that takes longer than this counts as failed, seconds.
RELOAD_SECONDS = 30.0

_FIELDS = ("run", "token", "phase", "active", "previous")


def write_fault(error, path):
    """A full or read-only disk, a missing right: what the operating system said, by its short name."""
    return Fault(
        "node_write_failed", path=error.filename or path, got=errno.errorcode.get(error.errno, "OSError")
    )


class PairFiles:
    """The two files of one node, and what this product keeps beside them."""

    def __init__(self, certificate, key, reload=None):
        if not (os.path.isabs(certificate) and os.path.isabs(key)) or certificate == key:
            raise Fault("node_layout_unsupported", path=certificate, got=key)
        self.certificate = certificate
        self.key = key
        self.reload = reload
        self.home = os.path.join(os.path.dirname(certificate), ".renewctl")
        self.current = os.path.join(self.home, "current")

    # What is there

    def look(self):
        """What a consumer reads now, and what the last step left behind. Changes nothing, takes no lock."""
        pem = disk.read(self.certificate)
        key = disk.read(self.key)
        known = self._state()
        return {
            "certificate": None if pem is None else pem.decode("ascii", "replace"),
            "key_digest": None if key is None else disk.digest(key),
            **{name: known[name] for name in _FIELDS if name != "token"},
        }

    def carries(self, run, token):
        """The node carries exactly this run."""
        known = self._state()
        return known["run"] == run and known["token"] == token and run > 0

    # What may be done; each under the lock

    def fence(self, run, token):
        """Take a higher run; undo what an interrupted one left uncommitted. True: something was undone."""
        if not os.path.isdir(os.path.dirname(self.certificate)):
            raise Fault("node_file_missing", path=os.path.dirname(self.certificate))
        disk.make_folder(self.home, 0o755)
        disk.make_folder(os.path.join(self.home, "releases"), 0o755)
        with self._lock():
            known = self._state()
            if known["run"] > run or (known["run"] == run and known["token"] != token):
                raise Fault("run_superseded", got=run, expected=known["run"])
            undone = known["phase"] == "switching" and known["previous"] is not None
            self._save(known, run=run, token=token)
            self._drop_staged(keep=token)
            if undone:
                self._go_back(known)
            return undone

    def switch(self, run, token, certificate_pem, key_digest):
        """Make the staged pair the one consumers read, reload, read back, commit; on failure go back.

        True: changed. False: it was this pair already, committed.
        """
        pem = certificate_pem.encode("ascii")
        name = disk.certificate_fingerprint(pem)
        with self._lock():
            known = self._own(run, token)
            if known["phase"] != "switching" and self._reads(pem, key_digest):
                return False
            previous = self._convert(known)
            self._release(name, pem, self._staged(token, key_digest), self._old_owner())
            try:
                self._activate(known, name, previous if previous != name else known["previous"])
                self._run_reload()
                self._require_reads(pem, key_digest)
            except (Fault, OSError) as problem:
                fault = problem if isinstance(problem, Fault) else write_fault(problem, self.home)
                fault.values["put_back"] = self._undo(known)
                raise fault from None
            self._save(known, phase="committed")
            self._drop_staged()
            return True

    def revert(self, run, token, fingerprint):
        """Back to the release before this one. None: it is not here, send it. False: nothing to do."""
        with self._lock():
            known = self._own(run, token)
            if known["phase"] != "switching" and self._active() == fingerprint:
                return False
            if not os.path.isfile(os.path.join(self._folder(fingerprint), "key.pem")):
                return None
            known["previous"] = fingerprint
            self._go_back(known)
            return True

    # Steps

    def _lock(self):
        return disk.locked(os.path.join(self.home, "lock"))

    def _own(self, run, token):
        known = self._state()
        if known["run"] != run or known["token"] != token:
            raise Fault(
                "run_superseded" if known["run"] > run else "run_not_fenced", got=run, expected=known["run"]
            )
        return known

    def _activate(self, known, name, previous):
        self._save(known, phase="switching", active=name, previous=previous)
        self._touch_apart(name)
        disk.point(self.current, os.path.join("releases", name))
        self._link_configured()

    def _go_back(self, known):
        previous, undone = known["previous"], known["active"]
        self._activate(known, previous, previous)
        self._run_reload()
        self._save(known, phase="committed", active=previous, previous=undone)

    def _undo(self, known):
        """After a failed switch. False where even that did not work: the next fence tries again."""
        if known["previous"] is None:
            return False
        try:
            self._go_back(known)
        except (Fault, OSError):
            return False
        return True

    def _convert(self, known):
        """The pair found at the configured paths becomes a release; its name, None where there is none."""
        pem, key = disk.read(self.certificate), disk.read(self.key)
        if pem is None and key is None:
            return None
        if pem is None or key is None:
            raise Fault("node_file_missing", path=self.certificate if pem is None else self.key)
        ours = [self._is_ours(self.certificate), self._is_ours(self.key)]
        if all(ours):
            return self._active()
        name = disk.certificate_fingerprint(pem)
        if name is None:
            raise Fault("node_file_not_certificate", path=self.certificate)
        if any(ours) and not self._same_as_release(self._active(), pem, key):
            raise Fault("node_files_changed", path=self.certificate, got=name, expected=self._active())
        self._release(name, pem, key, self._old_owner())
        disk.point(self.current, os.path.join("releases", name))
        self._link_configured()
        known["active"] = name
        return name

    def _link_configured(self):
        # The key first: a consumer that wakes up at a new certificate then finds its key.
        for path, leaf in ((self.key, "key.pem"), (self.certificate, "cert.pem")):
            if not self._is_ours(path):
                disk.point(path, os.path.join(self.current, leaf))

    def _is_ours(self, path):
        return os.path.islink(path) and os.path.dirname(os.readlink(path)) == self.current

    def _active(self):
        try:
            return os.path.basename(os.readlink(self.current))
        except OSError:
            return None

    def _folder(self, name):
        return os.path.join(self.home, "releases", name)

    def _same_as_release(self, name, pem, key):
        folder = self._folder(name)
        return (
            disk.read(os.path.join(folder, "cert.pem")) == pem
            and disk.read(os.path.join(folder, "key.pem")) == key
        )

    def _release(self, name, pem, key, owner):
        folder = self._folder(name)
        disk.make_folder(folder, 0o755)
        if not self._same_as_release(name, pem, key):
            disk.write(os.path.join(folder, "key.pem"), key, self._key_mode(), owner["key"])
            disk.write(os.path.join(folder, "cert.pem"), pem, 0o644, owner["certificate"])

    def _touch_apart(self, name):
        """A certificate of another time than the last: NanoMDM's `file` storage notices by time alone."""
        path = os.path.join(self._folder(name), "cert.pem")
        with contextlib.suppress(FileNotFoundError):
            before = int(os.stat(self.certificate).st_mtime)
            if self._active() != name and int(os.stat(path).st_mtime) == before:
                os.utime(path, (before + 1, before + 1))

    def _old_owner(self):
        found = {}
        for name, path in (("key", self.key), ("certificate", self.certificate)):
            try:
                about = os.stat(path)
            except FileNotFoundError:
                about = os.stat(os.path.dirname(self.certificate))
            found[name] = (about.st_uid, about.st_gid)
        return found

    def _key_mode(self):
        """0600; 0640 where a group was let in on purpose, and not everybody."""
        try:
            old = os.stat(self.key).st_mode
        except FileNotFoundError:
            return 0o600
        return 0o640 if old & stat.S_IRGRP and not old & stat.S_IROTH else 0o600

    def _reads(self, pem, key_digest):
        key = disk.read(self.key)
        return disk.read(self.certificate) == pem and key is not None and disk.digest(key) == key_digest

    def _require_reads(self, pem, key_digest):
        if not self._reads(pem, key_digest):
            raise Fault("node_read_back_differs", path=self.certificate)

    def _staged(self, token, key_digest):
        key = disk.read(os.path.join(self.home, "staged-" + token, "key.pem"))
        if key is None or disk.digest(key) != key_digest:
            raise Fault("staged_key_differs", path=self.home)
        return key

    def _drop_staged(self, keep=None):
        for entry in os.listdir(self.home):
            if entry.startswith("staged-") and entry != "staged-%s" % keep:
                shutil.rmtree(os.path.join(self.home, entry), ignore_errors=True)

    def _run_reload(self):
        """Run the reload command, without a shell, in a group of its own that ends with the time limit."""
        if not self.reload:
            return
        program = self.reload[0]
        try:
            child = subprocess.Popen(
                self.reload,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Fault("reload_failed", program=program, got=type(error).__name__) from None
        try:
            code = child.wait(RELOAD_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise Fault("reload_failed", program=program, got="%d s" % RELOAD_SECONDS) from None
        if code != 0:
            raise Fault("reload_failed", program=program, got="exit %d" % code)

    # The journal

    def _state(self):
        path = os.path.join(self.home, "state.json")
        raw = disk.read(path)
        if raw is None:
            return {
                "v": STATE_VERSION,
                "run": 0,
                "token": "",
                "phase": "idle",
                "active": None,
                "previous": None,
            }
        try:
            known = json.loads(raw)
            version = known["v"]
            if version == STATE_VERSION:
                return {name: known[name] for name in ("v", *_FIELDS)}
        except (ValueError, KeyError, TypeError):
            raise Fault("node_state_damaged", path=path) from None
        raise Fault("node_state_newer", path=path, got=version, expected=STATE_VERSION)

    def _save(self, known, **changes):
        known.update(changes)
        disk.write(os.path.join(self.home, "state.json"), json.dumps(known, sort_keys=True).encode(), 0o600)
