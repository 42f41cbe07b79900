"""Two at once: the second is told who holds what since when; nothing of the first is lost."""

from __future__ import annotations

import pytest

from renewctl.reasons import Reason
from renewctl.renewal.events import Kind
from renewctl.store.lease import Timing
from renewctl.store.write import Stamp, Store
from tests.support.desk import Desk
from tests.support.pretended_playbooks import Playbooks

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

OTHER = Stamp("suzuki@ops2", "ops2", "0.1.0", "d" * 64)


@pytest.fixture
def accepted(desk: Desk) -> Desk:
    """The new certificate is accepted; once on SQLite, once on PostgreSQL."""
    desk.to_accepted()
    return desk


def refuse(playbooks: Playbooks, playbook: str, node: str, carried: int) -> None:
    """The node refuses every run up to `carried`, and takes a higher one."""
    own = playbooks.run

    def run(name: str, hosts: object, variables: dict[str, int], **options: object) -> object:
        playbooks.answers.pop((playbook, node), None)
        if name == playbook and variables["renewctl_run"] <= carried:
            values = {"node": node, "got": variables["renewctl_run"], "expected": carried}
            playbooks.says(playbook, node, "failed", reason=Reason.RUN_SUPERSEDED, values=values)
        return own(name, hosts, variables, **options)  # type: ignore[arg-type]

    playbooks.run = run  # type: ignore[method-assign, assignment]


class TestNumbersThatNodesCarry:
    """After a restore, or beside another store: a node carries a higher run than this store ever began."""

    def test_a_roll_out_goes_on_above_it(self, accepted: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fenced again under a higher number, said once, written down; not stuck."""
        refuse(accepted.playbooks, "fence", "n2", 41)
        monkeypatch.setattr("renewctl.playbook_run.run", accepted.playbooks.run)
        done = accepted.run("renewal", "roll-out")
        assert done.code == 0
        assert "a node carries run 41 already" in done.err
        runs = [event.body["run"] for event in accepted.events() if event.kind.value == "roll_out_started"]
        assert runs == [1, 42]
        assert accepted.renewal()["phase"] == "proven"
        assert accepted.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
        assert accepted.playbooks.played[-1].variables["renewctl_run"] == 43

    def test_a_roll_back_takes_the_node_once_more(
        self, accepted: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The others were put back at once; this one under a number above its own."""
        accepted.told("renewal", "roll-out")
        refuse(accepted.playbooks, "rollback", "n3", 7)
        monkeypatch.setattr("renewctl.playbook_run.run", accepted.playbooks.run)
        assert accepted.told("renewal", "roll-back")["renewal"]["phase"] == "rolled_back"
        assert accepted.playbooks.names()[-2:] == [("rollback", ("n1", "n2", "n3")), ("rollback", ("n3",))]
        assert accepted.playbooks.played[-1].variables["renewctl_run"] == 8

    def test_a_node_that_always_carries_more_ends_it(
        self, accepted: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another store is at work on the same nodes right now: refused after three numbers, no node changed."""
        refuse(accepted.playbooks, "fence", "n1", 10**9)
        numbers: list[int] = []
        fenced = accepted.playbooks.run

        def always_more(name: str, hosts: object, variables: dict[str, int], **options: object) -> object:
            numbers.append(variables["renewctl_run"])
            values = {"node": "n1", "got": numbers[-1], "expected": numbers[-1] + 1}
            accepted.playbooks.says("fence", "n1", "failed", reason=Reason.RUN_SUPERSEDED, values=values)
            return Playbooks.run(accepted.playbooks, name, hosts, variables, **options)  # type: ignore[arg-type]

        assert fenced is not always_more
        monkeypatch.setattr("renewctl.playbook_run.run", always_more)
        assert accepted.refusal("renewal", "roll-out", code=4) == "run_superseded"
        assert numbers == [1, 3, 5]
        assert accepted.playbooks.names() == []
        assert accepted.renewal()["phase"] == "accepted"


class TestWhoHolds:
    """Commands that look tell of a run that has not ended; commands that change are told by it."""

    def test_a_run_that_has_not_ended_is_shown(self, accepted: Desk) -> None:
        """Who, where, since when, which renewal; never that they are still at work, which nobody knows here."""
        with Store(accepted.store) as store:
            run = store.begin_run("tokyo-1", OTHER)
        expected = {"number": 1, "renewal": "tokyo-1", "holder": "suzuki@ops2", "host": "ops2"}
        for words in (("status", "--offline"), ("renewal", "show")):
            code = accepted.run(*words).code
            shown = accepted.told(*words, code=code)["run"]
            assert {name: shown[name] for name in expected} == expected
            assert shown["since"] == run.since.strftime("%Y-%m-%dT%H:%M:%SZ")
            told = accepted.run(*words).out
            assert "run 1 of tokyo-1 has not ended: begun by suzuki@ops2 on ops2" in told
            assert "not known from here" in told
        with Store(accepted.store) as store:
            store.end_run(run)
        assert accepted.told("renewal", "show")["run"] is None
        assert "has not ended" not in accepted.run("renewal", "show").out

    def test_every_changing_command_is_told_by_a_holder_that_lives(
        self, accepted: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Exit 4 with holder, host, since, run: also where the rules alone would only say `out of order`."""
        patient = Timing(beat=30.0, lost=100.0, patience=60.0, look=0.02)
        beating = Timing(beat=0.05, lost=100.0)
        with Store(accepted.store, timing=beating) as other, other.lease("tokyo-1", OTHER):
            monkeypatch.setitem(Store.__init__.__kwdefaults__, "timing", patient)
            certificate = accepted.folder / "old.pem"
            commands = (
                ("renewal", "roll-out"),
                ("renewal", "abort"),
                ("renewal", "open"),
                ("renewal", "request"),
                ("adopt", "--certificate", str(certificate), "--certificate-only"),
            )
            for words in commands:
                error = accepted.told(*words, code=4)["error"]
                assert error["reason"] == "run_held", words
                values = error["values"]
                assert (values["holder"], values["host"], values["run"]) == ("suzuki@ops2", "ops2", 1)
                assert values["since"].endswith("Z")
            done = accepted.run("renewal", "abort")
        assert done.code == 4
        assert "suzuki@ops2 on ops2 is at work since" in done.err
        assert "one run at a time holds the whole store" in done.err
        assert "renewctl renewal show" in done.err

    def test_a_run_of_another_topic_holds_only_what_touches_nodes(self, accepted: Desk) -> None:
        """One run at a time in a store; opening another topic's renewal needs none."""
        accepted.second_topic()
        with (
            Store(accepted.store, timing=Timing(beat=0.05, lost=100.0)) as other,
            other.lease("tokyo-1", OTHER),
        ):
            assert accepted.told("renewal", "open", "--topic", "osaka")["renewal"]["name"] == "osaka-1"
            assert accepted.told("renewal", "abort", "--topic", "osaka")["renewal"]["phase"] == "aborted"

    def test_an_open_renewal_tells_who_opened_it(self, accepted: Desk) -> None:
        """And when; the next steps say how to go on with it."""
        opened = accepted.events()[0]
        values = accepted.told("renewal", "open", code=1)["error"]["values"]
        assert (values["holder"], values["renewal"]) == (opened.actor, "tokyo-1")
        assert values["since"] == opened.at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def test_verify_takes_turns_with_a_roll_out(
        self, accepted: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two who prove at once would break into each other's story: the second is told who is at it."""
        accepted.told("renewal", "roll-out")
        patient = Timing(beat=0.05, lost=100.0, patience=60.0, look=0.02)
        with Store(accepted.store, timing=patient) as other, other.lease("tokyo-1", OTHER):
            monkeypatch.setitem(Store.__init__.__kwdefaults__, "timing", patient)
            assert accepted.refusal("renewal", "verify", code=4) == "run_held"
            assert accepted.refusal("renewal", "close", code=4) == "run_held"
        kinds = accepted.kinds()
        accepted.playbooks.meanwhile["verify"] = lambda: accepted.take_over(OTHER)
        assert accepted.refusal("renewal", "verify", code=4) == "run_lost"
        assert accepted.kinds() == kinds
        accepted.playbooks.meanwhile.clear()
        assert accepted.told("renewal", "verify")["renewal"]["phase"] == "proven"


class TestHeldByTwo:
    """Who may change nodes."""

    def test_somebody_else_holds_the_run(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A holder that lives: refused with its name, nothing is written."""
        desk.to_accepted()
        kinds = desk.kinds()
        patient = Timing(beat=0.05, lost=100.0, patience=60.0, look=0.02)
        with (
            Store(desk.store, timing=patient) as store,
            store.lease("tokyo-1", OTHER),
            monkeypatch.context() as patch,
        ):
            patch.setitem(Store.__init__.__kwdefaults__, "timing", patient)
            error = desk.told("renewal", "roll-out", code=4)["error"]
        assert (error["reason"], error["values"]["holder"]) == ("run_held", "suzuki@ops2")
        assert (desk.kinds(), desk.playbooks.played) == (kinds, [])
        assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"

    def test_a_holder_that_died_is_waited_for_and_taken_over(self, desk: Desk) -> None:
        """No sign of life for the whole patience: a line says who is waited for, then it goes on."""
        desk.to_accepted()
        with Store(desk.store) as store:
            store.begin_run("tokyo-1", OTHER)
        done = desk.run("renewal", "roll-out")
        assert done.code == 0
        assert "run 1 of suzuki@ops2 has not ended" in done.err
        assert desk.playbooks.played[0].variables["renewctl_run"] == 2

    def test_a_run_lost_midway_touches_no_further_node(self, desk: Desk) -> None:
        """Taken over while n1 is done: exit 4, n2 is never played, and the roll-out can be taken up again."""
        desk.to_accepted()
        desk.playbooks.meanwhile["rollout"] = lambda: desk.take_over(OTHER)
        assert desk.refusal("renewal", "roll-out", code=4) == "run_lost"
        assert desk.playbooks.names() == [("rollout", ("n1",))]
        shown = desk.renewal()
        assert shown["phase"] == "rolling_out"
        assert shown["nodes"]["n1"]["outcome"] == "proven"
        desk.playbooks.meanwhile.clear()
        steps = desk.told("renewal", "show")["next_steps"]
        assert [step["key"] for step in steps] == ["next.interrupted", "next.or_roll_back"]
        assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"

    @pytest.mark.parametrize(
        ("words", "playbook", "reason", "nodes"),
        [
            ("roll-out", "fence", "run_lost", None),
            ("roll-out", "rollout", "run_overtaken", "n1"),
            ("roll-back", "rollback", "run_overtaken", "n1, n2, n3"),
        ],
    )
    def test_whoever_wakes_up_after_a_takeover_is_told_what_it_had_begun_on(
        self, desk: Desk, words: str, playbook: str, reason: str, nodes: str | None
    ) -> None:
        """Somebody else has gone on: no word that nothing was changed where a node may have been given a pair."""
        desk.to_accepted()
        if words == "roll-back":
            desk.told("renewal", "roll-out")

        def taken_over() -> None:
            desk.take_over(OTHER)
            seen = desk.events()
            body = {**seen[-1].body, "run": 9, "waves": [], "left_out": {}, "forward_only": False}
            with Store(desk.store) as store:
                store.append("tokyo-1", Kind.ROLL_OUT_STARTED, body, stamp=OTHER, expected_seq=len(seen) + 1)

        desk.playbooks.meanwhile[playbook] = taken_over
        error = desk.told("renewal", words, code=4)["error"]
        assert (error["reason"], error["values"].get("nodes")) == (reason, nodes)
        assert "nothing was changed" not in error["hint"]
        if nodes is not None:
            assert (error["values"]["holder"], error["values"]["host"]) == ("suzuki@ops2", "ops2")


def test_a_raised_run_is_the_same_holders(desk: Desk) -> None:
    """Raised once, it beats and ends under its new number; one that was lost is not raised."""
    with Store(desk.store) as store:
        with store.lease("tokyo-1", OTHER) as lease:
            lease.raise_above(41)
            held = store.open_run()
            assert held is not None
            assert (held.number, held.token, lease.run.number) == (42, lease.run.token, 42)
            lease.check()
        assert store.open_run() is None
        assert store.begin_run("tokyo-1", OTHER).number == 43
