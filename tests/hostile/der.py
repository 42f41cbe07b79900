"""DER taken apart and put together again with other numbers in it: a locked file that asks for more work."""

from __future__ import annotations

_INTEGER, _OCTETS, _CONSTRUCTED = 0x02, 0x04, 0x20


def with_number(der: bytes, old: int, new: int) -> bytes:
    """Every INTEGER `old` becomes `new`, also in the OCTET STRINGs that hold DER; all lengths put right."""
    return b"".join(_one(tag, body, old, new) for tag, body in _parts(der) or [])


def _one(tag: int, body: bytes, old: int, new: int) -> bytes:
    if tag == _INTEGER and int.from_bytes(body, "big") == old:
        body = new.to_bytes(new.bit_length() // 8 + 1, "big")
    elif (tag & _CONSTRUCTED or tag == _OCTETS) and (inside := _parts(body)):
        body = b"".join(_one(below, content, old, new) for below, content in inside)
    return bytes([tag]) + _length(len(body)) + body


def _length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def _parts(der: bytes) -> list[tuple[int, bytes]] | None:
    """Tag and content of each value; None where this is no DER to its last byte."""
    found, at = [], 0
    while at + 2 <= len(der):
        tag, first = der[at], der[at + 1]
        octets = first & 0x7F if first & 0x80 else 0
        length = int.from_bytes(der[at + 2 : at + 2 + octets], "big") if octets else first
        begin = at + 2 + octets
        found.append((tag, der[begin : begin + length]))
        at = begin + length
    return found if at == len(der) and found else None
