# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a node's last step wrote down, beside every place it was about. Standard library alone.

Beside each place's releases (see pair_place)::

    lock                      one step at a time
    state.json                0600  {v, run, token, step, phase, same, places: {path: {active, previous}}}

Every place is given the same record, one after the other, and the newest one counts: the highest run, of it
the highest step. So it does not matter in which order an inventory names the places, or which of them it
names no more, and a step that was killed between two of these writes is one that had written.

`same`: by going back each place gets what it had before the step, so that nothing is lost however much the
places differ then. A record of before that was told says so. A way back leaves it as it was: it gives
all of them one pair, which is seen in the places themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import time

from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk as disk
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_place import home_of
from ansible_collections.renewctl.mdm.plugins.module_utils.releases import Releases

#: Version of state.json; a newer one is refused, never guessed at. 1: beside the first place alone, no step.
STATE_VERSION = 2

#: No run is above it, and a journal that tells of one is not believed; renewctl has the same bound.
HIGHEST_RUN = 1_000_000_000

COMMITTED, SWITCHING = "committed", "switching"

_FIELDS = ("run", "token", "phase", "places")
_IDLE = {"phase": "idle", "same": True, "places": {}}


class Journal:
    """The journal of the places an inventory names.

    Args:
        paths: what names each place.
    """

    def __init__(self, paths):
        self._paths = sorted(paths)

    @contextlib.contextmanager
    def locked(self, seconds):
        """Hold the lock of every place. All take them in one order, so nobody waits for somebody who waits.

        Raises:
            Fault: `node_locked`, after so many seconds.
        """
        deadline = time.monotonic() + seconds
        with contextlib.ExitStack() as stack:
            for path in self._paths:
                home = home_of(path)
                at = stack.enter_context(Releases(home).held())
                left = max(0.0, deadline - time.monotonic())
                stack.enter_context(disk.locked(os.path.join(home, "lock"), left, at))
            yield

    def read(self):
        """The newest record, of those beside our places and those that tell of one of ours.

        Of a place we do not name it tells only while no later step has written beside that one.

        Raises:
            Fault: a record cannot be read; or `node_step_of_other_places`: beside one of ours a step was cut
                off that the newest record does not tell of, so nobody would ever undo it.
        """
        beside = _there({path: _record(path) for path in self._paths})
        named = {path for record in beside.values() for path in record["places"]}
        others = _there({path: _other_record(path) for path in named.difference(self._paths)})
        for record in beside.values():
            if record["phase"] == SWITCHING and _has_ended(record, {**beside, **others}):
                record["phase"] = COMMITTED
        telling = [
            record for record in others.values() if not record["places"].keys().isdisjoint(self._paths)
        ]
        newest = max([*beside.values(), *telling], key=_age, default=None)
        if newest is None:
            return {"v": STATE_VERSION, "run": 0, "token": "", "step": 0, **_IDLE}
        for path, record in beside.items():
            if record["phase"] == SWITCHING and record != newest and path not in newest["places"]:
                raise Fault("node_step_of_other_places", path=path)
        later = {path for path, record in others.items() if _age(record) > _age(newest)}
        newest["places"] = {path: one for path, one in newest["places"].items() if path not in later}
        return newest

    def write(self, record, others=()):
        """Write a record beside each of our places, and beside others where their folder is still there."""
        record["step"] += 1
        data = json.dumps(record, sort_keys=True).encode()
        for path in self._paths:
            _write(path, data)
        for path in sorted(set(others).difference(self._paths)):
            with contextlib.suppress(FileNotFoundError):
                _write(path, data)


def _age(record):
    return record["run"], record["step"]


def _there(records):
    return {path: record for path, record in records.items() if record is not None}


def _has_ended(record, known):
    """A place of this step has a later record, which was written by whoever had ended or undone it.

    Not told of a record of version 1: it lay beside one place alone, so another's record knew nothing of it.
    """
    later = (known[path] for path in record["places"] if path in known)
    return record["step"] > 0 and any(_age(one) > _age(record) for one in later)


def _write(path, data):
    home = home_of(path)
    with Releases(home).held() as at:
        disk.write(os.path.join(home, "state.json"), data, 0o600, at)


def _other_record(path):
    """Beside a place we do not name anything may lie by now; what it tells matters only if it can be read."""
    try:
        return _record(path)
    except Fault:
        return None


def _record(path):
    """The record beside a place; None where there is none."""
    home = home_of(path)
    file = os.path.join(home, "state.json")
    try:
        with Releases(home).held() as at:
            raw = disk.read(file, at)
    except FileNotFoundError:
        return None
    if raw is None:
        return None
    try:
        known = json.loads(raw)
        version = known["v"]
        if version in (1, STATE_VERSION):
            return _believed(_checked({"step": 0, **known} if version == 1 else known), file)
        newer = int(version) > STATE_VERSION
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Fault("node_state_damaged", path=file) from None
    if not newer:
        raise Fault("node_state_damaged", path=file)
    raise Fault("node_state_newer", path=file, got=version, expected=STATE_VERSION)


def _believed(record, file):
    if not 0 <= record["run"] <= HIGHEST_RUN:
        raise Fault("run_too_high", path=file, got=str(record["run"])[:20], expected=HIGHEST_RUN)
    return record


def _checked(known):
    """A record as we write it; ValueError or TypeError for any other."""
    texts = [known["token"], known["phase"], *known["places"]]
    for path, one in known["places"].items():
        if not os.path.isabs(path) or set(one) != {"active", "previous"}:
            raise ValueError(path)
        texts += [name for name in one.values() if name is not None]
    numbers = (known["run"], known["step"])
    if any(type(number) is not int for number in numbers) or not all(isinstance(text, str) for text in texts):
        raise TypeError("run")
    told = {name: known[name] for name in ("step", *_FIELDS)}
    return {"v": STATE_VERSION, "same": known.get("same", True) is True, **told}
