"""Whatever bytes come from outside: taken or refused, within a second, within 200 MB; nothing else ever."""

from __future__ import annotations

import pytest

from tests.hostile.feeding import EXAMPLES, feed_bombs, feed_random, require_harmless
from tests.hostile.limited import Limited
from tests.hostile.parser import Parser
from tests.hostile.table import everyone, seeds

ALL = everyone()
WITH_SEEDS = [parser for parser in ALL if seeds(parser)]


@pytest.mark.parametrize("parser", WITH_SEEDS, ids=[parser.name for parser in WITH_SEEDS])
def test_what_once_did_harm_does_none(parser: Parser) -> None:
    """Every input that was ever found, again."""
    with Limited(parser) as child:
        for path in seeds(parser):
            require_harmless(parser, child, path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("parser", ALL, ids=[parser.name for parser in ALL])
def test_bombs_and_spoilt_examples_do_no_harm(parser: Parser) -> None:
    """Inputs made to hurt, then good examples spoilt at random: the same ones each time, new ones by `make fuzz`."""
    with Limited(parser) as child:
        feed_bombs(parser, child)
        feed_random(parser, child, examples=EXAMPLES, again=True)
