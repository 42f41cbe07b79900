"""The shape of every kind's body (`events`), for whoever reads events that anybody may have written.

What fits can be folded, shown and told; what does not is damage, named by its event where it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from renewctl.renewal.events import Direction, Kind, Outcome

_Fits = Callable[[object], bool]

_NUMBERS = range(-(2**63), 2**63)  # what databases hold


def require(kind: Kind, body: Mapping[str, object]) -> None:
    """Check that a body is as its kind is written.

    Raises:
        ValueError: a field is missing, or of another type.
    """
    if not _BODIES[kind](body):
        raise ValueError(kind.value)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _number(value: object) -> bool:
    return type(value) is int and value in _NUMBERS


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _instant(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _values(value: object) -> bool:
    return isinstance(value, dict)


def _word(*words: str) -> _Fits:
    return lambda value: isinstance(value, str) and value in words


def _or_none(fits: _Fits) -> _Fits:
    return lambda value: value is None or fits(value)


def _list(fits: _Fits) -> _Fits:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _by_name(fits: _Fits) -> _Fits:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _shape(wanted: Mapping[str, _Fits], may_lack: Mapping[str, _Fits] | None = None) -> _Fits:
    """A mapping with these fields; further ones do not matter."""
    others = may_lack or {}

    def fits(value: object) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value and fit(value[name]) for name, fit in wanted.items())
            and all(fit(value[name]) for name, fit in others.items() if value.get(name) is not None)
        )

    return fits


_ANYTHING = _shape({})
_DIRECTION = _word(*Direction)
_PAIR = _shape(
    {
        "document": _text,
        "fingerprint": _text,
        "serial": _text,
        "not_after": _instant,
        "key_fingerprint": _or_none(_text),
    }
)
_NAMED_KEY = {"key_fingerprint": _text}
_PROOF = _shape({"rungs": _by_name(_text)}, {"enrollment": _text})
_NODE = {"node": _text, "outcome": _word(*Outcome)}
_MAY_TELL = {"direction": _DIRECTION, "run": _number, "proof": _PROOF, "reason": _text, "values": _values}
_UNSETTLED = {"unsettled": _list(_text)}
_LET_GO = {"let_go": _list(_text)}


_BODIES: Mapping[Kind, _Fits] = {
    Kind.OPENED: _shape({"topic_id": _text, "topic": _text, "previous": _or_none(_PAIR)}),
    Kind.KEY_MADE: _shape(_NAMED_KEY, {"document": _text, "recipients": _list(_text)}),
    Kind.CSR_MADE: _shape({**_NAMED_KEY, "document": _text}),
    Kind.REQUESTED: _shape(
        {"document": _text, "last_day": _instant, "signer": _text, "serial": _text}, {"file": _text}
    ),
    Kind.CERTIFICATE_REFUSED: _shape({"reason": _text, "findings": _list(_shape({"values": _values}))}),
    Kind.ACCEPTED: _shape({"pair": _PAIR, "topic": _text}),
    Kind.ROLL_OUT_STARTED: _shape(
        {"run": _number, "waves": _list(_list(_text)), "left_out": _by_name(_text), "forward_only": _flag}
    ),
    Kind.WAVE_STARTED: _shape(
        {"run": _number, "direction": _DIRECTION, "nodes": _list(_text)},
        {**_UNSETTLED, "storages": _by_name(_text)},
    ),
    Kind.NODE_FINISHED: _shape(_NODE, {**_MAY_TELL, **_UNSETTLED}),
    Kind.NODE_VERIFIED: _shape(_NODE, _MAY_TELL),
    Kind.ROLL_OUT_FINISHED: _ANYTHING,
    Kind.ROLL_BACK_STARTED: _shape({"run": _number, "nodes": _list(_text)}),
    Kind.ROLL_BACK_FINISHED: _ANYTHING,
    Kind.CLOSED: _shape({}, _LET_GO),
    Kind.ABORTED: _shape({}, _LET_GO),
    Kind.ADOPTED: _shape({"pair": _PAIR, "topic": _text}, {"recipients": _list(_text), "after": _text}),
    Kind.RESTORED: _shape({"nodes": _list(_text)}),
    Kind.REKEY_STARTED: _shape({"keys": _list(_text), "recipients": _list(_text)}),
    Kind.KEY_RESEALED: _shape({**_NAMED_KEY, "recipients": _list(_text)}),
    Kind.DESTRUCTION_STARTED: _shape({"keys": _list(_shape(_NAMED_KEY))}),
    Kind.KEY_DESTROYED: _shape(_NAMED_KEY),
}
