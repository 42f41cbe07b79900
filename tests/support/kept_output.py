"""What tests leave for people to look at: pictures, tables. `make clean` removes it."""

from __future__ import annotations

from pathlib import Path

OUTPUT = Path(__file__).parents[2] / "test-output"


def keep(name: str, text: str) -> None:
    """A file of text, replaced whole."""
    OUTPUT.mkdir(exist_ok=True)
    beside = OUTPUT / f".{name}.new"
    beside.write_text(text, encoding="utf-8")
    beside.replace(OUTPUT / name)
