"""The closed list of reason codes.

A code is public contract: a `reason` label on a metric, a field in JSON, a word in an event, and the
key of a sentence (`<code>`) and a hint (`<code>.hint`) in every language's catalogue. Codes are
added, never renamed.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was refused, failed, or needs attention."""

    # Files handed to us
    FILE_NOT_FOUND = "file_not_found"
    FILE_UNREADABLE = "file_unreadable"
    FILE_EMPTY = "file_empty"
    FILE_TOO_LARGE = "file_too_large"
    FILE_NOT_REGULAR = "file_not_regular"
    FILE_NOT_TEXT = "file_not_text"
    WRITE_FAILED = "write_failed"

    # Inventory
    INVENTORY_NOT_FOUND = "inventory_not_found"
    INVENTORY_SYNTAX = "inventory_syntax"
    INVENTORY_UNKNOWN_KEY = "inventory_unknown_key"
    INVENTORY_MISSING_KEY = "inventory_missing_key"
    INVENTORY_WRONG_TYPE = "inventory_wrong_type"
    INVENTORY_BAD_VALUE = "inventory_bad_value"
    INVENTORY_DUPLICATE = "inventory_duplicate"
    INVENTORY_DANGLING = "inventory_dangling"
    INVENTORY_TOPIC_WITHOUT_NODES = "inventory_topic_without_nodes"
    INVENTORY_SECRET_IN_CLEAR = "inventory_secret_in_clear"
    INVENTORY_INSECURE_HTTP = "inventory_insecure_http"
    INVENTORY_VERSION = "inventory_version"

    # Secrets
    SECRET_UNREADABLE = "secret_unreadable"
    SECRET_COMMAND_NOT_ALLOWED = "secret_command_not_allowed"
    SECRET_COMMAND_FAILED = "secret_command_failed"

    # Renewal: order, people, runs
    OUT_OF_ORDER = "out_of_order"
    HISTORY_BROKEN = "history_broken"
    RENEWAL_OPEN_ALREADY = "renewal_open_already"
    RENEWAL_NONE_OPEN = "renewal_none_open"
    RENEWAL_UNKNOWN = "renewal_unknown"
    SEVERAL_TOPICS = "several_topics"
    NOT_ADOPTED = "not_adopted"
    PREVIOUS_PAIR_MISSING = "previous_pair_missing"
    PREVIOUS_PAIR_REFUSED = "previous_pair_refused"
    NEW_PAIR_REFUSED = "new_pair_refused"
    PUSH_SERVICE_UNKNOWN = "push_service_unknown"
    KEY_NOT_IN_STORE = "key_not_in_store"
    VENDOR_NOT_CONFIGURED = "vendor_not_configured"
    VENDOR_KEY_MISSING = "vendor_key_missing"
    NODES_OWED = "nodes_owed"
    NODES_UNKNOWN = "nodes_unknown"
    NODES_NOT_PROVEN = "nodes_not_proven"
    ROLL_OUT_STOPPED = "roll_out_stopped"
    ROLL_OUT_HELD = "roll_out_held"
    ROLL_BACK_OWED = "roll_back_owed"
    FENCE_FAILED = "fence_failed"
    WAVES_INVALID = "waves_invalid"
    PAIR_WRONG = "pair_wrong"

    # Command line
    OPTION_MISSING = "option_missing"
    OPTION_INVALID = "option_invalid"
    TOPIC_UNKNOWN = "topic_unknown"
    NODE_NOT_IN_INVENTORY = "node_not_in_inventory"
    EXTRA_MISSING = "extra_missing"
    INTERNAL = "internal"


#: Why a node has no fresh facts; label values of `mdm_node_failures`, pre-set to 0 for every node.
NODE_REASONS: tuple[Reason, ...] = ()
