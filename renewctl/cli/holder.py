"""How a run that has not ended is told: who began it, on which host, since when, for which renewal.

Whether its holder still lives can only be learned by watching it beat; a command that looks does not wait for
that, and does not claim it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from renewctl.cli.output import Output

if TYPE_CHECKING:
    from renewctl.store.read import Run  # SQL


def show_holder(output: Output, run: Run | None) -> None:
    """A line on stdout; nothing where every run has ended."""
    if run is not None:
        values = {"run": run.number, "renewal": run.renewal, "holder": run.holder, "host": run.host}
        output.show("status.run", since=run.since, **values)


def holder_json(run: Run | None) -> dict[str, object] | None:
    """The same for programs; null where every run has ended."""
    if run is None:
        return None
    return {
        "number": run.number,
        "renewal": run.renewal,
        "holder": run.holder,
        "host": run.host,
        "since": run.since,
    }
