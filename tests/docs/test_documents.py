"""What README, CONTRIBUTING, SECURITY and CHANGELOG say is so."""

from __future__ import annotations

import functools
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from renewctl.cli.main import INTERRUPTED
from renewctl.errors import ExitCode
from renewctl.inventory.reading import load
from renewctl.renewal.rules import Phase
from renewctl.sandbox.worlds import WORLDS
from tests.support import alerting

ROOT = alerting.ROOT
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "AUDIT.md",
    "AUDIT.ja.md",
    "RESTORE.md",
    "RESTORE.ja.md",
    "exporter/DEPLOY.md",
]


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _shell(page: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", _text(page), re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@functools.cache
def _help(module: str, *words: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", module, *words, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, (words, ended.stderr)
    return ended.stdout


def _has_options(text: str, command: str) -> bool:
    options = [word.split("=")[0] for word in shlex.split(command) if word.startswith("--")]
    return all(re.search(rf"{re.escape(option)}\b", text) for option in options)


def test_first_screen_has_the_two_commands() -> None:
    """Whoever opens the README sees `make demo` and `make test` without scrolling."""
    first = "\n".join(_text("README.md").splitlines()[:20])
    assert "make demo" in first
    assert "make test" in first


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    """Every relative link of the page exists in the repository."""
    targets = re.findall(r"\]\(([^)#]+)\)", _text(page))
    assert [
        target for target in targets if "://" not in target and not ((ROOT / page).parent / target).exists()
    ] == []


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    """Every `make …` of the page is a target of the Makefile."""
    targets = set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    inline = re.findall(r"`make ([a-z0-9-]+)", _text(page)) + [
        line.split()[1] for line in _shell(page) if line.startswith("make ")
    ]
    assert set(inline) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_renewctl_commands_exist(page: str) -> None:
    """Every `renewctl …` of the page is a command of the real CLI with the options shown."""
    inline = re.findall(r"`(renewctl [a-z][^`|]*)`", _text(page))
    for command in inline + [line for line in _shell(page) if line.startswith("renewctl ")]:
        words = [word for word in shlex.split(command)[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
        assert _has_options(_help("renewctl", *words), command), command


def test_both_languages_tell_an_auditor_the_same() -> None:
    """AUDIT.md and AUDIT.ja.md have as many sections, points and commands."""
    english, japanese = _text("AUDIT.md"), _text("AUDIT.ja.md")
    for pattern in (r"^## ", r"^- ", r"^\d\. "):
        assert len(re.findall(pattern, english, re.MULTILINE)) == len(
            re.findall(pattern, japanese, re.MULTILINE)
        )
    commands = [line.replace(" --lang ja", "") for line in _shell("AUDIT.ja.md")]
    assert commands == _shell("AUDIT.md")


@pytest.mark.parametrize("page", ["AUDIT.ja.md", "RESTORE.ja.md"])
def test_japanese_pages_use_our_words(page: str) -> None:
    """DESIGN.md's words, and one rendering of each."""
    refused = r"サーバ(?!ー)|ユーザ(?!ー)|インベントリ(?!ー)|フォルダ(?!ー)|プッシュ証明書|ロールバック|ロールアウト|(?<!有効)期限切れ|端末"
    assert not re.search(refused, _text(page))


def test_exporter_command_exists() -> None:
    """The README's `renewctl-exporter` line has only flags the exporter knows."""
    [command] = [line for line in _shell("README.md") if line.startswith("renewctl-exporter")]
    assert _has_options(_help("exporter.main"), command)


def test_inventory_example_is_valid(tmp_path: Path) -> None:
    """The README's inventory loads: one topic, three nodes, two of them on one storage."""
    [example] = re.findall(r"```yaml\n(.*?)```", _text("README.md"), re.DOTALL)
    path = tmp_path / "renewctl.yaml"
    path.write_text(example, encoding="utf-8")
    inventory = load(path)
    assert [topic.id for topic in inventory.topics] == ["tokyo"]
    assert [node.storage for node in inventory.nodes] == ["main", "main", "branch"]


def test_exit_codes_are_all_told() -> None:
    """The README's table has exactly the exit codes there are."""
    section = _text("README.md").split("### Exit codes")[1].split("###")[0]
    assert [int(code) for code in re.findall(r"^\| (\d) \|", section, re.MULTILINE)] == [
        int(code) for code in ExitCode
    ]


def test_phases_are_all_told() -> None:
    """The README names every phase."""
    section = _text("README.md").split("### Phases of a renewal")[1].split("##")[0]
    assert set(re.findall(r"`([a-z_]+)`", section)) == {phase.value for phase in Phase}


def test_alerts_are_all_told() -> None:
    """The README's table has every alert."""
    assert set(re.findall(r"^\| (\w+) \| .* \| \[en\]", _text("README.md"), re.MULTILINE)) == set(
        alerting.alerts()
    )


def test_worlds_named_exist() -> None:
    """A world the README or the CHANGELOG speaks of can be demonstrated."""
    assert set(re.findall(r"WORLD=([a-z-]+)", _text("README.md"))) <= {world.name for world in WORLDS}
    assert len(WORLDS) == 8
    assert "Eight worlds" in _text("CHANGELOG.md")


def test_every_dependency_has_a_reason() -> None:
    """CONTRIBUTING names each runtime dependency with one line why, and each tool of development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    runtime = project["dependencies"] + [
        item for name in extras if name not in {"dev", "build"} for item in extras[name]
    ]
    names = {re.split(r"[<>=\[; ]", item)[0].lower() for item in runtime} - {"renewctl"}
    text = _text("CONTRIBUTING.md").lower()
    table = {row.split("[")[0] for row in re.findall(r"^\| ([\w\-\[\]0-9]+) \| ", text, re.MULTILINE)}
    assert names <= table
    tools = {re.split(r"[<>=\[; ]", item)[0].lower() for item in extras["dev"]} - {"renewctl"}
    assert [tool for tool in tools if tool not in text and not tool.startswith("types-")] == []


def _crash_rows() -> list[tuple[str, str, list[int]]]:
    """Part, command and the four figures of each row in the tables of `make crash`."""
    found = re.findall(
        r"^\| (\w+) \| (.+?) \|((?: [\d,]+ \|){4})$", _text("tests/crash/README.md"), re.MULTILINE
    )
    return [
        (part, command, [int(figure.replace(",", "")) for figure in figures.split("|")[:-1]])
        for part, command, figures in found
    ]


def test_readme_says_of_kills_what_their_table_says() -> None:
    """Every kill survived, on both stores and in roll-outs; certbot's figures; no count of kills that could grow old."""
    rows = _crash_rows()
    assert {part for part, _, _ in rows} == {"sqlite", "postgresql", "rollout", "beside"}
    assert [row for row in rows if row[0] != "beside" and len(set(row[2])) != 1] == []
    (section,) = re.findall(r"^## When it is killed\n(.*?)^## ", _text("README.md"), re.DOTALL | re.MULTILINE)
    told = re.search(
        r"certbot ([\d.]+),.* consistent\s+after (\d+) of (\d+) kills\s+and healed after (\d+)\.",
        section,
        re.DOTALL,
    )
    assert told is not None
    version, consistent, kills, healed = told.groups()
    beside = [figures for part, command, figures in rows if part == "beside" and f" {version}," in command]
    assert beside
    assert all(row[1:] == [int(kills), int(consistent), int(healed)] for row in beside)
    assert set(re.findall(r"\d[\d.,]*\b", section)) == set(told.groups())


def test_points_of_commands_are_those_of_the_last_run() -> None:
    """The table of points and that of kills name the same figures, and `all` is their sum."""
    text = _text("tests/crash/README.md")
    points = {
        name: int(figure) for name, figure in re.findall(r"^\| ([^|]+) \| (\d+) \|$", text, re.MULTILINE)
    }
    assert points.pop("all") == sum(points.values())
    run = {command: figures[0] for part, command, figures in _crash_rows() if part == "sqlite"}
    assert {name.partition("`,")[0].strip("`"): figure for name, figure in points.items()} == {
        command.strip("`"): figure for command, figure in run.items() if command.startswith("`")
    }


def test_changelog_begins_with_unreleased() -> None:
    """The newest section is [Unreleased] or the project's version."""
    first = re.findall(r"^## \[(.+?)\]", _text("CHANGELOG.md"), re.MULTILINE)[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert first in {"Unreleased", project["version"]}


def test_an_interrupted_command_has_its_exit_code_in_the_readme() -> None:
    """130 and 143 are no `ExitCode`, but scripts see them."""
    assert re.search(rf"^\| {128 + signal.SIGTERM} \|", _text("README.md"), re.MULTILINE)
    assert re.search(rf"^\| {INTERRUPTED} \|", _text("README.md"), re.MULTILINE)


def test_layers_drawn_are_the_layers_checked() -> None:
    """CONTRIBUTING's diagram is the import contract of pyproject.toml, line by line."""
    contracts = tomllib.loads(_text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    drawn = re.findall(r"```\n( cli\n.*?)```", _text("CONTRIBUTING.md"), re.DOTALL)
    assert [line.strip() for line in drawn[0].splitlines()] == contracts[0]["layers"]
