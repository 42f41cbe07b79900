"""Runs a playbook of the collection in a child process and tells, typed, what happened.

The only file that knows the command line of ansible-playbook. What the child is given holds references to
secrets, never a secret; what it prints is not kept but for a short tail, since Ansible's own texts are not
censored everywhere (facts/stack.md §2.2). The child dies with us, and its workers with it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from renewctl import undumpable
from renewctl.errors import Refused, Unusable
from renewctl.playbook_events import (
    Ended,
    NodeDone,
    NodeResult,
    NodeStarted,
    NodeStopped,
    NodeUnreachable,
    PlaybookEvent,
    PushServiceChecked,
    event_from_json,
    last_word,
)
from renewctl.reasons import Reason

__all__ = [
    "GROUP",
    "PASSED_ON",
    "Ended",
    "NodeDone",
    "NodeResult",
    "NodeStarted",
    "NodeStopped",
    "NodeUnreachable",
    "PlaybookEvent",
    "PushServiceChecked",
    "require_ansible",
    "run",
]

GROUP = "mdm"
"""The group every playbook of the collection works on."""

PASSED_ON = frozenset(
    {
        "CREDENTIALS_DIRECTORY",
        "HOME",
        "HTTPS_PROXY",
        "LOGNAME",
        "NO_PROXY",
        "PATH",
        "RENEWCTL_ALLOWED_COMMANDS",
        "SSH_AUTH_SOCK",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TMPDIR",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
        "https_proxy",
        "no_proxy",
        # The operator's own choice of how to reach hosts (a jump host, an ssh_config)
        "ANSIBLE_FORKS",
        "ANSIBLE_PRIVATE_KEY_FILE",
        "ANSIBLE_REMOTE_USER",
        "ANSIBLE_SSH_ARGS",
        "ANSIBLE_SSH_COMMON_ARGS",
        # How Python's coverage reaches child processes
        "COVERAGE_PROCESS_CONFIG",
        "COVERAGE_PROCESS_START",
    }
)
"""Variables of our environment the child gets. Everything else stays here, passwords among it."""

_FIXED = {
    "ANSIBLE_CALLBACKS_ENABLED": "renewctl.mdm.events",
    "ANSIBLE_DEBUG": "0",
    "ANSIBLE_DEPRECATION_WARNINGS": "0",
    "ANSIBLE_HOST_KEY_CHECKING": "1",
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
    "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
    "ANSIBLE_KEEP_REMOTE_FILES": "0",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_NOCOWS": "1",
    "ANSIBLE_PIPELINING": "1",
    "ANSIBLE_RETRY_FILES_ENABLED": "0",
    "LC_ALL": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
}

_UNLESS_CHOSEN = {
    # A node is mostly waited for: its second push, its devices. By itself Ansible asks five at once.
    "ANSIBLE_FORKS": "25",
}

_TAIL_LINES, _TAIL_CHARACTERS = 20, 2000

# A child must not outlive us, however we end: prctl(PR_SET_PDEATHSIG = 1, SIGKILL = 9), before anything else.
_LAUNCH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
# A process this short leaves little for Python's collector, which takes a tenth of its time to find that out.
import atexit, gc, importlib
gc.set_threshold(100_000)
atexit.register(gc.freeze)
for name in sys.argv[2].split():
    importlib.import_module(name)
from ansible.cli.playbook import main
main(["ansible-playbook", *sys.argv[3:]])
"""


def run(
    name: str,
    hosts: Mapping[str, Mapping[str, Any]],
    variables: Mapping[str, Any],
    *,
    limit: Sequence[str] | None = None,
    check: bool = False,
    permit: int | None = None,
    on_event: Callable[[PlaybookEvent], None],
) -> Ended:
    """Run one playbook of the collection to its end.

    Must be called from a thread that lives as long as the playbook: the child dies with its thread.

    Args:
        name: fence, rollout, verify, rollback, observe.
        hosts: node -> host variables, `renewctl_node` among them.
        variables: the collection's variables; references to secrets, never a secret.
        limit: work on these nodes alone; None: all.
        check: change nothing, say what would change.
        permit: descriptor of a `lease.Lease`, asked before every change; None where nothing is changed.
        on_event: called for every event, in this thread.

    Raises:
        Unusable: `extra_missing`: ansible-core is not installed.
        Refused: `playbook_failed`: it ended without a word of any node.
    """
    require_ansible()
    inventory = {GROUP: {"hosts": {host: _host(own) for host, own in hosts.items()}}, **_sorted(hosts)}
    with TemporaryDirectory(prefix="renewctl-run-") as temporary:
        folder = Path(temporary)
        _write(folder / "inventory.yml", inventory)
        _write(folder / "variables.yml", dict(variables))
        (folder / "ansible.cfg").touch()
        arguments = [f"renewctl.mdm.{name}", "-i", "inventory.yml", "-e", "@variables.yml"]
        if limit is not None:
            (folder / "limit").write_text("\n".join(limit) + "\n", encoding="utf-8")
            arguments += ["--limit", "@limit"]
        if check:
            arguments.append("--check")
        gathered = _Gathered(on_event)
        launched = [_loaded_first(hosts), *arguments]
        with _child(launched, folder, _environment(folder, hosts), permit) as (child, events, tail):
            for line in events:
                if line.endswith("\n"):  # a child that was killed may leave half a line
                    gathered.take(line)
            code = child.wait()
    if code != 0 and not gathered.heard:
        raise Refused(Reason.PLAYBOOK_FAILED, got=code, detail=tail.text())
    return Ended(code, gathered.results, gathered.push_service, tail.text())


def require_ansible() -> None:
    """Check that playbooks can be run here; asked before anything is written down.

    Raises:
        Unusable: `extra_missing`.
    """
    if importlib.util.find_spec("ansible") is None:
        raise Unusable(Reason.EXTRA_MISSING, expected="ansible")


def _sorted(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The groups `nodes.yml` would find out: nodes with an API, and nodes of files."""
    groups: dict[str, Any] = {}
    for host, own in hosts.items():
        group = "renewctl_files" if _install(own) else "renewctl_api"
        groups.setdefault(group, {"hosts": {}})["hosts"][host] = {}
    return groups


def _install(own: Mapping[str, Any]) -> Mapping[str, Any] | None:
    install = own.get("renewctl_node", {}).get("install")
    return install if isinstance(install, Mapping) else None


def _loaded_first(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """What asks the servers; otherwise each worker that Ansible forks takes a third of a second for it."""
    nodes = [own.get("renewctl_node", {}) for own in hosts.values()]
    servers = [node for node in nodes if node.get("product") != "files"]
    databases = any((node.get("devices") or {}).get("sql") for node in servers)
    return " ".join(["renewctl.servers.nanomdm"] * bool(servers) + ["renewctl.database.sql"] * databases)


class _Gathered:
    """Events as they come, and each node's last word."""

    def __init__(self, on_event: Callable[[PlaybookEvent], None]) -> None:
        self.results: dict[str, NodeResult] = {}
        self.push_service: PushServiceChecked | None = None
        self.heard = False
        self._on_event = on_event

    def take(self, line: str) -> None:
        """One line; what cannot be read is no node's word, and whoever has none is *unknown*."""
        try:
            event = event_from_json(json.loads(line))
        except (ValueError, RecursionError):
            return
        self.heard = True
        if isinstance(event, NodeDone):
            self.results[event.node] = last_word(self.results.get(event.node), event)
        elif isinstance(event, NodeUnreachable):
            self.results[event.node] = NodeResult(
                event.node,
                "unknown",
                reason=Reason.NODE_SSH_FAILED,
                values={
                    "node": event.node,
                    "address": event.address,
                    "got": event.detail,
                    "command": event.command,
                },
            )
        elif isinstance(event, PushServiceChecked):
            self.push_service = event
        self._on_event(event)


def _host(own: Mapping[str, Any]) -> dict[str, Any]:
    """Host variables with the connection a node's `install` names; an API node is asked from here."""
    install = _install(own)
    if install is None:
        return {**own, "ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    named = dict(install.get("variables") or {})
    if install.get("host"):
        named.setdefault("ansible_host", install["host"])
    return {**own, **named}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(_yaml(content), encoding="utf-8")


def _yaml(value: object) -> str:
    """JSON, which is YAML, with every text marked `!unsafe`: nothing in an inventory is a template to run."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_yaml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(part) for part in value) + "]"
    if isinstance(value, str):
        return f"!unsafe {json.dumps(value)}"
    return json.dumps(value)


def _environment(folder: Path, hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    wanted = PASSED_ON | set(_named_by_env(hosts))
    passed = {name: value for name, value in os.environ.items() if name in wanted}
    return {
        **_UNLESS_CHOSEN,
        **passed,
        **_FIXED,
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(_collections()),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
    }


def _collections() -> list[str]:
    """Our own collection's place first: an older one in the user's folder must not stand before it."""
    spec = importlib.util.find_spec("ansible_collections.renewctl.mdm")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    ours = [str(Path(place).parents[2]) for place in places]
    return [*ours, "~/.ansible/collections", "/usr/share/ansible/collections"]


def _named_by_env(value: object) -> Iterator[str]:
    """Variables a node's own settings name as `{env: NAME}`: the operator chose to have them there."""
    if isinstance(value, Mapping):
        if set(value) == {"env"} and isinstance(value["env"], str):
            yield value["env"]
        for part in value.values():
            yield from _named_by_env(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _named_by_env(part)


class _Tail:
    """The last lines of what the child prints, read in a thread so that it never has to wait for us."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(ValueError):  # closed under us: nobody waits for more
            for line in self._stream:
                if line.strip():
                    self._lines.append(line.rstrip())

    def finish(self) -> None:
        """Wait for the last line; not for ever, since a grandchild may hold the stream."""
        self._thread.join(timeout=5)

    def text(self) -> str:
        return "\n".join(self._lines)[-_TAIL_CHARACTERS:]


@contextmanager
def _child(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], permit: int | None
) -> Iterator[tuple[subprocess.Popen[str], IO[str], _Tail]]:
    undumpable.keep_to_ourselves()  # the child inherits the limit; it and its workers get passwords
    reading, writing = os.pipe()
    passed = {"RENEWCTL_EVENTS_FD": writing} | ({} if permit is None else {"RENEWCTL_PERMIT_FD": permit})
    with os.fdopen(reading, encoding="utf-8") as events:
        try:
            child = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, str(os.getpid()), *arguments],
                cwd=folder,
                env={**environment, **{name: str(number) for name, number in passed.items()}},
                pass_fds=list(passed.values()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        finally:
            os.close(writing)
        with child:
            assert child.stdout is not None  # noqa: S101 - asked for above
            tail = _Tail(child.stdout)
            try:
                yield child, events, tail
            except BaseException:
                child.kill()  # before the wait that ends this block
                raise
            finally:
                tail.finish()
