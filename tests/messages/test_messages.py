"""Sentences: complete, equal in both languages, in our words."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from renewctl import messages, messages_build
from renewctl.messages_build import is_current, merged
from renewctl.messages_build import sentences as forms_of
from renewctl.reasons import Reason

ROOT = Path(messages.__file__).parents[1]
CATALOGUES = {
    language: {key: "\n".join(forms) for key, forms in forms_of(language).items()}
    for language in messages.LANGUAGES
}

REFUSED = {
    r"サーバ(?!ー)": "サーバー",
    r"ユーザ(?!ー)": "ユーザー",
    r"ベンダ(?!ー)": "ベンダー",
    r"フォルダ(?!ー)": "フォルダー",
    r"インベントリ(?!ー)": "インベントリー",
    r"(?<!Apple )Push証明書|プッシュ証明書|APNs証明書": "Apple Push証明書",
    r"(?<!有効)期限切れ|満了|失効切れ": "有効期限切れ",
    r"(?<!有効)(?<!アップロード)期限日": "有効期限",
    r"ロールアウト": "展開",
    r"ロールバック": "切り戻し",
    r"カナリア": "先行ノード／先行デバイス",
    r"(?<!証明書要求\()(?<!MDM Vendor )CSR": "証明書要求(CSR)",
    r"署名要求|署名リクエスト": "証明書要求(CSR)",
    r"(?<!旧)Apple ID": "Apple Account（旧Apple ID）",
    r"2要素|二要素|二段階|２ファクタ|2段階": "2ファクタ認証",
    r"認証コード|検証コード": "確認コード",
    r"プライベートキー|プライベート鍵": "秘密鍵",
    r"鍵ストア|キーストア": "鍵保管庫",
    r"暗号化先(?!（公開鍵）)": "暗号化先（公開鍵）",
    r"端末|機器": "デバイス",
    r"再エンロール|再加入": "再登録",
    r"副担当|代理人": "代理者",
    r"フリーズ": "変更凍結期間",
    r"ランブック|(?<!対応)手順書": "対応手順書",
    r"更新済証|新証明書": "新しいApple Push証明書",
}
"""Renderings DESIGN.md §4 does not have -> the one it has."""


def test_every_reason_has_a_sentence_and_a_hint_in_both_languages() -> None:
    """A reason without words would leave a person with a code."""
    for language, sentences in CATALOGUES.items():
        missing = [
            key for reason in Reason for key in (reason.value, f"{reason.value}.hint") if key not in sentences
        ]
        assert missing == [], language


def test_both_languages_have_the_same_sentences_with_the_same_values() -> None:
    """Neither language says less: same keys, same placeholders."""
    english, japanese = CATALOGUES["en"], CATALOGUES["ja"]
    assert sorted(set(english) ^ set(japanese)) == []
    differing = [
        key for key in english if messages.placeholders(key, "en") != messages.placeholders(key, "ja")
    ]
    assert differing == []


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_compiled_catalogues_are_current(language: str) -> None:
    """What is shipped says what the sources say (`make catalogues`); fuzzy, empty or double keys stop the build."""
    assert is_current(language)


def test_every_sentence_can_be_filled_in() -> None:
    """No sentence has broken braces, and values that are not given leave a dash, not a traceback."""
    for language, sentences in CATALOGUES.items():
        for key in sentences:
            assert messages.text(key, language).strip() or key == ""


_SPEAKERS = {"text", "say", "show", "show_red", "working", "Step", "Warn", "ask", "ask_secret"}


def _literal_keys(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0]
        if name in _SPEAKERS and isinstance(first, ast.Constant) and isinstance(first.value, str):
            found.add(first.value)
        found |= {
            word.value.value
            for word in node.keywords
            if word.arg == "help"
            and isinstance(word.value, ast.Constant)
            and isinstance(word.value.value, str)
        }
    return {key for key in found if re.fullmatch(r"[a-z_]+(\.[a-z_-]+)+", key)}


def test_every_key_used_in_code_exists() -> None:
    """Nobody is ever shown `status.some_key`."""
    sources = [*(ROOT / "renewctl").rglob("*.py"), *(ROOT / "exporter").rglob("*.py")]
    used = {key for path in sources if "sandbox" not in path.parts for key in _literal_keys(path)}
    assert sorted(used - set(CATALOGUES["en"])) == []


def test_japanese_uses_our_words() -> None:
    """One word for one thing (DESIGN.md §4): other renderings are refused."""
    wrong = [
        f"{key}: {found[0]} -> {right}"
        for key, sentence in CATALOGUES["ja"].items()
        for pattern, right in REFUSED.items()
        if (found := re.search(pattern, sentence))
    ]
    assert wrong == []


def test_a_node_not_yet_begun_is_not_called_owed() -> None:
    """Owed is what a roll-out missed; a node whose turn has not come is something else."""
    for language in messages.LANGUAGES:
        assert messages.text("node.untouched", language) != messages.text("state.owed", language)


def test_japanese_is_polite() -> None:
    """です・ます: no sentence ends in plain form."""
    plain = re.compile(r"(である|だった|しろ|せよ|(?<!ん)だ|できない|しない|された|ない)[。]?$")
    assert [key for key, sentence in CATALOGUES["ja"].items() if plain.search(sentence)] == []


@pytest.mark.parametrize(
    ("language", "zone", "shown"),
    [
        ("en", "Asia/Tokyo", "2027-01-21 (Thu) 09:30 JST"),
        ("ja", "Asia/Tokyo", "2027年1月21日(木) 09:30 JST"),
        ("en", "UTC", "2027-01-21 (Thu) 00:30 UTC"),
        ("en", "America/Los_Angeles", "2027-01-20 (Wed) 16:30 PST"),
        ("ja", "America/Sao_Paulo", "2027年1月20日(水) 21:30 America/Sao_Paulo"),
    ],
)
def test_instants_are_shown_in_the_topics_zone_with_its_name(language: str, zone: str, shown: str) -> None:
    """One way to show an instant; zones without letters are named whole."""
    assert messages.instant(datetime(2027, 1, 21, 0, 30, tzinfo=UTC), zone, language) == shown


@pytest.mark.parametrize(
    ("count", "english", "japanese"),
    [
        (42, "42 days left", "あと42日"),
        (1, "1 day left", "あと1日"),
        (0, "less than a day left", "あと1日未満"),
        (-1, "expired less than a day ago", "有効期限切れ（1日未満）"),
        (-2, "expired 1 day ago", "有効期限切れ（1日前）"),
        (-11, "expired 10 days ago", "有効期限切れ（10日前）"),
    ],
)
def test_days_left_in_words(count: int, english: str, japanese: str) -> None:
    """Days are rounded down, so -1 is a certificate that ended within the last day."""
    assert (messages.days(count, "en"), messages.days(count, "ja")) == (english, japanese)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "just now"), (61, "1 min ago"), (7200, "2 h ago"), (200_000, "2 d ago")]
)
def test_ages_in_words(seconds: float, shown: str) -> None:
    """One unit is enough."""
    assert messages.age(seconds, "en") == shown


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "ja_JP.UTF-8"}, "ja"),
        ({"LC_ALL": "", "LANG": "ja"}, "ja"),
    ],
)
def test_language_of_the_environment(environment: dict[str, str], language: str) -> None:
    """The first of LC_ALL, LC_MESSAGES, LANG that says anything decides; what we do not speak is English."""
    assert messages.language_of(environment) == language


def test_values_as_people_read_them() -> None:
    """Lists get commas, instants their zone, nothing a dash; braces in values stay braces."""
    shown = messages.text(
        "inventory_dangling", "en", where="f:1", path="nodes[0]", got="{x}", expected=("a", "b")
    )
    assert shown == "f:1: nodes[0] names {x}, which no topic has as its id; ids: a, b"
    assert "–" in messages.text("file_empty", "en", path=None)
    at = datetime(2027, 1, 1, tzinfo=UTC)
    assert "2027-01-01 (Fri) 00:00 UTC" in messages.text("file_empty", "en", path=at)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2027-01-20T23:30:00Z", "2027-01-21 (Thu) 08:30 JST"),
        ("n1: 0b (2027-01-20T23:30:00Z), n2: 0c", "n1: 0b (2027-01-21 (Thu) 08:30 JST), n2: 0c"),
        ("uid 2027-01-20T23:30:00+00:00", "uid 2027-01-21 (Thu) 08:30 JST"),
        ("/backup/2027-01-20T23:30:00Z/push.pem", "/backup/2027-01-20T23:30:00Z/push.pem"),
        ("push-2027-01-20T23:30:00Z.pem", "push-2027-01-20T23:30:00Z.pem"),
        ("a server's 2026-99-99T99:99:99Z", "a server's 2026-99-99T99:99:99Z"),
        ("until 9999-12-31T23:59:59Z", "until 9999-12-31 (Fri) 23:59 UTC"),
    ],
)
def test_instants_within_a_text(value: str, shown: str) -> None:
    """In the zone asked for, wherever they stand; a path is left as it has to be typed."""
    assert messages.readable(value, "Asia/Tokyo", "en") == shown


@pytest.mark.parametrize("said", messages._SAID)
def test_what_the_system_says_is_told_in_the_readers_language(said: str) -> None:
    """The English stays as it is; Japanese readers get Japanese."""
    assert messages.readable(said, "UTC", "en") == said
    assert not str(messages.readable(said, "UTC", "ja")).isascii()
    assert said not in messages.text("store_unreachable", "ja", store="s", detail=said)


def test_a_missing_sentence_shows_its_key() -> None:
    """A missing word must never hide an error."""
    assert messages.text("no.such.key", "ja") == "no.such.key"
    assert not messages.has("no.such.key", "ja")
    assert messages.has("file_empty", "ja")


def test_the_ends_of_time_are_told_in_utc() -> None:
    """A certificate that "has no end" (year 9999) is shown, whatever the topic's zone."""
    endless = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert messages.instant(endless, "Asia/Tokyo", "en") == "9999-12-31 (Fri) 23:59 UTC"
    assert messages.day(endless, "Asia/Tokyo", "ja") == "9999年12月31日"


def test_the_day_alone() -> None:
    """Tables show the day, in the topic's zone."""
    at = datetime(2027, 1, 20, 23, 0, tzinfo=UTC)
    assert messages.day(at, "Asia/Tokyo", "en") == "2027-01-21"
    assert messages.day(at, "Asia/Tokyo", "ja") == "2027年1月21日"


PO = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'


@pytest.fixture
def locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Catalogues of our own, one file a language."""
    for language in messages.LANGUAGES:
        (tmp_path / language).mkdir()
        (tmp_path / language / "a.po").write_text(PO + 'msgid "a"\nmsgstr "A"\n')
    monkeypatch.setattr(messages_build, "LOCALE_FOLDER", tmp_path)
    return tmp_path


def test_building_writes_what_changed_and_nothing_else(
    locale: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second build leaves the files alone; a changed sentence is built anew."""
    messages_build.build()
    assert len(capsys.readouterr().err.splitlines()) == 2
    messages_build.build()
    assert capsys.readouterr().err == ""
    (locale / "ja" / "a.po").write_text(PO + 'msgid "a"\nmsgstr "B"\n')
    assert not is_current("ja")
    messages_build.build()
    assert capsys.readouterr().err.endswith("ja/LC_MESSAGES/renewctl.mo\n")
    assert is_current("ja")


@pytest.mark.parametrize(
    "entry",
    ['msgid "a"\nmsgstr "again"\n', 'msgid "b"\nmsgstr ""\n', '#, fuzzy\nmsgid "b"\nmsgstr "B"\n'],
    ids=["twice", "empty", "fuzzy"],
)
def test_a_bad_entry_stops_the_build(locale: Path, entry: str) -> None:
    """A key twice, an empty sentence, a fuzzy one: the build names the file and the key."""
    (locale / "en" / "b.po").write_text(PO + entry)
    with pytest.raises(ValueError, match=r"b\.po:\d+: [ab] is there twice"):
        merged("en")


@pytest.mark.parametrize(
    ("key", "values", "one", "two"),
    [
        ("roll.verify", {}, "proving 1 node", "proving 2 nodes"),
        ("days.left", {}, "1 day left", "2 days left"),
        ("node.asking", {}, "asking 1 node …", "asking 2 nodes …"),
    ],
)
def test_what_is_counted_agrees_with_its_count(
    key: str, values: dict[str, object], one: str, two: str
) -> None:
    """One node, two nodes; a language without plurals has one form."""
    assert [messages.text(key, "en", count=count, **values) for count in (1, 2)] == [one, two]
    assert "1" in messages.text(key, "ja", count=1)


def test_a_count_may_be_text() -> None:
    """Values out of events are text; the form fits all the same."""
    values = {"node": "n1", "seconds": "60"}
    assert "1 device woken did" in messages.text("proof_no_check_in", "en", devices="1", **values)
    assert "none of 3 devices" in messages.text("proof_no_check_in", "en", devices="3", **values)


def test_all_forms_of_a_sentence_show_the_same_values() -> None:
    """Neither form says less; English has two of each, Japanese one."""
    for language, count in (("en", 2), ("ja", 1)):
        counted = {key: forms for key, forms in forms_of(language).items() if len(forms) > 1}
        assert {len(forms) for forms in counted.values()} <= {count}
        for key, forms in counted.items():
            assert len({frozenset(re.findall(r"{(\w+)}", form)) for form in forms}) == 1, key
    shown = [
        key for key, text in CATALOGUES["en"].items() if re.search(r"\{(count|devices)\} [a-z]{3,}s\b", text)
    ]
    assert [key for key in shown if len(forms_of("en")[key]) < 2] == []


def test_a_list_of_nothing_is_none() -> None:
    """An empty list is known to be empty: a dash would say that nobody knows."""
    assert messages.text("topic_unknown", "en", got="x", expected=()).endswith("none")
    assert messages.text("topic_unknown", "ja", got="x", expected=[]).endswith("なし")
