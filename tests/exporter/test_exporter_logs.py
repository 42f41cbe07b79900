"""Log lines: one a record, readable by machines, no traceback but at debug."""

from __future__ import annotations

import json
import logging
import re
import sys

from hypothesis import given
from hypothesis import strategies as st

from exporter.logs import Formatter, as_json, logfmt


def record(message: str, *, failed: bool = False) -> logging.LogRecord:
    """A log record, with an exception or without."""
    error = None
    if failed:
        try:
            int("what a node sent")
        except ValueError:
            error = sys.exc_info()
    return logging.LogRecord("exporter", logging.WARNING, __file__, 1, message, None, error)


@given(st.text())
def test_any_message_is_one_line_that_reads_back(message: str) -> None:
    """Line breaks and quotes in what a node said forge no further line."""
    line = Formatter(logfmt, verbose=False).format(record(message))
    assert len(re.split(r"[\r\n]", line)) == 1
    word = line.partition(" msg=")[2]
    assert (json.loads(word) if word.startswith('"') else word) == message
    whole = Formatter(as_json, verbose=False).format(record(message))
    assert len(re.split(r"[\r\n]", whole)) == 1
    assert json.loads(whole)["msg"] == message


def test_an_error_is_its_type_and_place() -> None:
    """Its text may be a node's, and a traceback is for debug."""
    line = Formatter(logfmt, verbose=False).format(record("it failed", failed=True))
    assert re.search(r'level=warn msg="it failed" error="ValueError at .*test_exporter_logs.py:\d+"', line)
    assert "what a node sent" not in line


def test_at_debug_the_traceback_is_a_field_on_the_same_line() -> None:
    """So that a log shipper keeps it together."""
    line = Formatter(as_json, verbose=True).format(record("it failed", failed=True))
    assert "\n" not in line
    assert json.loads(line)["traceback"].startswith("Traceback")
