"""The child notices everything that a parser must not do; else the tests of parsers would show nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import Phase, given, settings

from tests.hostile import feeding, limited
from tests.hostile.bombs import bombs
from tests.hostile.der import with_number
from tests.hostile.limited import Limited
from tests.hostile.mutations import inputs
from tests.hostile.table import named

PARSER = named("faulty.everything")


@pytest.mark.parametrize("what", ["good", "refuse"])
def test_what_is_taken_or_refused_is_no_fault(what: str) -> None:
    """A documented error is an answer."""
    with Limited(PARSER) as child:
        assert child.feed(what.encode()).fault(PARSER) is None


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("raise", "raised: "),
        ("refuse unspeakably", "raised: no sentence"),
        ("die", "died: exit -11"),
        ("hang", "hung"),
        ("slow", "slow: 0.9 s"),
        ("large", "large: 2"),
    ],
)
def test_harm_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, told: str) -> None:
    """Each by its name, with the input and where it was kept; the next input finds a child again."""
    monkeypatch.setattr(limited, "_KILLED_AFTER", 0.5)
    monkeypatch.setattr(feeding, "FOUND", tmp_path)
    with Limited(PARSER) as child:
        harm = feeding.harm(PARSER, child, what.encode())
        assert harm is not None
        assert harm.startswith(f"{PARSER.name}: {told}")
        assert repr(what.encode()) in harm
        assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [what.encode()]
        assert feeding.harm(PARSER, child, b"good") is None


def test_a_bomb_that_does_not_go_off_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refused for another reason, or taken, it has shown nothing."""
    monkeypatch.setattr(feeding, "FOUND", tmp_path)
    with Limited(PARSER) as child:
        for what, became in (("refuse", "refused file_empty"), ("good", "taken ")):
            harm = feeding.harm(PARSER, child, what.encode(), "locked_too_costly")
            assert harm is not None
            assert f"no bomb: {became}, not refused locked_too_costly" in harm
        assert feeding.harm(PARSER, child, b"refuse", "file_empty") is None


def test_mutations_make_something_else() -> None:
    """Many inputs, nearly none the good example: a strategy that gave it back would test nothing."""
    good = b'{"a": [1, "b"], "c": null}'
    drawn: list[bytes] = []

    @settings(max_examples=100, deadline=None, database=None, phases=[Phase.generate])
    @given(inputs([good], json_too=True))
    def draw(data: bytes) -> None:
        drawn.append(data)

    draw()
    assert len(set(drawn)) > 60
    assert drawn.count(good) < 10


def test_bombs_are_what_they_are_called() -> None:
    """Small, most of them; none larger than two megabytes."""
    made = bombs()
    assert max(map(len, made.values())) <= 2 * 1024 * 1024
    assert made["brackets"] == b"[" * 100_000


def test_a_number_deep_in_der_is_exchanged() -> None:
    """Lengths around it are put right, also of an OCTET STRING that holds DER."""
    der = bytes.fromhex("3009" + "0407" + "3005" + "020104" + "0500")
    assert with_number(der, 4, 2**31 - 1) == bytes.fromhex("300c" + "040a" + "3008" + "02047fffffff" + "0500")
