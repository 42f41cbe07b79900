# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pair in all places of one node: one transaction, undone when interrupted. Standard library alone.

Each place is switched by one rename. Between the first and the last of them the journal (see pair_journal)
says `switching`: whoever comes next puts every place back.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os

from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk as disk
from ansible_collections.renewctl.mdm.plugins.module_utils import node_reload
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_journal import COMMITTED, SWITCHING, Journal
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_place import Place, home_of
from ansible_collections.renewctl.mdm.plugins.module_utils.releases import CERTIFICATE, Releases
from ansible_collections.renewctl.mdm.plugins.module_utils.veil import veiled

#: What a step takes beside its reloads, seconds.
STEP_SECONDS = 15.0

#: What is known of a place no step has switched yet.
_NOTHING = {"active": None, "previous": None}


class _Damaged(Fault):
    """A place cannot go back: its release is not as it was written."""


def write_fault(error, path):
    """A full or read-only disk, a missing right: what the operating system said, by its short name."""
    return Fault(
        "node_write_failed", path=error.filename or path, got=errno.errorcode.get(error.errno, "OSError")
    )


class PairFiles:
    """The places of one node, and what this product keeps beside them.

    Args:
        places: one mapping each: certificate and key, or pem, or pkcs12; absolute paths.
        reloads: programs with their arguments, run one after the other once every place is switched.
    """

    def __init__(self, places, reloads=()):
        self.places = [Place(named) for named in places]
        paths = [path for place in self.places for path in place.files.values()]
        if not paths or len(set(paths)) < len(paths):
            raise Fault("node_layout_unsupported", path=", ".join(paths) or "-")
        self.reloads = reloads
        self._journal = Journal(place.path for place in self.places)

    # What is there

    def look(self):
        """What consumers read now, and what the last step left behind. Changes nothing, takes no lock."""
        known = self._state()
        return {
            "found": [place.look() for place in self.places],
            **{name: known[name] for name in ("run", "phase", "places")},
        }

    def carries(self, run, token):
        """The node carries exactly this run."""
        known = self._state()
        return known["run"] == run and known["token"] == token and run > 0

    def bundles(self, secret):
        """Of each place the PKCS#12 file found there, veiled and in base64; None where there is none."""
        found = [(place.path, place.bundle()) for place in self.places]
        return [
            None if data is None else base64.b64encode(veiled(data, secret, path)).decode("ascii")
            for path, data in found
        ]

    # What may be done; each under the lock

    def fence(self, run, token):
        """Take a higher run; undo what an interrupted one left uncommitted.

        True: something was undone; where the places then hold different pairs and had not before, the journal
        still says `switching`. False: there was nothing to undo. A path: the release there is damaged. Either
        way the step stays cut off until the next one sends a pair: the roll-out's, or the way back's.
        """
        for path in {path for place in self.places for path in place.files.values()}:
            if not os.path.isdir(os.path.dirname(path)):
                raise Fault("node_file_missing", path=os.path.dirname(path))
        self._require_direct()
        for place in self.places:
            place.releases.make()
        with self._lock():
            known = self._state()
            if known["run"] > run or (known["run"] == run and known["token"] != token):
                raise Fault("run_superseded", got=run, expected=known["run"])
            undone = known["phase"] == SWITCHING and any(
                one["previous"] is not None for one in known["places"].values()
            )
            if known["phase"] != SWITCHING:
                # Each of ours tells of all of ours; what is no place of ours any more may be another node's.
                known["places"] = {
                    place.path: known["places"].get(place.path, dict(_NOTHING)) for place in self.places
                }
            self._save(known, run=run, token=token)
            for place in self.places:
                place.releases.recover()
            if undone:
                try:
                    self._go_back(known)
                except _Damaged as fault:
                    return fault.values["path"]
            elif known["phase"] == COMMITTED:
                self._prune(known)  # what a killed step could not
            return undone

    def switch(self, run, token, pem, files):
        """Make this pair the one consumers read, reload, read back, commit; on failure go back.

        Args:
            pem: the certificate.
            files: name -> bytes: `key.pem`, and `0.p12` where the first place is PKCS#12, ready made.

        True: changed. False: it was this pair already, committed.
        """
        with self._lock():
            known = self._own(run, token)
            self._require_direct()
            held = all(place.holds(pem, disk.digest(files["key.pem"])) for place in self.places)
            if held and known["phase"] != SWITCHING:
                return False
            before = {place.path: place.convert() for place in self.places}
            after = {
                place.path: place.build(pem, files["key.pem"], files.get("%d.p12" % index))
                for index, place in enumerate(self.places)
            }
            # Where what was found is no pair (`Place.convert`), an older one is: not what was there.
            same = known["phase"] == SWITCHING or None not in before.values()
            self._announce(known, before, after)  # what cannot be written down is not begun
            try:
                self._activate(after)
            except (Fault, OSError) as problem:
                fault = problem if isinstance(problem, Fault) else write_fault(problem, self.places[0].path)
                fault.values["put_back"] = self._undo(known) and same
                raise fault from None
            self._commit(known, known["places"])
            return True

    def revert(self, run, token, fingerprint):
        """Back to the pair of this certificate. None: a place has it not, send it. False: nothing to do."""
        with self._lock():
            known = self._own(run, token)
            self._require_direct()
            wanted = {place.path: self._kept(known, place, fingerprint) for place in self.places}
            if None in wanted.values():
                return None
            there = all(place.reads(wanted[place.path]) for place in self.places)
            if there and known["phase"] != SWITCHING:
                return False
            places = {}
            for place in self.places:
                names = (place.convert(), *known["places"].get(place.path, {}).values())
                to = wanted[place.path]
                places[place.path] = {"active": _first_other(names, to), "previous": to}
            self._save(known, phase=SWITCHING, places=places)
            self._go_back(known)
            return True

    # Steps

    @contextlib.contextmanager
    def _lock(self):
        # Whoever holds it may be reloading, and reloading again after it went back.
        seconds = STEP_SECONDS + 2 * node_reload.RELOAD_SECONDS * len(self.reloads)
        with self._journal.locked(seconds):
            yield

    def _require_direct(self):
        for place in self.places:
            place.require_direct()

    def _own(self, run, token):
        known = self._state()
        if known["run"] != run or known["token"] != token:
            raise Fault(
                "run_superseded" if known["run"] > run else "run_not_fenced", got=run, expected=known["run"]
            )
        return known

    def _kept(self, known, place, fingerprint):
        previous = known["places"].get(place.path, {}).get("previous")
        first = previous if known["phase"] == SWITCHING else place.releases.active()
        return place.releases.find(fingerprint, first)

    def _announce(self, known, before, after):
        cut_off, places = known["phase"] == SWITCHING, {}
        same = known["same"] or not cut_off
        for path, name in after.items():
            old = known["places"].get(path, {}).get("previous")
            names = (old, before[path]) if cut_off else (before[path], old)
            whole = [one for one in names if Releases(home_of(path)).read(one) is not None]
            places[path] = {"active": name, "previous": _first_other(whole, name)}
            same = same and names[0] is not None and places[path]["previous"] == names[0]
        self._save(known, phase=SWITCHING, places=places, same=same)

    def _activate(self, after):
        for place in self.places:
            place.releases.point(after[place.path])
            place.link()
        for command in self.reloads:
            node_reload.run_reload(command)
        self._require_read(after)

    def _go_back(self, known):
        """Every place that had a pair before gets it again; also one the inventory names no more.

        Where one did not get what it had, and they hold different pairs now, the step stays cut off.

        Raises:
            _Damaged: one could not. The others have theirs; none was reloaded, which the next step does.
        """
        back = {
            path: one["previous"]
            for path, one in known["places"].items()
            if one["previous"] is not None and self._is_there(path)
        }
        releases = {path: Releases(home_of(path)) for path in back}
        damaged = [path for path, name in back.items() if releases[path].read(name) is None]
        for path, name in back.items():
            if path not in damaged:
                releases[path].point(name)
        for place in self.places:
            if place.path in back and place.path not in damaged:
                place.link()
        if damaged:
            raise _Damaged("node_release_damaged", path=releases[damaged[0]].folder_of(back[damaged[0]]))
        node_reload.run_all(self.reloads)
        self._require_read(back)
        turned = {
            path: {"active": name, "previous": known["places"][path]["active"]} for path, name in back.items()
        }
        if known["same"] or _agree(known["places"]):
            # What is named no more and was not put back may be another's by now: nothing is written there.
            ours = {path: one for path, one in known["places"].items() if self._is_named(path)}
            self._commit(known, {**ours, **turned})

    def _is_there(self, path):
        """A place of ours, or one the inventory names no more and whose folder nobody has removed."""
        return self._is_named(path) or os.path.isdir(home_of(path))

    def _is_named(self, path):
        return any(place.path == path for place in self.places)

    def _undo(self, known):
        """After a failed switch. False where a place has not what it had; the next fence tries again."""
        before = [one["previous"] for one in known["places"].values()]
        if not any(before):
            return False
        try:
            self._go_back(known)
        except (Fault, OSError):
            return False
        return None not in before and known["phase"] == COMMITTED

    def _commit(self, known, places):
        known.update(phase=COMMITTED, places=places)
        self._journal.write(known, others=places)  # one that was put back although it is named no more
        self._prune(known)

    def _prune(self, known):
        """Of each place the active release and the previous one are kept, so that old keys do not pile up."""
        for path, one in known["places"].items():
            if one != _NOTHING:
                Releases(home_of(path)).prune(one.values())

    def _require_read(self, names):
        for place in self.places:
            if place.path in names and not place.reads(names[place.path]):
                raise Fault("node_read_back_differs", path=place.path)

    # The journal

    def _state(self):
        return self._journal.read()

    def _save(self, known, **changes):
        known.update(changes)
        self._journal.write(known)


def _agree(paths):
    """The places hold one certificate, as far as it can be told: not of a PKCS#12 file that was found."""
    return len({disk.certificate_fingerprint(_held(path)) for path in paths} - {None}) <= 1


def _held(path):
    """The certificate in use at a place; nothing where its folder is not ours any more."""
    home = Releases(home_of(path))
    try:
        return (home.read(home.active()) or {}).get(CERTIFICATE, b"")
    except Fault:
        return b""


def _first_other(names, than):
    """The first name that is there and another one; None where there is none."""
    return next((name for name in names if name not in (None, than)), None)
