"""A secret is a reference; it is read late, once a process, and never printed or logged.

References: `{file: PATH}`, `{env: NAME}`, `{command: [PROGRAM, ARG, …]}`, `{credential: NAME}`
(systemd's `$CREDENTIALS_DIRECTORY`).
"""

from __future__ import annotations

import errno
import os
import select
import stat
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from renewctl import localfile, undumpable
from renewctl.errors import Unusable
from renewctl.reasons import Reason

LONGEST = 1024 * 1024
"""Bytes of the largest secret taken: an identity file is small, and a wrong path may be a disk image."""

COMMAND_SECONDS = 10.0
"""How long a `{command:}` may take."""

ALLOWED_COMMANDS_VARIABLE = "RENEWCTL_ALLOWED_COMMANDS"
"""Names another list of allowed programs than `~/.config/renewctl/allowed-commands`."""


class Kind(StrEnum):
    """Where a secret is to be read."""

    FILE = "file"
    ENV = "env"
    COMMAND = "command"
    CREDENTIAL = "credential"


@dataclass(frozen=True)
class SecretRef:
    """Where a secret is, never what it is.

    Attributes:
        kind: which of the four.
        where: a path, a variable's name, a program with arguments, or a credential's name.
    """

    kind: Kind
    where: tuple[str, ...]


def shown(ref: SecretRef) -> str:
    """How a reference is named to people: `file:/etc/x`; of a command, the program alone."""
    return f"{ref.kind.value}:{ref.where[0]}"


class _Reading:
    """One reading of a secret, whose answer is everybody's who asks meanwhile."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._told: str | Unusable | None = None

    def answer(self, ref: SecretRef) -> str:
        with self._turn:
            if self._told is None:
                try:
                    self._told = _read(ref)
                except Unusable as error:
                    self._told = error
                    _readings.pop(ref, None)  # whoever asks from now on has it read anew
        if isinstance(self._told, Unusable):
            raise self._told
        return self._told


_readings: dict[SecretRef, _Reading] = {}


def read(ref: SecretRef) -> str:
    """The secret itself, without one trailing line end; read once a process, however many threads ask.

    Raises:
        Unusable: `secret_unreadable` (`where`, `detail`), `secret_empty`, `secret_not_text`,
            `secret_command_not_allowed` (`program`, `path` of the list), `secret_command_failed`.
    """
    return _readings.setdefault(ref, _Reading()).answer(ref)


def forget() -> None:
    """Read everything anew: a password may have changed."""
    _readings.clear()


def _read(ref: SecretRef) -> str:
    undumpable.keep_to_ourselves()
    content = _READERS[ref.kind](ref)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Unusable(Reason.SECRET_NOT_TEXT, where=shown(ref)) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise Unusable(Reason.SECRET_EMPTY, where=shown(ref))
    return text


def lax(ref: SecretRef) -> bool:
    """Whether a secret's file may be read by its group or by everybody; `status` tells, nothing refuses.

    Refusing would break mounts that cannot carry modes (Kubernetes secrets, SMB). False for what is no file.
    """
    if ref.kind is not Kind.FILE:
        return False
    try:
        mode = Path(ref.where[0]).stat().st_mode
    except OSError:
        return False
    return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def allowed_commands() -> Path:
    """The list of programs a `{command:}` may start: one absolute path a line, outside any inventory."""
    named = os.environ.get(ALLOWED_COMMANDS_VARIABLE)
    return Path(named) if named else Path.home() / ".config" / "renewctl" / "allowed-commands"


def is_allowed(program: str) -> bool:
    """Whether that list names a program, by its absolute path; without a list, none."""
    try:
        allowed: Sequence[str] = allowed_commands().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        allowed = ()
    return program.startswith("/") and program in (line.strip() for line in allowed)


def _from_file(ref: SecretRef) -> bytes:
    return _content(Path(ref.where[0]), ref)


def _from_env(ref: SecretRef) -> bytes:
    value = os.environb.get(os.fsencode(ref.where[0]))
    if value is None:
        raise Unusable(Reason.SECRET_UNREADABLE, where=shown(ref), detail="not set")
    return value


def _from_credential(ref: SecretRef) -> bytes:
    folder, name = os.environ.get("CREDENTIALS_DIRECTORY"), ref.where[0]
    if not folder:
        raise Unusable(Reason.SECRET_UNREADABLE, where=shown(ref), detail="$CREDENTIALS_DIRECTORY not set")
    if name != Path(name).name:
        raise Unusable(Reason.SECRET_UNREADABLE, where=shown(ref), detail="not a name")
    return _content(Path(folder) / name, ref)


def _from_command(ref: SecretRef) -> bytes:
    """Standard output of a program; its standard error may hold anything, so it is never shown."""
    _require_allowed(ref.where[0])
    try:
        done = subprocess.run(
            ref.where, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        detail = f"no answer in {COMMAND_SECONDS:.0f} s"
        raise Unusable(Reason.SECRET_COMMAND_FAILED, program=ref.where[0], detail=detail) from None
    except OSError as error:
        detail = error.strerror or type(error).__name__
        raise Unusable(Reason.SECRET_COMMAND_FAILED, program=ref.where[0], detail=detail) from None
    if done.returncode != 0:
        detail = f"exit {done.returncode}"
        raise Unusable(Reason.SECRET_COMMAND_FAILED, program=ref.where[0], detail=detail)
    return done.stdout[: LONGEST + 1]


def _require_allowed(program: str) -> None:
    if not is_allowed(program):
        path = str(allowed_commands())
        raise Unusable(Reason.SECRET_COMMAND_NOT_ALLOWED, program=program, path=path)


def _content(path: Path, ref: SecretRef) -> bytes:
    try:
        return _piped(path) if _is_substituted(path) else localfile.read(path, LONGEST)
    except OSError as error:
        detail = error.strerror or type(error).__name__
        raise Unusable(Reason.SECRET_UNREADABLE, where=shown(ref), detail=detail) from None


def _is_substituted(path: Path) -> bool:
    """Whether it is a pipe without a name, which somebody holds open for us: a shell's `<(…)`."""
    return Path(os.path.realpath(path)).name.startswith("pipe:[")


def _piped(path: Path) -> bytes:
    """All that comes; who writes has as long as a `{command:}`.

    Raises:
        OSError: not in time, or too much.
    """
    end, content = time.monotonic() + COMMAND_SECONDS, b""
    ready = select.poll()
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        ready.register(pipe, select.POLLIN)
        while ready.poll(max(end - time.monotonic(), 0) * 1000):
            piece = pipe.read(LONGEST)
            if not piece:
                return content
            content += piece
            if len(content) > LONGEST:
                raise OSError(errno.EFBIG, f"larger than {LONGEST} bytes")
    raise OSError(errno.ETIMEDOUT, f"no answer in {COMMAND_SECONDS:.0f} s")


_READERS = {
    Kind.FILE: _from_file,
    Kind.ENV: _from_env,
    Kind.COMMAND: _from_command,
    Kind.CREDENTIAL: _from_credential,
}
