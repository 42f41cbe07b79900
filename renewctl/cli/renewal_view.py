"""How a renewal is told: to people line by line, to programs as JSON."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from renewctl.cli.holder import holder_json, show_holder
from renewctl.cli.output import Output, steps_json
from renewctl.errors import ExitCode, Refused, RenewctlError
from renewctl.guidance import Step
from renewctl.inventory.reading import Topic
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind
from renewctl.renewal.rules import NodeState, Renewal, behind, but, gone, owed, owed_previous

if TYPE_CHECKING:
    from datetime import datetime

    from renewctl.certificate.findings import Finding
    from renewctl.cli.context import Session
    from renewctl.cli.request_files import RequestFiles
    from renewctl.renewal.events import Event
    from renewctl.workflow.workplace import Workplace


_TOLD_STATES = frozenset({"present", "put_back", "verified"})
"""Steps on a node that take long enough to be announced."""


@dataclass(frozen=True)
class Voice:
    """One command about one topic, speaking its language in its zone."""

    session: Session
    topic: Topic

    @cached_property
    def output(self) -> Output:
        """Where it speaks."""
        return self.session.output(self.topic)

    @contextmanager
    def workplace(self, record: Mapping[str, str | None], *, dry_run: bool = False) -> Iterator[Workplace]:
        """The store and the key store, with progress told as talk."""
        from renewctl.cli.workplace import workplace  # noqa: PLC0415 - SQL; not for `--help`

        with workplace(
            self.session,
            reason=record["reason"],
            ticket=record["ticket"],
            tell=self.progress,
            dry_run=dry_run,
        ) as work:
            yield work

    def progress(self, key: str, values: Mapping[str, Any]) -> None:
        """One line of talk about what is happening."""
        answer, event = values.get("answer"), values.get("event")
        if answer is not None:
            state = f"{answer.direction.value}.{answer.outcome.value}"
            state = "had_new" if state == "new.proven" and not answer.changed else state
            self.output.say("label.node", node=answer.node, text=self.output.text(f"node.{state}"))
            for line in proof_lines(self.output, answer.proof, values["serial"]):
                self.output.say("label.indented", text=line)
        elif event is None:
            self.output.say(key, **values)
        elif (result := getattr(event, "result", None)) is not None:
            if result.took_part and result.reason is not None:
                self.output.finding(result.reason, result.values)
        elif getattr(event, "state", None) in _TOLD_STATES:
            step = self.output.text(f"step.{event.state}")
            self.output.say("roll.node_started", node=event.node, step=step)

    def would(self, step: str, renewal: str, findings: Sequence[Finding] = ()) -> int:
        """What a dry run says of a step that touches no node."""
        found = [finding_json(one) for one in findings]
        self.output.json({"dry_run": True, "step": step, "renewal": renewal, "findings": found})
        self.output.show(f"dry_run.{step}", renewal=renewal)
        return self.was_dry()

    def confirms(self, doubt: RenewctlError) -> bool:
        """Whether a person at a terminal wants what is doubtful; without one, or for JSON, nobody does."""
        if self.session.as_json or not sys.stdin.isatty():
            return False
        happened, _ = self.output.sentence(doubt.reason, doubt.values)
        self.output.say("ask.doubt", text=happened)
        return self.session.ask("ask.go_back", str(doubt.values["option"]), "no").strip().lower() == "yes"

    def was_dry(self) -> int:
        """The end of a dry run that nothing stood in the way of: how to do it."""
        words = [word for word in self.session.words if word != "--dry-run"]
        self.output.say("dry_run.nothing_written")
        self.output.next_steps([Step("next.for_real", {}, f"renewctl {shlex.join(words)}")])
        return ExitCode.DONE

    def ending(self, work: Workplace, act: Callable[[], Renewal], key: str) -> int:
        """Do something to nodes; whatever it comes to, end with the state and the next steps."""
        try:
            done = act()
        except RenewctlError:
            latest = work.history(self.topic).latest
            if latest is not None and not self.session.as_json:
                _show_state(self, work, latest)
            raise
        return show_end(self, work, done, key)

    def refused(
        self, error: RenewctlError, *, dry_run: bool = False, left_out: Mapping[str, str] | None = None
    ) -> int:
        """What happened, and the next steps all the same, where the store can tell them.

        Args:
            dry_run: it was one; that nothing was written is said, or a nervous reader would wonder.
            left_out: nodes left out on the command line, with the reasons given.
        """
        from renewctl.cli.workplace import steps_after  # noqa: PLC0415 - SQL

        self.output.error(error, self.session.head, dry_run=dry_run)
        if dry_run:
            self.output.say("dry_run.nothing_written")
        if not self.session.as_json:
            with suppress(RenewctlError):
                steps = steps_after(self.session, self.topic, error, left_out or {})
                self.output.next_steps(steps, self.topic.zone)
        return error.exit_code


def show_end(
    voice: Voice,
    work: Workplace,
    renewal: Renewal,
    key: str,
    *,
    files: RequestFiles | None = None,
    findings: Sequence[Finding] = (),
) -> int:
    """What was done, the phase, the nodes, the next steps."""
    from renewctl.cli.workplace import steps_for  # noqa: PLC0415

    signed = None if files is None or renewal.request is None else files.request
    written = {} if files is None else {"csr_file": files.csr, "request_file": signed}
    csr = None if files is None else files.csr
    history, wrong_id = work.on_record(voice.topic)
    steps = steps_for(
        voice.session, voice.topic, history, request_file=signed, csr_file=csr, wrong_id=wrong_id
    )
    output, head = voice.output, work.store.head()
    voice.session.head = head
    output.say(key, **_words(output, renewal), **written)
    _show_state(voice, work, renewal)
    output.json(
        {
            "renewal": renewal_json(renewal, [node.name for node in work.nodes(voice.topic)]),
            "findings": [finding_json(one) for one in findings],
            "files": written,
            "next_steps": steps_json(steps, output, voice.topic.zone),
            "head": head,
        }
    )
    output.next_steps(steps, voice.topic.zone)
    return ExitCode.DONE


def show_renewal(voice: Voice, name: str | None) -> int:
    """Tell a renewal's story: `renewal show`."""
    from renewctl.cli.workplace import steps_for  # noqa: PLC0415
    from renewctl.renewal.history import histories, history_of, misnamed  # noqa: PLC0415
    from renewctl.store.read import StoreReader  # noqa: PLC0415

    with StoreReader(voice.session.store_url, recover=True) as reader:
        events, run = reader.renewals(), reader.open_run()
    past = histories(events)
    if (refused := misnamed(past, voice.topic.id, voice.topic.topic)) is not None:
        raise refused
    history = history_of(past, voice.topic.id, voice.topic.topic)
    known = history.renewals
    if not known:
        raise Refused(Reason.RENEWAL_NONE_OPEN, topic=voice.topic.id)
    chosen = history.latest if name is None else next((one for one in known if one.name == name), None)
    if chosen is None:
        names = ", ".join(one.name for one in known)
        raise Refused(Reason.RENEWAL_UNKNOWN, got=name or "-", expected=names)
    nodes = [node.name for node in voice.session.inventory.nodes_of(voice.topic.id)]
    steps = steps_for(voice.session, voice.topic, history) if chosen == history.latest else ()
    output = voice.output
    _show_phase(output, chosen, nodes)
    columns = ("column.when", "column.event", "column.who", "column.what")
    output.table(columns, [_event_row(output, one) for one in events[chosen.name]])
    _node_table(output, chosen, nodes)
    own = run if run is not None and run.renewal == chosen.name else None
    show_holder(output, own)
    output.json(
        {
            "renewal": renewal_json(chosen, nodes),
            "run": holder_json(own),
            "events": [_event_json(one) for one in events[chosen.name]],
            "next_steps": steps_json(steps, output, voice.topic.zone),
        }
    )
    output.next_steps(steps, voice.topic.zone)
    return ExitCode.DONE


def show_findings(voice: Voice, found: Sequence[Finding]) -> None:
    """Warnings of a certificate that was accepted, or everything of a dry run."""
    for one in found:
        voice.output.finding(one.reason, one.values)


def renewal_json(renewal: Renewal, nodes: Sequence[str]) -> dict[str, Any]:
    """A renewal for programs."""
    pair = renewal.accepted
    return {
        "name": renewal.name,
        "topic": renewal.topic,
        "phase": renewal.phase,
        "opened_at": renewal.opened_at,
        "opened_by": renewal.opened_by,
        "previous_serial": None if renewal.previous is None else renewal.previous.serial,
        "serial": None if pair is None else pair.serial,
        "not_after": None if pair is None else pair.not_after,
        "request_last_day": None if renewal.request is None else renewal.request.last_day,
        "forward_only": renewal.forward_only,
        "refusals": renewal.refusals,
        "owed": owed(renewal, nodes),
        "owed_previous": owed_previous(renewal, nodes),
        "gone": gone(renewal, nodes),
        "let_go": renewal.let_go,
        "left_out": renewal.left_out,
        "nodes": {
            name: {
                "direction": state.direction,
                "outcome": state.outcome,
                "at": state.at,
                "run": state.run,
                "proof": state.proof,
                "reason": state.reason,
                "unanswered_at": state.unanswered,
            }
            for name, state in renewal.nodes.items()
        },
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding for programs."""
    return {"reason": finding.reason, "level": finding.level, "values": finding.values}


def proof_lines(output: Output, proof: Mapping[str, Any] | None, serial: str | None) -> list[str]:
    """A proof in words, a line a rung.

    Args:
        serial: of the certificate the node should use.
    """
    if not proof:
        return []
    known = {"serial": serial, "enrollment": proof.get("enrollment")}
    return [output.text(f"proof.{rung}.{state}", **known) for rung, state in proof["rungs"].items()]


def _show_state(voice: Voice, work: Workplace, renewal: Renewal) -> None:
    nodes = [node.name for node in work.nodes(voice.topic)]
    _show_phase(voice.output, renewal, nodes)
    _node_table(voice.output, renewal, nodes)


def _show_phase(output: Output, renewal: Renewal, nodes: Sequence[str]) -> None:
    words = _words(output, renewal)
    output.show("renewal.is", **{**words, "phase": phase_text(output, renewal, nodes)})


def phase_text(output: Output, renewal: Renewal, nodes: Sequence[str]) -> str:
    """The phase in words; a renewal with nodes left is never called proven, or rolled back, alone.

    Args:
        nodes: of its topic.
    """
    phase = output.text(f"phase.{renewal.phase.value}")
    left = behind(renewal, nodes)
    if not left:
        return phase
    return output.text(but(renewal.phase), phase=phase, nodes=", ".join(left))


def _words(output: Output, renewal: Renewal) -> dict[str, Any]:
    pair = renewal.accepted
    return {
        "renewal": renewal.name,
        "phase": output.text(f"phase.{renewal.phase.value}"),
        "topic": renewal.topic,
        "serial": None if pair is None else pair.serial,
        "not_after": None if pair is None else pair.not_after,
        "last_day": None if renewal.request is None else renewal.request.last_day,
    }


def _node_table(output: Output, renewal: Renewal, nodes: Sequence[str]) -> None:
    if renewal.accepted is None:
        return
    rows: list[tuple[str, str, str | None]] = []
    left = owed(renewal, nodes)
    for name in dict.fromkeys((*nodes, *renewal.nodes)):
        state = renewal.nodes.get(name)
        told = output.text(f"node.{_state_key(state)}")
        if name in left and name in renewal.left_out:
            told = output.text("node.left_out", state=told, why=renewal.left_out[name])
        if name not in nodes:
            told = output.text("node.gone", state=told)
        if state is not None and state.unanswered is not None:
            told = _unanswered(output, name, state, state.unanswered, told)
        rows.append((name, told, None if state is None else output.instant(state.at)))
    output.table(("column.node", "column.state", "column.since"), rows)


def _state_key(state: NodeState | None) -> str:
    if state is None:
        return "untouched"
    return "unsettled" if state.unsettled else f"{state.direction.value}.{state.outcome.value}"


def _unanswered(output: Output, name: str, state: NodeState, at: datetime, told: str) -> str:
    """What is known of a node, and that a later question learned nothing."""
    values = {**state.values, "node": name}
    why = None if state.reason is None else output.sentence(Reason(state.reason), values)[0]
    return output.text("node.unanswered", state=told, at=output.instant(at), why=why)


def _event_row(output: Output, event: Event) -> tuple[str, ...]:
    return (
        output.instant(event.at),
        output.text(f"event.{event.kind.value}"),
        event.actor,
        _what(output, event),
    )


def _what(output: Output, event: Event) -> str:
    """The one thing worth a cell: which nodes, what became of one, why a certificate was refused."""
    body = event.body
    if event.kind is Kind.CERTIFICATE_REFUSED:
        return output.text(body["reason"], **(body["findings"][0]["values"] if body["findings"] else {}))
    if "direction" in body and "node" in body:
        told = output.text(f"node.{body['direction']}.{body['outcome']}")
        return output.text("label.node", node=body["node"], text=told)
    return ", ".join(body.get("nodes") or body.get("let_go") or ())


def _event_json(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "at": event.at,
        "kind": event.kind,
        "actor": event.actor,
        "host": event.host,
        "version": event.version,
        "reason": event.reason,
        "ticket": event.ticket,
        "body": event.body,
        "hash": event.hash,
    }
