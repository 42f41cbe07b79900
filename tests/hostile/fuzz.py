"""`make fuzz`: new inputs for every parser, by hand. What does harm is printed, and kept until it is mended.

`python -m tests.hostile.fuzz SECONDS [PART]`: so long for each parser whose name begins so.
"""

from __future__ import annotations

import subprocess
import sys

from tests.hostile.feeding import FOUND, feed_random, harm
from tests.hostile.limited import Limited
from tests.hostile.parser import Parser
from tests.hostile.table import ROOT, everyone

_EXAMPLES = 300
_CORPUS = FOUND.with_name("hostile-corpus")
_LIMITS = ["-rss_limit_mb=600", "-timeout=5", "-max_len=70000", "-verbosity=0", "-print_final_stats=0"]


def led_by_coverage(parser: Parser, seconds: int) -> None:
    """Let libFuzzer look for a while; it stops at the first input that does harm and keeps it."""
    kept = FOUND / parser.name
    kept.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={kept}/", *_LIMITS]
    command = [
        sys.executable,
        "-m",
        "tests.hostile.coverage_led",
        parser.name,
        str(_CORPUS / parser.name),
        *options,
    ]
    subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=seconds + 120)


def fuzz(parser: Parser, seconds: int) -> int:
    """How many inputs do harm, each of them told."""
    told: list[str] = []
    with Limited(parser) as child:
        feed_random(parser, child, examples=_EXAMPLES, again=False, found=told.append)
        if parser.examples == 1:  # less have those that start processes or wait for them
            led_by_coverage(parser, seconds)
        found = FOUND / parser.name
        kept = sorted(found.iterdir()) if found.is_dir() else []
        told += [again for path in kept if (again := harm(parser, child, path.read_bytes()))]
    for text in dict.fromkeys(told):
        sys.stdout.write(f"{text}\n\n")
    sys.stdout.write(f"{parser.name}: {len(set(told))} found\n")
    sys.stdout.flush()
    return len(set(told))


def main() -> int:
    """1 where anything was found."""
    seconds, part = int(sys.argv[1]), "".join(sys.argv[2:3])
    return min(1, sum(fuzz(parser, seconds) for parser in everyone() if parser.name.startswith(part)))


if __name__ == "__main__":
    sys.exit(main())
