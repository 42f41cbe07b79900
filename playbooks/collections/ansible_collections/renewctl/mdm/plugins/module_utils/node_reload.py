# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell a consumer to read its files again, and do not wait for ever. Standard library alone."""

from __future__ import annotations

import os
import signal
import subprocess

from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault

#: A reload that takes longer than this counts as failed, seconds.
RELOAD_SECONDS = 30.0


def run_reload(command):
    """Run one command, without a shell, in a group of its own that ends with the time limit.

    Raises:
        Fault: `reload_failed`: it could not start, failed, or was ended.
    """
    program = command[0]
    try:
        child = subprocess.Popen(
            command,
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


def run_all(commands):
    """Run every command, also after one that failed: consumers that work need the pair that is put back.

    Raises:
        Fault: the first one's.
    """
    faults = []
    for command in commands:
        try:
            run_reload(command)
        except Fault as fault:
            faults.append(fault)
    if faults:
        raise faults[0]
