"""The size bars: files and functions stay small enough to be read in one go."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE_LINES = 400
FUNCTION_LINES = 60
P90_LINES = 35


def _sources() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        path for name in listed.stdout.split() if (path := ROOT / name).is_file() and not path.is_symlink()
    ]


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_no_file_is_longer_than_400_lines() -> None:
    """No Python file of ours, tests included, is over 400 lines."""
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in _sources()}
    assert sizes, "no sources found: the check would prove nothing"
    assert not {name: lines for name, lines in sizes.items() if lines > FILE_LINES}


def test_no_function_is_longer_than_60_lines_and_nine_of_ten_are_under_35() -> None:
    """No function is over 60 lines; the 90th percentile stays under 35."""
    lengths = dict(found for path in _sources() for found in _functions(path))
    assert lengths
    assert not {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}
    ordered = sorted(lengths.values())
    assert ordered[int(len(ordered) * 0.9)] < P90_LINES


def test_nothing_is_skipped() -> None:
    """No test can be skipped or expected to fail: a skipped test is a failed test."""
    words = ["pytest." + "skip", "skip" + "if", "import" + "orskip", "x" + "fail("]
    guilty = {
        str(path.relative_to(ROOT)): word
        for path in _sources()
        if "tests" in path.parts
        for word in words
        if word in path.read_text()
    }
    assert not guilty
