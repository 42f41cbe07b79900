"""What a command says of the way on: only what will be taken, in an order that works, in the reader's words."""

from __future__ import annotations

import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from renewctl.reasons import Reason
from tests.support.certs import NOW
from tests.support.cli import validate
from tests.support.desk import APPLE, OLD, Desk
from tests.support.pretended_playbooks import proof

LATE = APPLE.push(not_after=NOW + timedelta(days=364), key="late")


def commands(text: str) -> list[str]:
    """The lines to paste, in order."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith("renewctl ")]


class TestWithoutAStore:
    """The inventory came from git; its store was never made."""

    @pytest.fixture
    def bare(self, desk: Desk) -> Desk:
        """Neither store nor key folder, yet the pair in use lies at hand."""
        (desk.folder / "state" / "renewctl.db").unlink()
        (desk.folder / "state").rmdir()
        (desk.folder / "keys").rmdir()
        desk.file("old.pem", OLD.pem)
        desk.file("old.key", OLD.key_pem)
        return desk

    @pytest.mark.parametrize("inventory", [(), ("--inventory", "renewctl.yaml")], ids=["found", "named"])
    def test_the_steps_work_as_printed(self, bare: Desk, inventory: tuple[str, ...]) -> None:
        """Make the store, adopt, open: each line runs, in this order, once the files are filled in."""
        adopt = ("adopt", "--certificate", "old.pem", "--key", "old.key")
        told = [
            commands(bare.run(*inventory, *words).err)
            for words in (("status", "--offline"), ("renewal", "open"), ("renewal", "show"), adopt)
        ]
        lines = told[0]
        assert told == [lines] * 4
        options = " ".join(["renewctl", *inventory])
        assert lines[:2] == [f"{options} restore FILE", f"{options} init --existing"]
        for line in lines[1:]:  # there is no backup
            typed = line.replace("--certificate FILE", "--certificate old.pem").replace(
                "--key FILE", "--key old.key"
            )
            ran = bare.run(*shlex.split(typed)[1:])
            assert ran.code == 0, (typed, ran)
        assert bare.kinds() == ["opened"]
        assert len(bare.keys()) == 1

    def test_the_hint_names_a_command_that_works(self, bare: Desk) -> None:
        """`renewctl init` alone would be refused: the inventory is there."""
        error = bare.told("renewal", "open", code=2)["error"]
        assert error["reason"] == "store_missing"
        assert "`renewctl init --existing`" in error["hint"]
        bare.told("init", "--existing")
        bare.told("renewal", "open")


class TestEarly:
    """`open` long before the window."""

    def test_it_opens_and_says_so(self, desk: Desk) -> None:
        """Days left and the window's first day, in the topic's zone; a warning, never a refusal."""
        desk.adopt(pair=LATE)
        done = desk.run("renewal", "open")
        assert done.code == 0
        assert (
            "warning: 364 days left: the renewal window begins only on 2027-09-23 (Thu) 21:00 JST" in done.err
        )
        assert "opening early is possible" in done.err
        assert desk.kinds() == ["opened"]

    @pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["real", "dry"])
    def test_programs_are_told(self, desk: Desk, words: tuple[str, ...]) -> None:
        """As a finding, also by the dry run."""
        desk.adopt(pair=LATE)
        (finding,) = desk.told("renewal", "open", *words)["findings"]
        assert (finding["reason"], finding["level"]) == ("renewal_early", "warn")
        assert finding["values"] == {"count": "364", "window_begins": "2027-09-23T12:00:00Z"}

    def test_in_time_nothing_is_said(self, desk: Desk) -> None:
        """Within the window, and where the date is not known."""
        assert desk.told("renewal", "open", "--dry-run")["findings"] == []
        desk.adopt()
        assert desk.told("renewal", "open")["findings"] == []


class TestAbort:
    """Ending a renewal is offered where it is taken, and nowhere else."""

    def test_before_a_node_is_touched(self, desk: Desk) -> None:
        """`open` while one is open: go on, or end it; the line ends it."""
        desk.to_accepted()
        lines = commands(desk.run("renewal", "open").err)
        assert lines[-1] == "renewctl renewal abort --topic tokyo"
        assert desk.run(*shlex.split(lines[-1])[1:]).code == 0

    def test_during_a_roll_out(self, desk: Desk) -> None:
        """Nodes were touched: neither hint nor next steps speak of abort, which would be refused."""
        desk.to_accepted()
        desk.refusal("renewal", "roll-out", "--leave-out", "n3=repair", code=4)
        for words in (("renewal", "open"), ("adopt", "--certificate", "old.pem", "--certificate-only")):
            done = desk.run(*words)
            assert done.code == 1
            assert "abort" not in done.err
            assert commands(done.err)[0] == "renewctl renewal roll-out --topic tokyo"
        assert desk.refusal("renewal", "abort", code=1) == "out_of_order"

    def test_help_says_what_it_does(self, desk: Desk) -> None:
        """Also after a roll-back, where it works."""
        assert "or whose nodes were all put back" in " ".join(
            desk.run("renewal", "abort", "--help").out.split()
        )
        desk.to_proven()
        desk.told("renewal", "roll-back")
        assert desk.told("renewal", "abort")["renewal"]["phase"] == "aborted"

    def test_not_while_a_node_is_still_to_be_put_back(self, desk: Desk) -> None:
        """It would be forgotten on the wrong pair; a node that left the inventory is no reason to wait."""
        desk.to_proven()
        desk.playbooks.answers["rollback", "n2"] = None
        assert desk.refusal("renewal", "roll-back", code=4) == "roll_back_owed"
        for words in ((), ("--dry-run",)):
            error = desk.told("renewal", "abort", *words, code=4)["error"]
            assert (error["reason"], error["values"]["nodes"]) == ("roll_back_owed", "n2")
        desk.rewrite(nodes=[node for node in desk.inventory["nodes"] if node["name"] != "n2"])
        assert desk.told("renewal", "abort")["renewal"]["phase"] == "aborted"


class TestPutBack:
    """`status` of nodes that a roll-back has given the previous pair again."""

    def test_proven_on_the_previous_pair_is_not_just_proven(self, desk: Desk) -> None:
        """As `renewal show` says it: put back and proven."""
        desk.to_proven()
        assert [node["state"] for node in desk.told("status", "--offline")["topics"][0]["nodes"]] == [
            "proven"
        ] * 3
        sleeping = proof("not_proven", "no", "proof_no_check_in")
        desk.playbooks.says("rollback", "n2", "put_back", proof=sleeping, reason=Reason.PROOF_NO_CHECK_IN)
        desk.told("renewal", "roll-back")
        document = desk.told("status", "--offline", code=4)
        states = {node["name"]: node["state"] for node in document["topics"][0]["nodes"]}
        assert states == {"n1": "back_proven", "n2": "back", "n3": "back_proven"}
        shown = desk.run("status", "--offline").out
        rows = {line.split()[0]: line for line in shown.splitlines() if line.startswith(("n1", "n2"))}
        assert rows["n1"].endswith("put back and proven")
        assert rows["n2"].endswith("put back, not proven")


class TestDryRunsThatAreRefused:
    """A nervous reader wants to know that nothing has happened."""

    @pytest.mark.parametrize(
        ("language", "word"), [("en", "nothing was written"), ("ja", "何も書き込んでおらず")]
    )
    def test_accept(self, desk: Desk, language: str, word: str) -> None:
        """The wrong file: refused, and that nothing was written is said; programs see `dry_run`."""
        desk.to_request()
        before = desk.kinds()
        file = desk.downloaded_from_nowhere()
        done = desk.run("renewal", "accept", file, "--dry-run", "--lang", language)
        assert (done.code, word in done.err) == (1, True)
        assert desk.told("renewal", "accept", file, "--dry-run", code=1)["dry_run"] is True
        assert desk.kinds() == before
        assert "dry_run" not in desk.told("renewal", "accept", file, code=1)
        assert desk.kinds() == [*before, "certificate_refused"]

    def test_every_command_says_it(self, desk: Desk) -> None:
        """Whatever was refused, with `--dry-run`; without it, nobody claims that nothing was written."""
        desk.file("x.pem", b"nothing of use")
        for words in (
            ("renewal", "close"),
            ("renewal", "roll-back"),
            ("adopt", "--certificate", Path("x.pem")),
        ):
            more = ("--certificate-only",) if words[0] == "adopt" else ()
            assert "this was a dry run" in desk.run(*words, *more, "--dry-run").err
            assert "this was a dry run" not in desk.run(*words, *more).err


class TestAVendorCertificateThatIsNoMore:
    """The inventory's vendor certificate expired; its key is at hand all the same."""

    @pytest.fixture
    def expired(self, desk: Desk) -> Desk:
        """A renewal was opened in time."""
        desk.adopt()
        desk.told("renewal", "open")
        desk.file("vendor.pem", APPLE.vendor(not_after=NOW - timedelta(days=1)).pem)
        return desk

    @pytest.mark.parametrize("csr_made", [False, True])
    @pytest.mark.parametrize(
        ("language", "word"),
        [("en", "put a valid MDM vendor certificate"), ("ja", "有効なMDMベンダー証明書")],
    )
    def test_signing_here_is_not_offered(
        self, csr_made: bool, language: str, word: str, expired: Desk
    ) -> None:
        """`status` and `show` lead to a vendor, or to a valid certificate first; what they print works."""
        if csr_made:
            expired.told("renewal", "request", "--csr-only", code=3)
        for words in (("status", "--offline"), ("renewal", "show")):
            told = expired.run(*words, "--lang", language).err
            assert word in told
            assert f"{expired.folder}/vendor.pem" in told
            lines = commands(told)
            assert lines == [
                "renewctl renewal request --csr-only --topic tokyo",
                "renewctl renewal request --signed FILE --topic tokyo",
            ]
            assert expired.run(*shlex.split(lines[0])[1:]).code in {0, 3}

    def test_a_valid_one_brings_the_offer_back(self, expired: Desk) -> None:
        """As before; one that lies on another host may be valid, so it is offered too."""
        expired.told("renewal", "request", "--csr-only", code=3)
        sign = "renewctl renewal request --topic tokyo"
        assert sign not in commands(expired.run("renewal", "show").err)
        (expired.folder / "vendor.pem").unlink()
        assert sign in commands(expired.run("renewal", "show").err)
        expired.file("vendor.pem", APPLE.vendor().pem)
        assert sign in commands(expired.run("status", "--offline").err)


PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>"
MESSAGE = (
    pkcs7.PKCS7EnvelopeBuilder()
    .set_data(b"x")
    .add_recipient(OLD.certificate)
    .encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])
)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("content", [PAGE, MESSAGE], ids=["page", "message"])
def test_inspect_explains_what_nobody_wanted_as_accept_does(
    content: bytes, language: str, desk: Desk
) -> None:
    """A saved page, an encrypted message: the same sentence, the same way out, in words and as JSON."""
    desk.to_request()
    file = desk.file("MDM_.pem", content)
    refused = desk.told("--lang", language, "renewal", "accept", file, code=2)["error"]
    shown = desk.run("--lang", language, "inspect", file)
    assert shown.code == 0
    assert refused["message"] in shown.out.splitlines()
    assert any(line.endswith(f": {refused['hint']}") for line in shown.out.splitlines())
    told = desk.run("--lang", language, "inspect", file, "--json").document
    validate("inspect", told)
    assert told["explanation"] == {name: refused[name] for name in ("reason", "message", "hint")}


def test_inspect_gives_no_advice_on_what_may_be_wanted(desk: Desk) -> None:
    """A push certificate is explained by what it is."""
    assert desk.told("inspect", desk.file("old.pem", OLD.pem))["explanation"] is None


def test_a_dry_run_that_found_nothing_ends_with_the_real_command(desk: Desk) -> None:
    """As it was typed, every option again, `--dry-run` left out; and it works."""
    desk.to_accepted()
    for words in (("roll-out", "--leave-out", "n3=in repair"), ("roll-back",), ("abort",)):
        done = desk.run("renewal", *words, "--dry-run")
        assert "this was a dry run: nothing was written" in done.err
        (line,) = [one.strip() for one in done.err.splitlines() if one.startswith("       ")]
        assert shlex.split(line) == ["renewctl", "renewal", *words]
        assert desk.run(*shlex.split(line)[1:]).code in {0, 4}
