"""The reference page, generated: `python -m exporter.reference > exporter/METRICS.md`; a test compares."""

from __future__ import annotations

import sys

from exporter.definition import Definition
from exporter.metrics import METRICS, PROBE_METRICS

_HEAD = """\
# Metrics

Generated from `metrics.py` by `python -m exporter.reference`; do not edit.

Values are polled in the background and rendered when they change: a scrape costs no look at a node. Every
`…_timestamp_seconds` is Unix time; subtract `time()`. Label values are cut at 256 characters, and what is not
UTF-8 in them becomes `?`; a value changed so ends in `~` and 12 digits of the whole one's SHA-256, so that no
two become one. `topic` is the whole UID (`com.apple.mgmt.External.…`).
"""

_PROBE = """\
# On /probe alone

Beside those above that are about certificates, nodes and devices, and mdm_topic_expiry_known, for the one
target.
"""


def page() -> str:
    """The page in Markdown."""
    return "\n".join([_HEAD, *map(_section, METRICS), _PROBE, *map(_section, PROBE_METRICS)])


def _section(metric: Definition) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    further = ", `label_<name>` for each label in the inventory" if metric.open_labels else ""
    expression, answers = metric.example
    return f"""\
## {metric.name}

{metric.help}

- Type: {metric.kind}{" (a gauge in the text format 0.0.4)" if metric.kind == "info" else ""}
- Labels: {labels}{further}
- Absent: {metric.absent}
- Example: {answers}

```promql
{expression}
```
"""


if __name__ == "__main__":
    sys.stdout.write(page())
