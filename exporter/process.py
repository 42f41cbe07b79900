"""The process's own metrics, as prometheus_client tells them, cheaper at each scrape."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.utils import floatToGoString

from exporter.definition import Definition

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _defined(name: str, help_: str, example: tuple[str, str], *, counter: bool = False) -> Definition:
    return Definition(
        name, help_, (), "Never.", example, kind="counter" if counter else "gauge", by_unit=False
    )


PROCESS: tuple[Definition, ...] = (
    _defined(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        ("process_virtual_memory_bytes", "address space of each process"),
    ),
    _defined(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        ('process_resident_memory_bytes{job="renewctl"} / 2 ^ 20', "memory of each exporter, in MiB"),
    ),
    _defined(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        ("time() - process_start_time_seconds", "for how long each process has run"),
    ),
    _defined(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        ("rate(process_cpu_seconds_total[10m])", "share of a core each process takes"),
        counter=True,
    ),
    _defined(
        "process_open_fds",
        "Number of open file descriptors.",
        ("process_open_fds / process_max_fds", "share of its file descriptors each process has open"),
    ),
    _defined(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        ("process_max_fds", "how many files each process may have open"),
    ),
)
"""In the order of `values`."""


def values() -> Iterator[bytes]:
    """What each of `PROCESS` is now, as text."""
    descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        virtual, resident, *_ = os.read(descriptor, 4096).split()
    finally:
        os.close(descriptor)
    for value in (
        int(virtual) * _PAGE_BYTES,
        int(resident) * _PAGE_BYTES,
        _started_at,
        time.process_time(),
        _open_files(),
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    ):
        yield floatToGoString(value).encode()  # type: ignore[no-untyped-call]


def _open_files() -> int:
    """Linux tells their number since 6.2; one that tells 0 has them listed, as prometheus_client does."""
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))  # noqa: PTH116, PTH208 - quicker


def _boot_time() -> float:
    """Seconds since 1970, as the kernel says; by the clock where a service is not told (`ProcSubset=pid`)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
            if line.startswith("btime "):
                return float(line.split()[1])
    return float(round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)))


def _start_time() -> float:
    """Of this process, in seconds since 1970."""
    # Field 22 of proc(5); counted after the program's name, which may hold anything.
    return int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19]) / _TICKS + _boot_time()


_started_at = _start_time()
