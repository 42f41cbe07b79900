"""SIGHUP as a request, in a process of its own: what is blocked and answered belongs to a whole process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import logging, os, signal, sys, threading
from renewctl.web import hangups

logging.basicConfig(format="%(message)s")
hangups.hold()
os.kill(os.getpid(), signal.SIGHUP)
asked, called, go_on = 0, threading.Semaphore(0), threading.Semaphore(0)

def answer():
    global asked
    asked += 1
    called.release()
    go_on.acquire()
    if asked == 1:
        raise ValueError("a fault of ours")

with hangups.answered(answer):
    called.acquire()
    for _ in range(100):
        os.kill(os.getpid(), signal.SIGHUP)
    go_on.release()
    called.acquire()
    go_on.release()
os.kill(os.getpid(), signal.SIGHUP)
print(asked)
"""


def run(*before: str) -> subprocess.CompletedProcess[str]:
    """What the program says."""
    words = [*before, sys.executable, "-c", PROGRAM]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_what_came_before_during_and_after_is_answered_once_merged_and_held() -> None:
    """One from before it could be answered; a hundred during that are one more; one after the end kills nobody.

    A fault of the answer is a line in the log, and the next one is answered.
    """
    done = run()
    assert (done.returncode, done.stdout) == (0, "2\n")
    assert done.stderr == "SIGHUP was not answered: ValueError\n"


def test_under_nohup_it_is_answered_as_well() -> None:
    """What a shell had ignored is a request, too."""
    assert run("nohup").stdout == "2\n"
