# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One step on the files of a push certificate, on the node. Standard library alone.

The order comes on standard input, the key with it: nothing of it is an argument, a variable or a file. The
answer is one line on standard output. Everything that changes something happens under one lock; the next
fence undoes it if it is interrupted.
"""

from __future__ import annotations

import json
import sys

from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles, write_fault

#: Begins the line of the answer: sudo and login scripts may say something too.
ANSWER = "renewctl-answer "


def answered(order, files):
    """The answer to an order: `{"done", "look"}`, or `{"reason", "values"}` where it could not be done.

    Args:
        order: `op`, `places`, `reloads`, `run`, `token`, and what the step takes besides.
        files: name -> bytes: the key, PKCS#12 files.
    """
    try:
        pair = PairFiles(order["places"], order["reloads"])
        done = _done(pair, order, files)
        # What consumers read after a change, told at once: one question less.
        told = order["op"] in ("switch", "revert") or (order["op"] == "fence" and done)
        return {"done": done, "look": pair.look() if told else None}
    except Fault as fault:
        return {"reason": fault.reason, "values": fault.values}
    except OSError as error:
        named = [path for place in order["places"] for path in place.values() if path]
        fault = write_fault(error, named[0] if named else "-")
        return {"reason": fault.reason, "values": fault.values}


def main(stream):
    """Read an order, carry it out, print the answer. An order that was cut short is not carried out."""
    order = json.loads(stream.readline())
    files = {}
    for name, size in order["files"].items():
        files[name] = stream.read(size)
        if len(files[name]) != size:
            raise SystemExit("the order was cut short")
    sys.stdout.write(ANSWER + json.dumps(answered(order, files)) + "\n")


def _done(pair, order, files):
    op, run, token = order["op"], order["run"], order["token"]
    if op == "look":
        return pair.look()
    if op == "bundles":
        return pair.bundles(files["secret"])
    if op == "carries":
        return pair.carries(run, token)
    if op == "fence":
        return pair.fence(run, token)
    if op == "switch":
        return pair.switch(run, token, order["certificate"].encode("ascii"), files)
    return pair.revert(run, token, order["fingerprint"])
