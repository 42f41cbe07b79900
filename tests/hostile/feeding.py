"""Feeding one parser: what is shown of a fault, and where the input is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, settings

from tests.hostile.bombs import bombs
from tests.hostile.limited import Limited
from tests.hostile.mutations import inputs
from tests.hostile.parser import Parser
from tests.hostile.table import ROOT

FOUND = ROOT / ".cache" / "hostile"
"""Where an input that does harm is written: once mended, it moves to `seeds/<parser>/`."""

EXAMPLES = int(os.environ.get("RENEWCTL_HOSTILE_EXAMPLES", "40"))
"""Random inputs a parser, times its own share."""

_SHOWN = 300


def harm(parser: Parser, child: Limited, data: bytes, reason: str = "") -> str | None:
    """What an input did that it must not, told so that it can be done again; None: nothing.

    Args:
        reason: what it must be refused with; "": any answer will do.
    """
    found = child.feed(data)
    fault = found.fault(parser)
    if fault is None and reason and found.words != reason:
        fault = f"no bomb: {found.outcome} {found.words}, not refused {reason}"
    if fault is None:
        return None
    path = FOUND / parser.name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    shown = repr(data[:_SHOWN]) + ("…" if len(data) > _SHOWN else "")
    return f"{parser.name}: {fault}\nwith {len(data)} bytes, {path}:\n{shown}"


def require_harmless(parser: Parser, child: Limited, data: bytes, reason: str = "") -> None:
    """Fail with what `harm` tells."""
    told = harm(parser, child, data, reason)
    assert told is None, told


def feed_bombs(parser: Parser, child: Limited) -> None:
    """Good examples are taken; everybody's bombs and this one's own do no harm."""
    assert set(child.first) == {"taken"}, f"{parser.name} does not take its own good examples"
    for data in child.bad:
        require_harmless(parser, child, data, child.told)
    for data in bombs().values():
        require_harmless(parser, child, data)


def feed_random(
    parser: Parser, child: Limited, *, examples: int, again: bool, found: Callable[[str], None] | None = None
) -> None:
    """Random inputs.

    Args:
        examples: how many, before the parser's own share.
        again: the same ones each time; else new ones.
        found: told of each harm, and it goes on; None: the first one fails.
    """

    @settings(
        max_examples=max(3, int(examples * parser.examples)),
        deadline=None,
        database=None,
        derandomize=again,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(child.good, json_too=parser.json))
    def fed(data: bytes) -> None:
        if found is None:
            require_harmless(parser, child, data)
        elif told := harm(parser, child, data):
            found(told)

    fed()
