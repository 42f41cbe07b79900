"""The demo: a year goes by in a minute, told with headings and times.

Every command is the real `renewctl` in a child process, shown before it runs; every figure on the screen
comes from one of them. Ends 0 only when each command ended as the world's list says it must, and every
process of the world was still alive.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from renewctl.sandbox.children import WorldBroken
from renewctl.sandbox.person import Deed, PortalSaidNo
from renewctl.sandbox.up import World
from renewctl.sandbox.worlds import WORLDS, WorldSpec, world

_PERSONS_TURN = 3  # documented in the README: NEXT STEPS were printed
_ATTENTION = 4
_EXPORTER_SECONDS = 60.0
_REMOVE_SECONDS = 10.0
_EXPIRY = "mdm_push_certificate_expiry_timestamp_seconds"

_DEEDS = {
    Deed.RENEWS: "signs in as {account}, finds the row, presses Renew, uploads, downloads",
    Deed.CREATES: "signs in as {account}, finds no row, and presses Create a Certificate",
    Deed.TAKES_LAST_YEARS_FILE: "signs in as {account}, renews, but hands over last year's file",
}


class StoryBroken(Exception):
    """Something did not go as the world's list says it must."""


class Story:
    """One world's year, told on stdout."""

    def __init__(self, running: World) -> None:
        self._world = running
        self._spec = running.spec
        self._folder = running.stage.folder
        self._began = time.monotonic()
        self._before: dict[str, str] = {}

    def tell(self) -> None:
        """From the date in red to the closed renewal, or to the refusal.

        Raises:
            StoryBroken: a command ended otherwise than it must.
            WorldBroken: a process of the world died.
        """
        self._adopt()
        self._heading("The date, in red")
        self._renewctl("status", expected=_ATTENTION)
        self._metrics(_EXPIRY)
        if self._world.addresses.exporter:
            self._before = self._expiries(self._world.addresses.exporter)
        self._heading("The renewal: key, CSR, vendor-signed request")
        self._renewctl("renewal", "open")
        if not self._step("request", "--out", str(self._request), expected=_PERSONS_TURN):
            return
        self._heading("A person at Apple's portal (the sandbox's)")
        downloaded = self._person()
        self._heading("What came back is checked, before anything is touched")
        if not self._step("accept", str(downloaded)):
            return
        self._heading("The roll-out, canary first, by Ansible")
        wanted = self._spec.expected
        if wanted.first is not None:
            self._renewctl("renewal", "roll-out", expected=wanted.first)
            self._heading("Understood; once more")
        if not self._step("roll-out", *wanted.options):
            return
        self._what_is_owed()
        self._proof()

    def _what_is_owed(self) -> None:
        """Nodes that were down come back, and are given what they are owed."""
        for node in self._spec.down:
            self._heading(f"{node} is back: what it is owed is done")
            self._world.bring_back(node)
        if self._spec.down:
            self._renewctl("renewal", "roll-out")

    def _adopt(self) -> None:
        self._heading("What is in use now is taken over, so that there is a way back")
        self._renewctl("init", "--existing")
        key = ("--key", str(self._world.stage.old_key))
        words = key if self._spec.old_key_at_hand else ("--certificate-only",)
        self._renewctl("adopt", "--certificate", str(self._world.stage.old_certificate), *words)

    def _person(self) -> Path:
        deed = _DEEDS[self._spec.deed].format(account=self._spec.account)
        self._line(f"The person {deed}.")
        try:
            downloaded = self._world.person(self._request)
        except PortalSaidNo as error:
            raise StoryBroken(f"the portal said no: {error}") from error
        self._line(f"Downloaded: {downloaded.name}")
        return downloaded

    def _proof(self) -> None:
        self._heading("Every device is woken with the new certificate")
        self._renewctl("sandbox", "wake", "--folder", str(self._folder))
        self._heading("The exporter has seen it")
        self._wait_for_exporter()
        self._metrics(_EXPIRY)
        self._heading("Closed, until next year")
        self._renewctl("renewal", "close")
        self._renewctl("status")

    def _step(self, command: str, *words: str, expected: int = 0) -> bool:
        """One command of the renewal; False where this world's story ends with it."""
        wanted = self._spec.expected
        if wanted.step != command or (command == "roll-out" and wanted.exit_code in {0, _ATTENTION}):
            last = wanted.exit_code if wanted.step == command else expected
            self._renewctl("renewal", command, *words, expected=last)
            return True
        self._renewctl("renewal", command, *words, expected=wanted.exit_code)
        self._check_refusal(command, *words)
        self._line(f"As it must be: refused ({', '.join(wanted.reasons)}); no node was touched.")
        return False

    def _check_refusal(self, command: str, *words: str) -> None:
        """The reason is the list's, as the command itself says, and no node's own log holds a change."""
        asked = _command(["renewal", command, *words, "--json"])
        told = subprocess.run(
            asked, env=self._environment, cwd=self._folder, capture_output=True, text=True, check=False
        )
        reason = json.loads(told.stdout)["error"]["reason"]
        if reason not in self._spec.expected.reasons:
            raise StoryBroken(f"renewctl renewal {command} refused with {reason}")
        touched = [node for node in self._world.addresses.nodes if self._world.changing_requests(node)]
        if touched:
            raise StoryBroken(f"touched: {', '.join(touched)}")

    @property
    def _environment(self) -> dict[str, str]:
        """The world's inventory, and a place for temporary files that goes with the world."""
        scratch = self._folder / "tmp"
        scratch.mkdir(exist_ok=True)
        return {**os.environ, "RENEWCTL_INVENTORY": str(self._world.inventory), "TMPDIR": str(scratch)}

    @property
    def _request(self) -> Path:
        return self._folder / "request.plist"

    def _metrics(self, *names: str) -> None:
        if self._world.addresses.exporter:
            self._renewctl("sandbox", "metrics", "--url", self._world.addresses.exporter, *names)

    def _wait_for_exporter(self) -> None:
        """The exporter looks at each node on its own clock; wait until every series has moved.

        Raises:
            StoryBroken: one never did.
        """
        url = self._world.addresses.exporter
        if url is None:
            return
        ends = time.monotonic() + _EXPORTER_SECONDS
        while not _moved(self._before, self._expiries(url)):
            if time.monotonic() > ends:
                raise StoryBroken("the exporter still shows the old date")
            time.sleep(0.5)

    def _expiries(self, url: str) -> dict[str, str]:
        """Series -> value."""
        words = ["sandbox", "metrics", "--url", url, _EXPIRY, "--json"]
        told = subprocess.run(_command(words), capture_output=True, text=True, check=False)
        samples = json.loads(told.stdout)["samples"] if told.returncode == 0 else []
        return {series: value for series, _, value in (x.rpartition(" ") for x in samples)}

    def _renewctl(self, *words: str, expected: int = 0) -> None:
        self._world.check_alive()
        sys.stdout.write(f"\n$ renewctl {shlex.join(words)}\n")
        sys.stdout.flush()
        done = subprocess.run(_command(words), env=self._environment, cwd=self._folder, check=False)
        self._world.check_alive()
        if done.returncode != expected:
            raise StoryBroken(f"renewctl {words[0]} ended with {done.returncode}, expected {expected}")

    def _heading(self, text: str) -> None:
        seconds = time.monotonic() - self._began
        sys.stdout.write(f"\n== {seconds:4.1f} s  {text}\n")
        sys.stdout.flush()

    def _line(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _moved(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Every series there was is still there, with another value."""
    return all(series in now and now[series] != value for series, value in before.items())


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "renewctl", *words]


def _keep(running: World) -> None:
    nodes = {name: f"{url}/version" for name, url in running.addresses.nodes.items()}
    urls = {"portal": running.addresses.portal, **nodes}
    if running.addresses.exporter:
        urls["metrics"] = f"{running.addresses.exporter}/metrics"
    sys.stdout.write("\nThe world stays up until Ctrl-C. Open:\n")
    sys.stdout.writelines(f"  {name:9} {url}\n" for name, url in urls.items())
    sys.stdout.write("Where NEXT STEPS send a person to Apple, this world's portal is meant.\n")
    folder = shlex.quote(str(Path(sys.executable).parent))
    sys.stdout.write(
        f"Try, in another terminal:\n  export PATH={folder}:$PATH\n"
        f"  export RENEWCTL_INVENTORY={shlex.quote(str(running.inventory))}\n"
        "  renewctl status --lang ja\n  renewctl renewal show\n  renewctl node observe\n"
    )
    sys.stdout.flush()
    while True:
        running.check_alive()
        time.sleep(1)


def play(spec: WorldSpec, folder: Path, *, keep: bool) -> int:
    """Tell one world's story; the demo's exit code."""
    try:
        sys.stdout.write(f"World {spec.name}: {spec.claim}\n")
        sys.stdout.flush()
        with World.start(spec, folder, exporter=True) as running:
            Story(running).tell()
            if keep:
                _keep(running)
    except (StoryBroken, WorldBroken) as error:
        sys.stderr.write(f"\nThe demo broke: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="A year with a push certificate, in a minute")
    parser.add_argument("--world", choices=[spec.name for spec in WORLDS], default=WORLDS[0].name)
    parser.add_argument("--keep", action="store_true", help="leave the world up")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    folder = Path(tempfile.mkdtemp(prefix="renewctl-demo-"))
    try:
        return play(world(options.world), folder / "world", keep=options.keep)
    finally:
        _remove(folder)


def _end(_signal: int, _frame: object) -> None:
    """As Ctrl-C ends it, once: whoever asks again does not disturb the clearing away."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _remove(folder: Path) -> None:
    """Take the folder away; what a process killed a moment ago still wrote there may need a second turn."""
    ends = time.monotonic() + _REMOVE_SECONDS
    while folder.exists() and time.monotonic() < ends:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
