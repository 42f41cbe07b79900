"""What a parser of bytes from outside is, as the table lists it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Made:
    """A parser ready to be fed.

    Attributes:
        take: gives it bytes; whatever it returns does not matter.
        good: examples it takes without a word; every mutation begins from one of them.
        bad: bombs for this one alone, beside those everyone is given (`bombs`).
        told: the reason each of those is refused with; "": any answer will do. A bomb that is refused for another
            reason never went off.
    """

    take: Callable[[bytes], object]
    good: Sequence[bytes]
    bad: Sequence[bytes] = ()
    told: str = ""


@dataclass(frozen=True)
class Parser:
    """One row of the table.

    Attributes:
        name: `<file in parsers/>.<what>`; also its folder of seeds.
        make: called once in the child process: keys and folders of a test's life are made there.
        modules: those of the product whose reading of bytes this row covers, dotted.
        refuses: what it may raise, as its docstring says; anything else is a bug.
        json: good examples are JSON, so their values are exchanged too, not only their bytes.
        examples: share of the usual number of random inputs; less for what starts processes.
        seconds: what one input may take.
    """

    name: str
    make: Callable[[], Made]
    modules: Sequence[str]
    refuses: tuple[type[BaseException], ...] = field(default=())
    json: bool = False
    examples: float = 1.0
    seconds: float = 1.0
