"""The portal and the person: what is renewed keeps its UID, what is created does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from renewctl.sandbox import launch, person
from renewctl.sandbox.authority import Apple, new_topic, topic_of
from renewctl.sandbox.children import listen, port_of
from renewctl.sandbox.person import Deed, Person, PortalSaidNo
from tests.support import sandbox_parts as parts

OWNER, OTHER, LATE = "owner@example.com", "other@example.com", "late@example.com"
EMPTY = "empty@example.com"


@dataclass(frozen=True)
class Site:
    """A running portal and what a person brings to it."""

    url: str
    topic: str
    late_topic: str
    request: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A portal with four accounts: two rows, none, none that stays, and one that is past saving."""
    folder = tmp_path_factory.mktemp("portal")
    apple = Apple.create(parts.now())
    apple.save(folder)
    topic, late_topic = new_topic(), new_topic()
    entries = {
        OWNER: [_entry(apple, new_topic(), 200), _entry(apple, topic, 42)],
        OTHER: [],
        EMPTY: [],
        LATE: [_entry(apple, late_topic, -31)],
    }
    (folder / "accounts.json").write_text(json.dumps(entries))
    vendor = apple.vendor("Example Corp", ends=parts.in_days(100))
    (folder / "request").write_bytes(parts.request(apple, vendor).file())
    listener = listen()
    url = f"http://127.0.0.1:{port_of(listener)}"
    child = launch.portal(folder, folder, folder / "accounts.json", listener)
    try:
        child.wait_ready(parts.READY_SECONDS)
        yield Site(url, topic, late_topic, folder / "request")
    finally:
        child.stop()


def _entry(apple: Apple, topic: str, days: float) -> dict[str, str]:
    pair = apple.push_pair(topic, ends=parts.in_days(days))
    return {"vendor": "Example Corp", "certificate": pair.certificate_pem.decode()}


def certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in a file."""
    return x509.load_pem_x509_certificates(path.read_bytes())


def test_renew_keeps_the_topic(site: Site, tmp_path: Path) -> None:
    """The download is the leaf alone, named as Apple names it, with the same UID and a year ahead."""
    saved = person.act(
        Deed.RENEWS, portal=site.url, account=OWNER, topic=site.topic, request=site.request, folder=tmp_path
    )
    assert saved.name == "MDM_ Example Corp_Certificate.pem"
    (leaf,) = certificates(saved)
    assert topic_of(leaf) == site.topic
    assert (leaf.not_valid_after_utc - parts.now()).days in {364, 365}
    assert b"PRIVATE KEY" not in saved.read_bytes()


def test_create_makes_another_topic(site: Site, tmp_path: Path) -> None:
    """A person in another account who presses Create gets a valid certificate with a new UID."""
    saved = person.act(
        Deed.CREATES, portal=site.url, account=OTHER, topic=site.topic, request=site.request, folder=tmp_path
    )
    (leaf,) = certificates(saved)
    assert str(topic_of(leaf)).startswith("com.apple.mgmt.External.")
    assert topic_of(leaf) != site.topic


def test_another_account_has_no_such_row(site: Site, tmp_path: Path) -> None:
    """Signed in elsewhere, the row is not there; other people's rows cannot be reached by number."""
    with Person(site.url, OTHER) as somebody:
        with pytest.raises(PortalSaidNo, match="no row"):
            somebody.renew(site.topic, site.request.read_bytes())
        for act in (lambda: somebody.revoke(1), lambda: somebody.download(2, tmp_path)):
            with pytest.raises(PortalSaidNo, match="no such certificate"):
                act()


def test_a_refused_upload_changes_nothing(site: Site) -> None:
    """The person sees Apple's words and the list stays as it was."""
    with Person(site.url, OWNER) as owner:
        before = owner.rows()
        with pytest.raises(PortalSaidNo, match="Invalid Certificate Signing Request"):
            owner.renew(site.topic, b"last year's file")
        assert owner.rows() == before


def test_long_after_the_end_it_is_too_late(site: Site) -> None:
    """A certificate that ended 31 days ago is shown as expired and cannot be renewed."""
    with Person(site.url, LATE) as late:
        assert late.rows()[0]["status"] == "Expired"
        with pytest.raises(PortalSaidNo, match="no longer"):
            late.renew(site.late_topic, site.request.read_bytes())


def test_revoked_is_for_good(site: Site) -> None:
    """After Revoke there is nothing to renew."""
    with Person(site.url, OTHER) as other:
        row = other.create(site.request.read_bytes())
        other.revoke(row)
        mine = next(line for line in other.rows() if line["row"] == row)
        assert mine["status"] == "Revoked"
        with pytest.raises(PortalSaidNo, match="no longer"):
            other.renew(str(mine["uid"]), site.request.read_bytes())


def test_nobody_gets_in_without_an_account(site: Site) -> None:
    """An unknown account is refused; signed out there are no rows, and nothing can be done."""
    with pytest.raises(PortalSaidNo, match="incorrect"):
        Person(site.url, "nobody@example.com")
    for method, path in (("GET", "/"), ("POST", "/certificates"), ("POST", "/certificates/1/renew")):
        response = httpx.request(method, site.url + path, headers={"Accept": "application/json"})
        assert response.status_code in {401, 404}


def test_a_browser_sees_pages(site: Site) -> None:
    """Signed out: the accounts; signed in: rows with UID, date and buttons; an empty account: Get Started."""
    with httpx.Client(base_url=site.url, follow_redirects=True) as browser:
        assert OWNER in browser.get("/").text
        page = browser.get("/signin", params={"account": OWNER}).text
        assert site.topic in page
        assert "Renew" in page
    with httpx.Client(base_url=site.url, follow_redirects=True) as browser:
        page = browser.get("/signin", params={"account": LATE}).text
        assert "Expired" in page
    with httpx.Client(base_url=site.url, follow_redirects=True) as browser:
        page = browser.get("/signin", params={"account": EMPTY}).text
        assert "Get Started" in page


def test_the_person_is_a_program_too(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m renewctl.sandbox.person` prints the path of the download, or the portal's words."""
    arguments = ["--portal", site.url, "--account", OWNER, "--topic", site.topic]
    arguments += ["--request", str(site.request), "--save-to", str(tmp_path)]
    person.main(arguments)
    saved = Path(capsys.readouterr().out.strip())
    assert topic_of(certificates(saved)[0]) == site.topic
    with pytest.raises(SystemExit, match="incorrect"):
        person.main([*arguments, "--account", "nobody@example.com"])
