# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a node answers and no log may show. Standard library alone.

Under ANSIBLE_DEBUG every answer is written down; what goes to a node's standard input is not.
"""

from __future__ import annotations

import hashlib

#: Bytes of a secret: 256 bits, the strength SHAKE-256 has.
SECRET_BYTES = 32


def veiled(data, secret, name):
    """Data under a secret that came with the order, on standard input; the same once more takes the veil off.

    Args:
        secret: random, for one order alone: it is a stream cipher (SHAKE-256 of secret and name, by XOR).
        name: what the data is, another one for each in the same order.
    """
    stream = hashlib.shake_256(secret + name.encode()).digest(len(data))
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")
    return mixed.to_bytes(len(data), "big")
