"""NanoMDM: its HTTP API for installing and pushing, its own store for what the API does not tell.

Up to v0.9.0 the API tells nothing of the stored certificate; the main branch tells topic and date
(facts/lab.md §3). Serial, devices and check-ins come from `devices: {sql: …}` or `{folder: …}`.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from renewctl import pushanswer, secrets
from renewctl.certificate.pushcert import Pair
from renewctl.errors import NodeFault, Refused, RenewctlError
from renewctl.inventory.reading import Node
from renewctl.observation import Failure, Observation, SeenDevice, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.servers.files import placed_certificates
from renewctl.servers.nanomdm_database import Database
from renewctl.servers.nanomdm_folder import CHECK_IN_COMMAND, open_folder
from renewctl.servers.protocol import PushAnswer, PushTarget, Records, failure_of
from renewctl.servers.transport import DEADLINE_SECONDS, Answer, Conversation, Credential, Transport

DEFAULT_USER = "nanomdm"
"""The one user name NanoMDM takes (cmd/nanomdm/main.go); NanoHUB's is `nanohub`."""

_OK, _BAD_REQUEST, _ERROR = 200, 400, 500
_TELLS = "missing required query parameter: topic"  # GET without topic, where GET is understood at all
_ABSENT = ("key not found", "no rows in result set")  # 500 for a topic it has no certificate of
_PUSH_STATUS = re.compile(r"push HTTP status: (\d+)")
_PUSH_WORD = re.compile(r"APNs push error: (\w+)")
_NO_PUSH_DATA = "push data missing for id"
_PUSH_STATUSES = (200, 207, 500)
_MAY_ASK = (200, 400, 405)  # a proxy that lets PUT alone through answers 405


T = TypeVar("T")


class NanoMDM:
    """One NanoMDM process.

    Args:
        node: as in the inventory.
        topics: UIDs to ask the API for; it cannot list them itself.
        credential: whether the node's API credential may be used. An exporter leaves it alone unless told.
        before_change: called right before the first byte of a pair is sent.
        deadline_seconds: for each request.
    """

    def __init__(
        self,
        node: Node,
        topics: Sequence[str] = (),
        *,
        credential: bool = True,
        before_change: Callable[[], None] | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self.node = node
        self._before_change = before_change
        self._deadline = deadline_seconds
        self._topics = tuple(topics)
        self._may_use_credential = credential
        self._closed = False

    @property
    def _records(self) -> Records | None:
        """The store behind the API; looked at anew each time, since an empty folder has no layout yet."""
        devices = self.node.devices
        if devices is None:
            return None
        if devices.sql is not None:
            return Database(self.node.name, devices.sql)
        return None if devices.folder is None else open_folder(self.node.name, devices.folder)

    def observe(self, now: datetime, *, certificates_alone: bool = False) -> Observation:
        """Version, certificates by every source there is, device counts."""
        failures: list[Failure] = []
        told: dict[Source, list[ServedCertificate] | None] = {}
        devices = placed = silent = version = up = None
        if self.node.url is not None:
            with self._transport().conversation() as node:
                if not certificates_alone:
                    up, version = self._version(node, failures)
                if up is not False:
                    told[Source.API] = self._api_certificates(node, failures)
        if (records := self._records) is not None:
            found = _collect(failures, records.certificates)
            told[records.source] = found and found[0]
            counted = None if certificates_alone else _collect(failures, lambda: records.devices(now))
            devices = counted and counted[0]
            silent = self._silent(records, now, failures) if counted and not counted[1] else None
            failures += [*(found[1] if found else []), *(counted[1] if counted else [])]
        elif self.node.install is not None:
            placed = _collect(failures, lambda: placed_certificates(self.node))
            told[Source.FILE] = list(placed.certificates) or None if placed else None
            failures += placed.failures if placed else ()
        return Observation(
            node=self.node.name,
            at=now,
            up=up,
            certificates=tuple(certificate for named in told.values() for certificate in named or []),
            devices=devices,
            silent=silent,
            version=version,
            failures=_distinct(failures),
            answered=tuple(source for source, named in told.items() if named is not None),
            files=None if placed is None else placed.files,
        )

    def _silent(
        self, records: Records, now: datetime, failures: list[Failure]
    ) -> tuple[SeenDevice, ...] | None:
        """Single devices, where the inventory asks for any: never where their ages are not believed."""
        limit = 0 if self.node.devices is None else self.node.devices.series
        if not limit or not isinstance(records, Database):
            return None
        return _collect(failures, lambda: records.longest_silent(limit, now))

    def install(self, pair: Pair) -> None:
        """PUT the pair, the leaf alone, and compare what the server says it stored.

        Raises:
            NodeFault: `node_refused_pair`, `node_stored_other`, or whatever kept the answer away.
            Refused: `node_takes_no_pair`: installed by files, or without a url.
        """
        expected = pair.certificate
        if self.node.url is None or self.node.install is not None:
            raise Refused(Reason.NODE_TAKES_NO_PAIR, node=self.node.name, topic=expected.topic)
        body = expected.pem.rstrip() + b"\n" + pair.key
        answer = self._ask("PUT", "/v1/pushcert", body=body, before_sending=self._before_change)
        if answer.status == _BAD_REQUEST:
            raise NodeFault(Reason.NODE_REFUSED_PAIR, node=self.node.name, got=_error_text(answer))
        if answer.status != _OK:
            raise answer.fault()
        topic, not_after = _stored(answer)
        if (topic, not_after) != (expected.topic, expected.not_after):
            raise NodeFault(
                Reason.NODE_STORED_OTHER,
                node=self.node.name,
                got=f"{topic} {not_after.isoformat()}",
                expected=f"{expected.topic} {expected.not_after.isoformat()}",
            )

    def require_access(self) -> None:
        """GET the pair without a body: every version answers 400 to whoever may ask, and stores nothing.

        Raises:
            NodeFault: `node_denied`, or whatever kept the answer away.
            Unusable: the password cannot be read.
        """
        if self.node.url is None:
            return
        answer = self._ask("GET", "/v1/pushcert")
        if answer.status not in _MAY_ASK:
            raise answer.fault()

    def push(self, enrollment: str) -> PushAnswer:
        """Push to one enrollment alone: a push to several can end the whole process (facts/lab.md §0, 6).

        On a store where an idle check-in leaves no trace, the push carries a harmless command for the device
        to answer (`DeviceInformation`, the device's name alone).
        """
        if self.node.url is None or not enrollment or "," in enrollment:
            return PushAnswer(accepted=None, reason=Reason.PUSH_NOT_POSSIBLE, detail=enrollment)
        name = quote(enrollment, safe="")
        try:
            records = self._records
            if records is not None and records.needs_command:
                answer = self._ask("PUT", f"/v1/enqueue/{name}", body=_check_in_command())
            else:
                answer = self._ask("GET", f"/v1/push/{name}")
            if answer.status not in _PUSH_STATUSES:
                raise answer.fault()
            return judge_push(enrollment, answer)
        except NodeFault as error:  # what is wrong with us, as an unreadable secret, is no answer
            # A node that answers without pushing has said no; anything else leaves it open.
            accepted = False if error.reason in {Reason.NODE_DENIED, Reason.NODE_ERROR} else None
            return PushAnswer(accepted, error.reason, detail=str(error.values.get("got", "")))

    def canaries(self, topic: str, limit: int) -> tuple[str, ...]:
        """Enrollments a person named (as far as they are enabled), then the most recently seen."""
        named = self.node.canary_enrollments
        records = self._records
        if records is None:
            return named[:limit]
        named = tuple(name for name in named if records.enrolled(name, topic))
        return tuple(dict.fromkeys((*named, *records.canaries(topic, limit))))[:limit]

    def check_in(self, enrollment: str) -> str | None:
        """From the store; None where there is no access to it."""
        records = self._records
        return None if records is None else records.check_in(enrollment)

    def push_target(self, enrollment: str) -> PushTarget | None:
        """From the store; None where there is no access to it."""
        records = self._records
        return None if records is None else records.push_target(enrollment)

    def enrolled_topics(self) -> dict[str, int] | None:
        """From the store; None where there is no access to it."""
        records = self._records
        if records is None:
            return None
        counts, _ = records.devices(datetime.now(UTC))
        return {count.topic: count.enabled for count in counts}

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        before_sending: Callable[[], None] | None = None,
    ) -> Answer:
        return self._transport().ask(
            method, path, body=body, credential=self._credential(), before_sending=before_sending
        )

    def _transport(self) -> Transport:
        return Transport(self.node, deadline_seconds=self._deadline)

    def _credential(self) -> Credential | None:
        if self.node.password is None or not self._may_use_credential:
            return None
        return Credential(self.node.user or DEFAULT_USER, secrets.read(self.node.password))

    def _version(self, node: Conversation, failures: list[Failure]) -> tuple[bool, str | None]:
        """Whether the process answers, and its version text, which decides nothing. Sends no credential."""
        answer = _collect(failures, lambda: node.get("/version"))
        if answer is None:
            return False, None
        if answer.status >= _ERROR:
            fault = answer.fault()
            failures.append(failure_of(fault.reason, fault.values))
            return False, None
        try:
            return True, str(answer.json().get("version", "")) or None
        except NodeFault:
            return True, None  # a proxy that lets only some paths through

    def _api_certificates(
        self, node: Conversation, failures: list[Failure]
    ) -> list[ServedCertificate] | None:
        """What GET tells, where the server has it; never with a body, which v0.9.0 would store."""
        if not self._topics or not _collect(failures, partial(self._api_tells, node)):
            return None
        asked = [_collect(failures, partial(self._api_certificate, node, topic)) for topic in self._topics]
        return None if None in asked else [certificate for found in asked for certificate in found or []]

    def _api_tells(self, node: Conversation) -> bool:
        """Whether GET tells of certificates. Sent without a credential too: a proxy may let this one through.

        Where none does, each such look would leave a refusal in the node's log: it is not asked twice.
        """
        if self._closed:
            return False
        answer = node.get("/v1/pushcert", self._credential())
        if self._credential() is None and answer.status != _BAD_REQUEST:
            self._closed = answer.denied
            return False
        if answer.status != _BAD_REQUEST:
            raise answer.fault()
        return _error_text(answer) == _TELLS

    def _api_certificate(self, node: Conversation, topic: str) -> list[ServedCertificate]:
        answer = node.get(f"/v1/pushcert?topic={quote(topic, safe='')}", self._credential())
        if answer.status == _ERROR and any(word in _error_text(answer) for word in _ABSENT):
            return []
        if answer.status != _OK:
            raise answer.fault()
        told, not_after = _stored(answer)
        return [ServedCertificate(told, not_after, Source.API)]


def judge_push(enrollment: str, answer: Answer) -> PushAnswer:
    """What NanoMDM's answer to a push of one enrollment says.

    `push_result` stands beside `push_error` too, so only the absence of an error is success; an id that is
    missing is unknown (facts/lab.md §0, 4 and 5).

    Raises:
        NodeFault: `node_answer_unreadable`, or `node_error` where the node could not even begin.
    """
    content = answer.json()
    states = content.get("status")
    state = states.get(enrollment) if isinstance(states, dict) else None
    error = state.get("push_error") if isinstance(state, dict) else None
    if error:
        return _refused(str(error))
    overall = content.get("push_error")
    if overall:
        raise NodeFault(Reason.NODE_ERROR, node=answer.node, got=pushanswer.shown(str(overall)))
    if answer.status == _OK and isinstance(state, dict) and state.get("push_result"):
        return PushAnswer(accepted=True)
    return PushAnswer(accepted=None, reason=Reason.PUSH_ANSWER_UNKNOWN, detail=answer.brief())


def _refused(text: str) -> PushAnswer:
    status, word = _PUSH_STATUS.search(text), _PUSH_WORD.search(text)
    if _NO_PUSH_DATA in text:
        reason = Reason.PUSH_ENROLLMENT_UNKNOWN
    elif status:
        reason = pushanswer.reason_of(int(status[1]), word and word[1]) or Reason.PUSH_ANSWER_UNKNOWN
    else:
        reason = pushanswer.reason_of_failure(text)
    return PushAnswer(
        accepted=False,
        reason=reason,
        says_wrong_pair=reason in pushanswer.WRONG_PAIR,
        detail=pushanswer.shown(text),
    )


def _distinct(failures: Sequence[Failure]) -> tuple[Failure, ...]:
    """Each once: one unreadable secret keeps two things from being learned, and is still one fault."""
    return tuple(failure for number, failure in enumerate(failures) if failure not in failures[:number])


def _collect(failures: list[Failure], look: Callable[[], T]) -> T | None:
    """What a look gives, or None and a failure noted."""
    try:
        return look()
    except RenewctlError as error:
        failures.append(failure_of(error.reason, error.values))
        return None


def _stored(answer: Answer) -> tuple[str, datetime]:
    """Topic and end of validity from `{"topic", "not_after"}`."""
    content = answer.json()
    try:
        return str(content["topic"]), datetime.fromisoformat(content["not_after"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):  # OverflowError: before year 1 in UTC
        raise NodeFault(Reason.NODE_ANSWER_UNREADABLE, node=answer.node, got=answer.brief()) from None


def _error_text(answer: Answer) -> str:
    try:
        return pushanswer.shown(str(answer.json().get("error", "")))
    except NodeFault:
        return answer.brief()


def _check_in_command() -> bytes:
    command = {"RequestType": "DeviceInformation", "Queries": ["DeviceName"]}
    return plistlib.dumps({"Command": command, "CommandUUID": CHECK_IN_COMMAND})
