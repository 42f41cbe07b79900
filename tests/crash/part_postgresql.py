"""Cut the connection before, in and after each commit; lose a commit's answer; kill the server."""

from __future__ import annotations

from tests.crash.table import Part


def run(full: bool) -> Part:
    """All of it; `full` for the long run by hand."""
    return Part(failures=(f"postgresql is not built yet ({full=})",))
