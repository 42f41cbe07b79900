"""Key, CSR and the file for the portal: made once, the same again, checked before anybody goes to the portal."""

from __future__ import annotations

import base64
import hashlib
import plistlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from renewctl.renewal.events import Kind
from renewctl.store.write import Store
from tests.support.certs import NOW, Issued, apple_like, rsa_key
from tests.support.desk import APPLE, VENDOR, Desk
from tests.support.identities import Identity
from tests.support.vendor_office import signed_by


@pytest.fixture
def opened(desk: Desk) -> Desk:
    """A renewal has begun."""
    desk.told("renewal", "open")
    return desk


def requested(desk: Desk, *words: str | Path) -> dict[str, Any]:
    """A request that ends with a person's turn."""
    return desk.told("renewal", "request", *words, code=3)


def test_the_portals_file_is_signed_by_the_vendor(opened: Desk) -> None:
    """Base64 of a plist: our CSR, the vendor's chain in order, a signature that verifies; exit 3."""
    told = requested(opened)
    assert told["renewal"]["phase"] == "requested"
    assert told["files"] == {"csr_file": "tokyo-1.csr", "request_file": "tokyo-1.plist"}
    plist = plistlib.loads(base64.b64decode((opened.folder / "tokyo-1.plist").read_bytes()))
    der = base64.b64decode(plist["PushCertRequestCSR"])
    csr = x509.load_pem_x509_csr((opened.folder / "tokyo-1.csr").read_bytes())
    assert csr.public_bytes(Encoding.DER) == der
    VENDOR.key.public_key().verify(
        base64.b64decode(plist["PushCertSignature"]), der, PKCS1v15(), hashes.SHA256()
    )
    chain = x509.load_pem_x509_certificates(plist["PushCertCertificateChain"].encode())
    assert chain == [VENDOR.certificate, APPLE.wwdr.certificate, APPLE.root.certificate]
    assert told["renewal"]["request_last_day"] == (NOW + timedelta(days=265)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert opened.kinds() == ["opened", "key_made", "csr_made", "requested"]


def test_again_gives_the_same_bytes_and_no_new_key(opened: Desk) -> None:
    """Also where the files were deleted: byte for byte the same, no event, exit 3."""
    requested(opened)
    files = [opened.folder / "tokyo-1.csr", opened.folder / "tokyo-1.plist"]
    before, kinds = [file.read_bytes() for file in files], opened.kinds()
    for file in files:
        file.unlink()
    requested(opened)
    assert [file.read_bytes() for file in files] == before
    assert opened.kinds() == kinds


def test_a_command_that_was_cut_off_between_key_and_csr_goes_on_with_that_key(
    opened: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same key, the same CSR; without an identity, since the CSR is kept already. A lost key is made anew."""
    append = Store.append

    def dies(store: Store, renewal: str, kind: Kind, *body: Any, **more: Any) -> Any:
        if kind is Kind.CSR_MADE:
            raise KeyboardInterrupt
        return append(store, renewal, kind, *body, **more)

    for lost in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(Store, "append", dies)
            words = ("--new-key",) if lost else ()
            assert opened.run("renewal", "request", "--csr-only", *words).code == 130
        if lost:
            opened.lose_keys()
        requested(opened, "--csr-only")
        made = [event.body for event in opened.events() if event.kind in {Kind.KEY_MADE, Kind.CSR_MADE}]
        assert made[-1]["document"] == made[-2]["document"]
        assert len({body["key_fingerprint"] for body in made}) == (3 if lost else 1)
        named = x509.load_pem_x509_csr((opened.folder / "tokyo-1.csr").read_bytes()).public_key()
        der = named.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert hashlib.sha256(der).hexdigest() == made[-1]["key_fingerprint"]


def test_a_new_key_is_another_request(opened: Desk) -> None:
    """`--new-key` begins anew: another CSR, another signature; the old key stays in the key store."""
    requested(opened)
    before = (opened.folder / "tokyo-1.csr").read_bytes()
    assert requested(opened, "--new-key")["renewal"]["phase"] == "requested"
    assert (opened.folder / "tokyo-1.csr").read_bytes() != before
    made = [event.body["key_fingerprint"] for event in opened.events() if event.kind.value == "key_made"]
    assert len(set(made)) == 2


def test_a_new_key_after_acceptance_is_out_of_order(desk: Desk) -> None:
    """An accepted certificate belongs to its key: no other one may be made now."""
    desk.to_accepted()
    before = desk.kinds()
    assert desk.refusal("renewal", "request", "--new-key", code=1) == "out_of_order"
    assert desk.kinds() == before


def test_the_csr_alone_needs_neither_vendor_nor_identity(opened: Desk) -> None:
    """`--csr-only`: the phase says so, no file for the portal; the signing host needs no identity."""
    opened.rewrite(vendor=None, keys={k: v for k, v in opened.inventory["keys"].items() if k != "identity"})
    told = requested(opened, "--csr-only")
    assert told["renewal"]["phase"] == "csr_made"
    assert told["files"] == {"csr_file": "tokyo-1.csr", "request_file": None}
    assert not (opened.folder / "tokyo-1.plist").exists()
    assert [step["key"] for step in told["next_steps"]] == ["next.send_csr", "next.take_signed"]


def test_the_csr_first_and_signed_later(opened: Desk) -> None:
    """After `--csr-only` the plain command signs the same CSR."""
    requested(opened, "--csr-only")
    csr = (opened.folder / "tokyo-1.csr").read_bytes()
    assert requested(opened)["renewal"]["phase"] == "requested"
    assert (opened.folder / "tokyo-1.csr").read_bytes() == csr


def test_a_vendors_answer_is_taken_in(opened: Desk) -> None:
    """`--signed` with a good file: checked, kept, written for the portal; again gives another event at most."""
    requested(opened, "--csr-only")
    answer = opened.file("answer.b64", signed_by(VENDOR, (opened.folder / "tokyo-1.csr").read_bytes()))
    told = requested(opened, "--signed", answer)
    assert told["renewal"]["phase"] == "requested"
    (last,) = [event for event in opened.events() if event.kind.value == "requested"]
    assert (last.body["signer"], last.body["serial"]) == ("external", VENDOR.serial)
    portal = plistlib.loads(base64.b64decode((opened.folder / "tokyo-1.plist").read_bytes()))
    mine = plistlib.loads(base64.b64decode(answer.read_bytes()))
    assert portal["PushCertSignature"] == mine["PushCertSignature"]


@pytest.mark.parametrize("fault", ["another CSR", "signature", "chain", "garbage", "certificate", "missing"])
def test_a_vendors_answer_that_is_not_good(opened: Desk, fault: str) -> None:
    """Somebody else's, a broken signature, a gap in the chain, garbage: told apart; the phase stays."""
    requested(opened, "--csr-only")
    csr = opened.folder / "tokyo-1.csr"
    other = opened.file("other.csr", _csr("other"))
    stranger = Issued(VENDOR.certificate, rsa_key("stranger"))
    content, code, reason = {
        "another CSR": (signed_by(VENDOR, other.read_bytes()), 1, "request_of_another_csr"),
        "signature": (signed_by(stranger, csr.read_bytes()), 1, "request_signature_wrong"),
        "chain": (signed_by(VENDOR, csr.read_bytes(), chain=(APPLE.root,)), 1, "vendor_chain_incomplete"),
        "garbage": (b"\x00\x01\x02 nothing", 2, "request_unreadable"),
        "certificate": (VENDOR.pem, 2, "request_is_certificate"),
        "missing": (None, 2, "file_not_found"),
    }[fault]
    answer = opened.folder / "answer"
    if content is not None:
        answer.write_bytes(content)
    assert opened.refusal("renewal", "request", "--signed", answer, code=code) == reason
    assert opened.renewal()["phase"] == "csr_made"
    assert opened.kinds()[-1] == "csr_made"


def test_a_vendors_answer_before_any_csr(opened: Desk) -> None:
    """Nothing was sent to a vendor yet: out of order."""
    answer = opened.file("answer", b"x")
    assert opened.refusal("renewal", "request", "--signed", answer, code=1) == "out_of_order"


def test_no_vendor_and_no_vendor_key(opened: Desk) -> None:
    """The option that goes on without one is named; the CSR is there already and is used later."""
    vendor = opened.inventory["vendor"]
    opened.rewrite(vendor=None)
    error = opened.told("renewal", "request", code=2)["error"]
    assert (error["reason"], error["values"]["option"]) == ("vendor_not_configured", "--csr-only")
    opened.rewrite(vendor={name: part for name, part in vendor.items() if name != "key"})
    error = opened.told("renewal", "request", code=2)["error"]
    assert (error["reason"], error["values"]["option"]) == ("vendor_key_missing", "--csr-only")
    opened.rewrite(vendor=vendor)
    assert requested(opened)["renewal"]["phase"] == "requested"
    assert opened.kinds().count("key_made") == 1


def test_a_topics_own_vendor_comes_first(opened: Desk) -> None:
    """A topic may name another vendor than the inventory's."""
    own = APPLE.vendor(key="own vendor")
    opened.file("own.pem", own.pem)
    opened.file("own.key", own.key_pem)
    topics = opened.inventory["topics"]
    topics[0]["vendor"] = {
        "certificate": "own.pem",
        "chain": ["wwdr.pem", "root.pem"],
        "key": {"file": "own.key"},
    }
    opened.rewrite(topics=topics)
    requested(opened)
    assert opened.events()[-1].body["serial"] == own.serial


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("expired", "vendor_expired"),
        ("not yet", "vendor_not_yet_valid"),
        ("unmarked", "vendor_mark_missing"),
        ("other generation", "vendor_chain_incomplete"),
        ("other key", "vendor_key_differs"),
    ],
)
def test_a_vendor_certificate_the_portal_would_refuse(opened: Desk, fault: str, reason: str) -> None:
    """Found here, before anybody is sent to the portal; nothing is signed."""
    day = timedelta(days=1)
    vendor = {
        "expired": APPLE.vendor(not_after=NOW - day),
        "not yet": APPLE.vendor(not_before=NOW + day),
        "unmarked": APPLE.vendor(marked=False),
        "other generation": apple_like("second").vendor(),
        "other key": APPLE.vendor(key="other"),
    }[fault]
    opened.file("vendor.pem", vendor.pem)
    assert opened.refusal("renewal", "request", code=1) == reason
    assert "requested" not in opened.kinds()
    assert not (opened.folder / "tokyo-1.plist").exists()


def test_warnings_on_the_vendor_are_shown_and_do_not_stop(opened: Desk) -> None:
    """Twenty days before the vendor certificate's end: a warning with the request."""
    opened.file("vendor.pem", APPLE.vendor(not_after=NOW + timedelta(days=20)).pem)
    told = requested(opened)
    assert [(one["reason"], one["level"]) for one in told["findings"]] == [("vendor_expiring", "warn")]
    for name in ("tokyo-1.plist", "tokyo-1.csr"):
        assert (opened.folder / name).is_file()


def test_an_identity_that_does_not_open_the_key(opened: Desk) -> None:
    """Refused before the request is signed: nobody renews at the portal with a key nobody can open."""
    (opened.folder / "stranger").mkdir()
    stranger = Identity(opened.folder / "stranger", "age")
    keys = opened.inventory["keys"]
    opened.rewrite(keys=keys | {"identity": {"file": str(stranger.file)}})
    assert opened.refusal("renewal", "request", code=1) == "identity_cannot_open"
    assert opened.kinds()[-1] == "csr_made"
    opened.rewrite(keys={name: part for name, part in keys.items() if name != "identity"})
    error = opened.told("renewal", "request", code=2)["error"]
    assert (error["reason"], error["values"]["path"]) == ("inventory_missing_key", "keys.identity")
    opened.rewrite(keys=keys)
    assert requested(opened)["renewal"]["phase"] == "requested"


def test_a_key_that_went_away(desk: Desk) -> None:
    """The key store lost this renewal's key: said now, not after the portal; a new key goes on."""
    desk.told("renewal", "open")
    desk.told("renewal", "request", "--csr-only", code=3)
    desk.lose_keys()
    assert desk.refusal("renewal", "request", code=1) == "key_not_in_store"
    assert requested(desk, "--new-key")["renewal"]["phase"] == "requested"


def test_a_dry_run_makes_no_key(opened: Desk) -> None:
    """No event, no key, no file."""
    before = sorted(path.name for path in opened.folder.iterdir())
    assert opened.told("renewal", "request", "--dry-run")["step"] == "request"
    assert opened.kinds() == ["opened"]
    assert sorted(path.name for path in opened.folder.iterdir()) == before
    assert opened.keys() == set()


def _csr(name: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(rsa_key(name), hashes.SHA256()).public_bytes(Encoding.PEM)


def test_a_lost_key_leads_to_a_new_one_and_to_the_same_row(desk: Desk) -> None:
    """Requested, and the key is gone: refused before anybody goes to the portal; the way on is written out."""
    desk.to_request()
    desk.lose_keys()
    told = desk.run("renewal", "request")
    assert told.code == 1
    assert "renewctl renewal request --new-key --reason 'key lost' --topic tokyo" in told.err
    made = desk.told("renewal", "request", "--new-key", "--reason", "key lost", code=3)
    assert "next.portal.again" in [step["key"] for step in made["next_steps"]]
    first, second = (event for event in desk.events() if event.kind is Kind.KEY_MADE)
    assert (second.body["replaces"], second.reason) == (first.body["key_fingerprint"], "key lost")
    assert first.body["replaces"] is None


def test_a_vendors_answer_is_taken_only_where_the_key_opens(desk: Desk) -> None:
    """`--signed` sends a person to the portal too: without the key that would be for nothing."""
    desk.adopt()
    desk.told("renewal", "open")
    desk.told("renewal", "request", "--csr-only", code=3)
    signed = desk.file("signed", signed_by(VENDOR, max(desk.folder.glob("tokyo-*.csr")).read_bytes()))
    keys = desk.inventory["keys"]
    desk.rewrite(keys={name: part for name, part in keys.items() if name != "identity"})
    assert desk.refusal("renewal", "request", "--signed", signed, code=2) == "inventory_missing_key"
    (desk.folder / "stranger").mkdir()
    desk.rewrite(keys=keys | {"identity": {"file": str(Identity(desk.folder / "stranger", "age").file)}})
    assert desk.refusal("renewal", "request", "--signed", signed, code=1) == "identity_cannot_open"
    assert "requested" not in desk.kinds()
    desk.rewrite(keys=keys)
    assert desk.told("renewal", "request", "--signed", signed, code=3)["renewal"]["phase"] == "requested"
