"""certbot's renewal of one lineage, by certbot's own storage code: run by the interpreter certbot is in.

::

    python -m tests.crash.kills.certbot_child GATE     # serves (`forkserver`); jobs are one of:

    issue    a first lineage, version 1
    renew    save the successor and swap the live links: what `certbot renew` does after the CA's answer
    again    what the next `certbot renew` does: load, mend, deploy what is not; renew where that is owed still
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

from certbot._internal import cli, storage  # type: ignore[import-not-found]
from certbot._internal.plugins import disco  # type: ignore[import-not-found]

from tests.crash.kills.certbot_parts import parts
from tests.crash.kills.forkserver import serve

NAME = "example.com"
_PLUGINS = disco.PluginsRegistry.find_all()


def main(words: list[str]) -> int:
    """One of the jobs, in the working folder."""
    here = Path.cwd()
    folders = [word for name in ("config", "work", "logs") for word in (f"--{name}-dir", str(here / name))]
    config = cli.prepare_and_parse_args(_PLUGINS, ["certonly", "--standalone", "-d", NAME, *folders])
    if words == ["issue"]:
        storage.RenewableCert.new_lineage(NAME, *parts(1), config)
        return 0
    lineage = storage.RenewableCert(str(here / "config" / "renewal" / f"{NAME}.conf"), config)
    if words == ["again"]:
        lineage.ensure_deployed()
        if Path(lineage.cert).read_bytes() == parts(2)[0]:
            return 0
    _renew(lineage, config)
    return 0


def _renew(lineage: Any, config: Any) -> None:
    lineage.save_successor(lineage.latest_common_version(), *parts(2), config)
    lineage.update_all_links_to(lineage.latest_common_version())


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), itertools.repeat(main)))
