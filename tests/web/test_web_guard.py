"""Users, headers and rate limit in front of an application, without a network."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import Message

from renewctl.web import guard as guarding
from renewctl.web import users as checking
from renewctl.web.config import Rate, WebConfig
from renewctl.web.guard import Bucket, Guard
from renewctl.web.serving import _calm
from renewctl.web.users import Busy, Passwords, credentials
from tests.support.https import basic

CHEAP = {
    name: bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()
    for name, word in [("alice", "swordfish"), ("bob", "päss")]
}
LONG = "x" * 72


async def asked(app: Any, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str]]:
    """Status and headers of one request."""
    got: list[Message] = []
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": raw}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        got.append(message)

    await app(scope, receive, send)
    return got[0]["status"], {name.decode(): value.decode() for name, value in got[0]["headers"]}


def ask(app: Any, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str]]:
    """`asked`, from the outside."""
    return asyncio.run(asked(app, headers))


def behind(config: WebConfig) -> Guard:
    """An application that says hello, behind this web config."""
    return Guard(
        PlainTextResponse("hello", headers={"X-Own": "1", "Content-Security-Policy": "own"}), lambda: config
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (basic("alice", "swordfish"), 200),
        (basic("bob", "päss"), 200),
        ({"Authorization": basic("alice", "swordfish")["Authorization"].replace("Basic", "bAsIc")}, 200),
        (basic("alice", "Swordfish"), 401),
        (basic("alice", ""), 401),
        (basic("bob", "swordfish"), 401),
        (basic("eve", "swordfish"), 401),
        (basic("", ""), 401),
        ({}, 401),
        ({"Authorization": "Basic"}, 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": "Basic YWxpY2U="}, 401),
        ({"Authorization": "Bearer swordfish"}, 401),
    ],
)
def test_who_is_let_in(headers: Mapping[str, str], status: int) -> None:
    """The right password of a user there is; everybody else is asked for one."""
    got, told = ask(behind(WebConfig(users=CHEAP)), headers)
    assert got == status
    assert ("www-authenticate" in told) is (status == 401)


def test_bytes_beyond_what_bcrypt_takes_do_not_count() -> None:
    """As in Go; Python's bcrypt would raise, and the answer be a 500."""
    users = {"alice": bcrypt.hashpw(LONG.encode(), bcrypt.gensalt(4)).decode()}
    assert ask(behind(WebConfig(users=users)), basic("alice", LONG + "more"))[0] == 200
    assert ask(behind(WebConfig(users=users)), basic("alice", LONG[:-1]))[0] == 401


class Counted:
    """bcrypt's place: notes each check, and how many ran at once; none ends before `go_on` is set."""

    def __init__(self, seconds: float = 0) -> None:
        self.checked: list[tuple[bytes, str]] = []
        self.most = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self._now = 0
        self._lock = threading.Lock()
        self._seconds = seconds

    def __call__(self, password: bytes, hashed: str) -> bool:
        """One check."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.checked.append((password, hashed))
        time.sleep(self._seconds)
        assert self.go_on.wait(60)
        with self._lock:
            self._now -= 1
        return password == b"swordfish"


def test_a_password_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right or wrong: the next scrape with it costs nothing, until the hash in the file changes."""
    counted = Counted()
    monkeypatch.setattr(checking, "_fits", counted)

    async def scrapes() -> list[bool]:
        passwords = Passwords()
        one = [await passwords.right(CHEAP, "alice", b"swordfish") for _ in range(3)]
        two = [await passwords.right(CHEAP, "alice", b"wrong") for _ in range(3)]
        changed = {"alice": CHEAP["bob"]}
        return [*one, *two, await passwords.right(changed, "alice", b"swordfish")]

    assert asyncio.run(scrapes()) == [True] * 3 + [False] * 3 + [True]
    assert [password for password, _ in counted.checked] == [b"swordfish", b"wrong", b"swordfish"]


def test_an_unknown_user_costs_as_much_as_a_known_one_and_is_never_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the time an answer takes would tell which names there are; even with a right password of another's."""
    counted = Counted()
    monkeypatch.setattr(checking, "_fits", counted)

    async def guesses() -> list[bool]:
        passwords = Passwords()
        await passwords.right(CHEAP, "alice", b"swordfish")
        return [await passwords.right(CHEAP, name, b"swordfish") for name in ("eve", "eve", "mallory")]

    assert asyncio.run(guesses()) == [False] * 3
    assert len(counted.checked) == 3  # alice, eve, mallory
    assert {hashed for _, hashed in counted.checked} <= set(CHEAP.values())


@pytest.mark.parametrize("order", [1, -1])
def test_every_name_costs_the_same_work_whatever_the_costs_of_the_hashes(
    monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    """Rounds of bcrypt, counted: of a cheap hash, a dear one and none at all, in any order in the file."""
    dear = bcrypt.hashpw(b"another", bcrypt.gensalt(7)).decode()
    users = dict([*CHEAP.items(), ("dear", dear)][::order])
    counted = Counted()
    monkeypatch.setattr(checking, "_fits", counted)

    async def rounds(name: str) -> int:
        counted.checked.clear()
        assert not await Passwords().right(users, name, b"wrong")
        return sum(2 ** int(hashed.split("$")[2]) for _, hashed in counted.checked)

    assert {name: asyncio.run(rounds(name)) for name in ("alice", "bob", "dear", "eve")} == dict.fromkeys(
        ("alice", "bob", "dear", "eve"), 2**7
    )


def test_the_further_rounds_are_real_and_do_not_count() -> None:
    """They are hashes bcrypt takes; only the user's own hash lets somebody in."""
    dear = bcrypt.hashpw(b"another", bcrypt.gensalt(6)).decode()
    app = behind(WebConfig(users={**CHEAP, "dear": dear}))
    for name, word, status in [
        ("alice", "swordfish", 200),
        ("alice", "another", 401),
        ("dear", "another", 200),
    ]:
        assert ask(app, basic(name, word))[0] == status
    cheap = CHEAP["alice"]
    assert bcrypt.checkpw(b"x", f"{cheap[:4]}05{cheap[6:]}".encode()) is False  # and not an error


def test_guesses_wait_in_line_and_the_line_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One check at a time, whatever the number of guesses; who is known already does not wait at all."""
    counted = Counted(0.02)
    monkeypatch.setattr(checking, "_fits", counted)
    monkeypatch.setattr(checking, "LONGEST_LINE", 8)

    async def attack() -> tuple[list[object], bool]:
        passwords = Passwords()
        await passwords.right(CHEAP, "alice", b"swordfish")
        guesses = [
            asyncio.create_task(passwords.right(CHEAP, "alice", str(number).encode())) for number in range(50)
        ]
        await asyncio.sleep(0)
        known = await passwords.right(CHEAP, "alice", b"swordfish")
        return list(await asyncio.gather(*guesses, return_exceptions=True)), known

    ended, known = asyncio.run(attack())
    assert known
    assert counted.most == 1
    assert sum(isinstance(one, Busy) for one in ended) == 50 - (checking.LONGEST_LINE + 1)
    assert ended.count(False) == (checking.LONGEST_LINE + 1)


@pytest.mark.parametrize(
    ("crowd", "newcomer", "let_in"),
    [
        (["10.0.0.1"] * 20, "10.0.0.2", True),
        (["10.0.0.1"] * 20, "10.0.0.1", False),
        ([f"2001:db8::{number:x}" for number in range(20)], "2001:db8:0:1::1", True),
        ([f"2001:db8::{number:x}" for number in range(20)], "2001:db8::ffff:1%eth0", False),
        (["::ffff:10.0.0.1"] * 20, "::ffff:10.0.0.2", True),
        ([f"10.0.0.{number}" for number in range(20)], "10.0.1.1", False),
        (["/run/socket"] * 20, "10.0.0.2", True),
    ],
    ids=["another", "the same", "another /64", "the same /64", "mapped", "a crowd", "no address"],
)
def test_whoever_has_most_in_the_line_makes_room(
    monkeypatch: pytest.MonkeyPatch, crowd: list[str], newcomer: str, let_in: bool
) -> None:
    """So one address cannot shut another out: it loses its latest guess, which is told to come again."""
    counted = Counted()
    counted.go_on.clear()  # else the first is checked before the last has come, on a busy machine
    monkeypatch.setattr(checking, "_fits", counted)
    monkeypatch.setattr(checking, "LONGEST_LINE", 4)

    async def attack() -> tuple[list[object], object]:
        passwords = Passwords()
        guesses = []
        for number, address in enumerate(crowd):
            guesses.append(
                asyncio.create_task(passwords.right(CHEAP, "alice", str(number).encode(), address))
            )
            await asyncio.sleep(0)
        scrape = asyncio.create_task(passwords.right(CHEAP, "alice", b"swordfish", newcomer))
        await asyncio.sleep(0)
        counted.go_on.set()
        ended = await asyncio.gather(*guesses, scrape, return_exceptions=True)
        assert (len(passwords._line), passwords._asked) == (0, {})
        return ended[:-1], ended[-1]

    ended, scraped = asyncio.run(attack())
    assert (scraped is True) if let_in else isinstance(scraped, Busy)
    assert ended.count(False) == 1 + 4 - let_in  # one is checked, four wait
    assert sum(isinstance(one, Busy) for one in ended) == 15 + let_in


def test_a_scrape_that_is_given_up_is_checked_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scraper whose patience ended, and that comes again meanwhile: one check, whose place in the line it keeps."""
    counted = Counted(0.05)
    monkeypatch.setattr(checking, "_fits", counted)

    async def scrapes() -> list[bool]:
        passwords = Passwords()
        one = asyncio.create_task(passwords.right(CHEAP, "alice", b"swordfish"))
        await asyncio.sleep(0)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        two = [asyncio.create_task(passwords.right(CHEAP, "alice", b"swordfish")) for _ in range(3)]
        return await asyncio.gather(*two)

    assert asyncio.run(scrapes()) == [True] * 3
    assert len(counted.checked) == 1


def test_a_scrape_waits_for_one_check_of_a_crowd_at_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses take turns: it does not matter how dear a check is, or how many wait."""
    counted = Counted(0.01)
    monkeypatch.setattr(checking, "_fits", counted)

    async def attack() -> bool:
        passwords = Passwords()
        guesses = [
            asyncio.create_task(passwords.right(CHEAP, "alice", str(number).encode(), "10.0.0.1"))
            for number in range(60)
        ]
        await asyncio.sleep(0)
        found = await passwords.right(CHEAP, "alice", b"swordfish", "10.0.0.2")
        assert len(counted.checked) <= 4
        await asyncio.gather(*guesses)
        return found

    assert asyncio.run(attack())
    assert len(counted.checked) == 61


def test_a_check_that_breaks_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory, for example: whoever asked is told, the next one is checked."""

    def breaks(password: bytes, _hashed: str) -> bool:
        if password == b"breaks":
            raise MemoryError
        return True

    monkeypatch.setattr(checking, "_fits", breaks)

    async def asks() -> list[object]:
        passwords = Passwords()
        words = [b"breaks", b"swordfish", b"breaks"]
        return [
            *await asyncio.gather(
                *(passwords.right(CHEAP, "alice", word) for word in words), return_exceptions=True
            )
        ]

    first, second, third = asyncio.run(asks())
    assert (type(first), second, type(third)) == (MemoryError, True, MemoryError)


def test_whoever_does_not_fit_into_the_line_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 and when; not a 401, which a scraper would take for a wrong password."""
    monkeypatch.setattr(checking, "LONGEST_LINE", 0)
    status, headers = ask(behind(WebConfig(users=CHEAP)), basic("alice", "swordfish"))
    assert (status, headers["retry-after"]) == (503, "1")


def test_wrong_passwords_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many are remembered, the oldest is forgotten; right ones are not pushed out by them."""
    counted = Counted()
    monkeypatch.setattr(checking, "_fits", counted)
    monkeypatch.setattr(checking, "REMEMBERED", 5)

    async def guesses() -> Passwords:
        passwords = Passwords()
        await passwords.right(CHEAP, "alice", b"swordfish")
        for number in range(20):
            await passwords.right(CHEAP, "alice", str(number).encode())
        await passwords.right(CHEAP, "alice", b"swordfish")
        return passwords

    assert len(asyncio.run(guesses())._wrong) == 5
    assert len(counted.checked) == 21


@given(st.text())
def test_any_authorization_header_is_read_or_refused(header: str) -> None:
    """Never an error: it would be a 500 for the asking."""
    found = credentials(header)
    assert found is None or isinstance(found[1], bytes)


def test_headers_are_added_where_the_application_has_none() -> None:
    """What an answer says itself stays; a refusal carries them, too."""
    config = WebConfig(users=CHEAP, headers={"X-Frame-Options": "deny", "Content-Security-Policy": "file"})
    _, told = ask(behind(config), basic("alice", "swordfish"))
    assert (told["x-frame-options"], told["content-security-policy"]) == ("deny", "own")
    _, told = ask(behind(config))
    assert (told["x-frame-options"], told["content-security-policy"]) == ("deny", "file")


def test_requests_above_the_rate_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """429 and when to come again, before any password is looked at; one more token each interval."""
    now = [100.0]
    monkeypatch.setattr(guarding.time, "monotonic", lambda: now[0])
    app = behind(WebConfig(users=CHEAP, rate=Rate(2.0, 3)))
    wrong = basic("alice", "wrong")

    async def run() -> list[int]:
        return [(await asked(app, wrong))[0] for _ in range(4)]

    assert asyncio.run(run()) == [401, 401, 401, 429]
    assert ask(app, wrong)[1]["retry-after"] == "2"
    now[0] += 2.0
    assert asyncio.run(run())[:2] == [401, 429]


@given(st.lists(st.floats(0, 10), max_size=30), st.integers(1, 5))
def test_a_bucket_never_gives_more_than_burst_and_what_came_back(waits: list[float], burst: int) -> None:
    """However requests come."""
    with pytest.MonkeyPatch.context() as patch:
        now = [0.0]
        patch.setattr(guarding.time, "monotonic", lambda: now[0])
        bucket = Bucket(Rate(1.0, burst))
        given_out = 0
        for wait in waits:
            now[0] += wait
            given_out += bucket.take() == 0
        assert given_out <= burst + now[0] + 1e-6


def test_what_an_application_did_not_expect_is_a_500_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Its type; not its text, which may be what was sent, and no traceback."""

    async def broken(*_: object) -> None:
        raise ValueError("what somebody sent")

    with caplog.at_level(logging.INFO, "web"):
        assert ask(_calm(broken))[0] == 500
    assert [record.getMessage() for record in caplog.records] == ["/ failed: ValueError"]
    assert caplog.records[0].exc_info is None
