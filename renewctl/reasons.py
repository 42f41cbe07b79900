"""The closed list of reason codes.

A code is public contract: a `reason` label on a metric, a field in JSON, a word in an event, and the
key of a sentence (`<code>`) and a hint (`<code>.hint`) in every language's catalogue. Codes are
added, never renamed.
"""

from __future__ import annotations

from enum import StrEnum


class Word(str):
    """A value that is itself a key of the catalogues (`phase.accepted`), shown in the reader's language."""

    __slots__ = ()


class Reason(StrEnum):
    """Why something was refused, failed, or needs attention."""

    # Files handed to us
    FILE_NOT_FOUND = "file_not_found"
    FILE_UNREADABLE = "file_unreadable"
    FILE_EMPTY = "file_empty"
    FILE_TOO_LARGE = "file_too_large"
    FILE_NOT_REGULAR = "file_not_regular"
    FILE_LINK_LOOP = "file_link_loop"
    FILE_NOT_TEXT = "file_not_text"
    WRITE_FAILED = "write_failed"
    WRITE_DENIED = "write_denied"
    FOLDER_MISSING = "folder_missing"

    # Inventory
    INVENTORY_NOT_FOUND = "inventory_not_found"
    INVENTORY_EMPTY = "inventory_empty"
    INVENTORY_SYNTAX = "inventory_syntax"
    INVENTORY_TAG = "inventory_tag"
    INVENTORY_TOO_MUCH = "inventory_too_much"
    INVENTORY_UNKNOWN_KEY = "inventory_unknown_key"
    INVENTORY_MISSPELT_KEY = "inventory_misspelt_key"
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
    SECRET_EMPTY = "secret_empty"
    SECRET_NOT_TEXT = "secret_not_text"

    # Renewal: order, people, runs
    OUT_OF_ORDER = "out_of_order"
    HISTORY_BROKEN = "history_broken"
    RENEWAL_EARLY = "renewal_early"
    RENEWAL_OPEN_ALREADY = "renewal_open_already"
    TOPIC_UNDER_OTHER_ID = "topic_under_other_id"
    ID_OF_OTHER_TOPIC = "id_of_other_topic"
    RENEWAL_OF_OTHER_UID = "renewal_of_other_uid"
    RENEWAL_NONE_OPEN = "renewal_none_open"
    RENEWAL_CLOSED = "renewal_closed"
    RENEWAL_UNKNOWN = "renewal_unknown"
    SEVERAL_TOPICS = "several_topics"
    NOT_ADOPTED = "not_adopted"
    PAIR_NOT_ON_RECORD = "pair_not_on_record"
    PREVIOUS_PAIR_MISSING = "previous_pair_missing"
    NO_PAIR_BEFORE = "no_pair_before"
    PREVIOUS_PAIR_REFUSED = "previous_pair_refused"
    NEW_PAIR_REFUSED = "new_pair_refused"
    PUSH_SERVICE_UNKNOWN = "push_service_unknown"
    KEY_DIFFERS = "key_differs"
    KEY_NOT_IN_STORE = "key_not_in_store"
    VENDOR_NOT_CONFIGURED = "vendor_not_configured"
    VENDOR_KEY_MISSING = "vendor_key_missing"
    NODES_OWED = "nodes_owed"
    NODES_UNKNOWN = "nodes_unknown"
    NODES_NOT_PROVEN = "nodes_not_proven"
    NODES_WRONG = "nodes_wrong"
    ROLL_OUT_STOPPED = "roll_out_stopped"
    ROLL_BACK_OWED = "roll_back_owed"
    ROLL_BACK_GONE = "roll_back_gone"
    ROLL_BACK_USELESS = "roll_back_useless"
    ROLL_BACK_TO_EXPIRED = "roll_back_to_expired"
    ROLL_BACK_TO_REFUSED = "roll_back_to_refused"
    ROLL_BACK_FORWARD_ONLY = "roll_back_forward_only"
    FENCE_FAILED = "fence_failed"
    FILE_IN_THE_WAY = "file_in_the_way"
    WAVES_INVALID = "waves_invalid"

    # Certificate files: what a file is, and why it cannot be taken
    FILE_NOT_RECOGNISED = "file_not_recognised"
    FILE_IS_WEB_PAGE = "file_is_web_page"
    FILE_IS_CSR = "file_is_csr"
    FILE_IS_REQUEST = "file_is_request"
    FILE_IS_PRIVATE_KEY = "file_is_private_key"
    FILE_IS_ENCRYPTED_MESSAGE = "file_is_encrypted_message"
    CERTIFICATE_UNREADABLE = "certificate_unreadable"
    CERTIFICATE_NAME_UNREADABLE = "certificate_name_unreadable"
    SEVERAL_CERTIFICATES = "several_certificates"
    KEY_UNREADABLE = "key_unreadable"
    ARCHIVE_UNREADABLE = "archive_unreadable"
    ARCHIVE_TOO_LARGE = "archive_too_large"
    ARCHIVE_WITHOUT_CERTIFICATE = "archive_without_certificate"
    ARCHIVE_WITH_SEVERAL = "archive_with_several"
    PASSPHRASE_NEEDED = "passphrase_needed"
    PASSPHRASE_WRONG = "passphrase_wrong"
    LOCKED_TOO_COSTLY = "locked_too_costly"
    LOCKED_UNSUPPORTED = "locked_unsupported"

    # Certificate: findings on a downloaded push certificate, and on what nodes serve
    CERTIFICATE_IS_CURRENT = "certificate_is_current"
    KEY_OF_CURRENT_CERTIFICATE = "key_of_current_certificate"
    KEY_OF_ANOTHER_REQUEST = "key_of_another_request"
    CERTIFICATE_WITHOUT_TOPIC = "certificate_without_topic"
    TOPIC_NOT_MDM = "topic_not_mdm"
    TOPIC_DIFFERS = "topic_differs"
    CURRENT_TOPIC_DIFFERS = "current_topic_differs"
    ENROLLED_TOPIC_UNKNOWN = "enrolled_topic_unknown"
    ENROLLED_TOPIC_DIFFERS = "enrolled_topic_differs"
    ENROLLED_ELSEWHERE = "enrolled_elsewhere"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_NOT_LATER = "certificate_not_later"
    CERTIFICATE_WITHOUT_CLIENT_AUTH = "certificate_without_client_auth"
    CERTIFICATE_WITHOUT_PUSH = "certificate_without_push"
    ISSUER_UNKNOWN = "issuer_unknown"
    ISSUER_EXPIRED = "issuer_expired"
    ISSUER_SIGNATURE_WRONG = "issuer_signature_wrong"
    NODES_DISAGREE = "nodes_disagree"
    SERVED_TOPIC_MISSING = "served_topic_missing"

    # Request: the MDM vendor certificate, and the file for the portal
    VENDOR_MARK_MISSING = "vendor_mark_missing"
    VENDOR_EXPIRED = "vendor_expired"
    VENDOR_NOT_YET_VALID = "vendor_not_yet_valid"
    VENDOR_EXPIRING = "vendor_expiring"
    VENDOR_CHAIN_INCOMPLETE = "vendor_chain_incomplete"
    VENDOR_CHAIN_ORDER = "vendor_chain_order"
    VENDOR_CHAIN_EXPIRED = "vendor_chain_expired"
    VENDOR_KEY_DIFFERS = "vendor_key_differs"
    VENDOR_KEY_UNREADABLE = "vendor_key_unreadable"
    REQUEST_UNREADABLE = "request_unreadable"
    REQUEST_NOT_RECOGNISED = "request_not_recognised"
    REQUEST_OF_ANOTHER_CSR = "request_of_another_csr"
    REQUEST_SIGNATURE_WRONG = "request_signature_wrong"
    REQUEST_SIGNED_WITH_SHA1 = "request_signed_with_sha1"
    REQUEST_IS_CSR = "request_is_csr"
    REQUEST_IS_CERTIFICATE = "request_is_certificate"
    REQUEST_STILL_ENCRYPTED = "request_still_encrypted"

    # Asking a node
    NODE_UNREACHABLE = "node_unreachable"
    NODE_TIMEOUT = "node_timeout"
    NODE_NO_ANSWER = "node_no_answer"
    NODE_DENIED = "node_denied"
    NODE_ERROR = "node_error"
    NODE_ANSWER_UNREADABLE = "node_answer_unreadable"
    NODE_TLS_FAILED = "node_tls_failed"
    NODE_INSECURE_HTTP = "node_insecure_http"
    NODE_REFUSED_PAIR = "node_refused_pair"
    NODE_STORED_OTHER = "node_stored_other"
    NODE_TAKES_NO_PAIR = "node_takes_no_pair"
    DATABASE_UNREACHABLE = "database_unreachable"
    DATABASE_DENIED = "database_denied"
    DATABASE_ERROR = "database_error"
    DATABASE_ZONE = "database_zone"
    FOLDER_UNREADABLE = "folder_unreadable"
    FOLDER_EMPTY = "folder_empty"
    NODE_CERTIFICATE_UNREADABLE = "node_certificate_unreadable"
    NODE_CERTIFICATE_ELSEWHERE = "node_certificate_elsewhere"
    NODE_CERTIFICATE_LOCKED = "node_certificate_locked"

    # What the push service answers, to us or through a node
    PUSH_TLS_REFUSED = "push_tls_refused"
    PUSH_CERTIFICATE_REFUSED = "push_certificate_refused"
    PUSH_TOPIC_REFUSED = "push_topic_refused"
    PUSH_CONNECTION_RESET = "push_connection_reset"
    PUSH_DEVICE_GONE = "push_device_gone"
    PUSH_TOKEN_BAD = "push_token_bad"
    PUSH_ENROLLMENT_UNKNOWN = "push_enrollment_unknown"
    PUSH_SERVICE_BUSY = "push_service_busy"
    PUSH_SERVICE_UNREACHABLE = "push_service_unreachable"
    PUSH_SERVICE_NOT_TRUSTED = "push_service_not_trusted"
    PUSH_SERVICE_TIMEOUT = "push_service_timeout"
    PUSH_REQUEST_REFUSED = "push_request_refused"
    PUSH_ANSWER_UNKNOWN = "push_answer_unknown"
    PUSH_PAIR_UNUSABLE = "push_pair_unusable"
    PUSH_NOT_POSSIBLE = "push_not_possible"

    # Proof
    PROOF_CERTIFICATE_DIFFERS = "proof_certificate_differs"
    PROOF_CERTIFICATE_ABSENT = "proof_certificate_absent"
    PROOF_NO_CANARY = "proof_no_canary"
    PROOF_NOT_READ_BACK = "proof_not_read_back"
    PROOF_NO_CHECK_IN = "proof_no_check_in"
    PROOF_NOTHING_TO_TELL = "proof_nothing_to_tell"

    # Playbooks: steps on nodes, and the child process that runs them
    PLAYBOOK_FAILED = "playbook_failed"
    CONNECTION_VARIABLE_REFUSED = "connection_variable_refused"
    CONTROLLER_GONE = "controller_gone"
    COLLECTION_DIFFERS = "collection_differs"
    RUN_SUPERSEDED = "run_superseded"
    RUN_NOT_FENCED = "run_not_fenced"
    RUN_TOO_HIGH = "run_too_high"
    RELOAD_FAILED = "reload_failed"
    RELOAD_NOT_ALLOWED = "reload_not_allowed"
    NO_WAY_BACK = "no_way_back"
    PAIR_INCOMPLETE = "pair_incomplete"
    PAIR_MISMATCHED = "pair_mismatched"
    HOSTS_DIFFER = "hosts_differ"
    HOSTS_NOT_SORTED = "hosts_not_sorted"
    PREVIOUS_PAIR_EXPIRED = "previous_pair_expired"
    NODE_NOT_TRIED = "node_not_tried"
    CANARY_HELD = "canary_held"
    NODE_LOCKED = "node_locked"
    NODE_STATE_DAMAGED = "node_state_damaged"
    NODE_STATE_NEWER = "node_state_newer"
    NODE_LAYOUT_UNSUPPORTED = "node_layout_unsupported"
    NODE_FILE_MISSING = "node_file_missing"
    NODE_FILE_UNREADABLE = "node_file_unreadable"
    NODE_FILE_NOT_CERTIFICATE = "node_file_not_certificate"
    NODE_FILE_NOT_PKCS12 = "node_file_not_pkcs12"
    NODE_PASSWORD_DIFFERS = "node_password_differs"
    NODE_FILE_LINKED = "node_file_linked"
    NODE_FILES_CHANGED = "node_files_changed"
    NODE_PAIR_MISMATCHED = "node_pair_mismatched"
    NODE_WRITE_FAILED = "node_write_failed"
    NODE_READ_BACK_DIFFERS = "node_read_back_differs"
    NODE_SSH_FAILED = "node_ssh_failed"
    NODE_STEP_FAILED = "node_step_failed"
    NODE_STEP_UNFINISHED = "node_step_unfinished"
    NODE_STEP_UNDONE = "node_step_undone"
    NODE_STEP_OF_OTHER_PLACES = "node_step_of_other_places"
    NODE_FOLDER_FOREIGN = "node_folder_foreign"
    NODE_RELEASE_DAMAGED = "node_release_damaged"

    # Store: the database of events, and its leases
    STORE_URL_INVALID = "store_url_invalid"
    STORE_NONE = "store_none"
    STORE_MISSING = "store_missing"
    STORE_NOT_A_STORE = "store_not_a_store"
    STORE_NEWER = "store_newer"
    STORE_OLDER = "store_older"
    STORE_UPGRADE_FAILED = "store_upgrade_failed"
    STORE_ON_NETWORK = "store_on_network"
    STORE_UNREACHABLE = "store_unreachable"
    STORE_DENIED = "store_denied"
    STORE_UNKNOWN_DATABASE = "store_unknown_database"
    STORE_UNVERIFIED = "store_unverified"
    STORE_READ_ONLY = "store_read_only"
    STORE_NEEDS_RECOVERY = "store_needs_recovery"
    STORE_BUSY = "store_busy"
    STORE_DAMAGED = "store_damaged"
    STORE_FAILED = "store_failed"
    STORE_ANSWER_LOST = "store_answer_lost"
    DISK_FULL = "disk_full"
    DOCUMENT_MISSING = "document_missing"
    SOMEBODY_ELSE_MOVED = "somebody_else_moved"
    RUN_HELD = "run_held"
    RUN_LOST = "run_lost"
    RUN_OVERTAKEN = "run_overtaken"

    # Backup and restore
    BACKUP_NO_FOLDER = "backup_no_folder"
    BACKUP_EXISTS = "backup_exists"
    BACKUP_UNREADABLE = "backup_unreadable"
    BACKUP_DAMAGED = "backup_damaged"
    BACKUP_NEWER = "backup_newer"
    BACKUP_NEEDED = "backup_needed"
    BACKUP_STALE = "backup_stale"
    STORE_NOT_EMPTY = "store_not_empty"
    KEY_NOT_SEALED = "key_not_sealed"

    # Audit: what is not as it was written
    AUDIT_EVENT_UNREADABLE = "audit_event_unreadable"
    AUDIT_EVENT_CHANGED = "audit_event_changed"
    AUDIT_EVENT_MISSING = "audit_event_missing"
    AUDIT_CHAIN_BROKEN = "audit_chain_broken"
    AUDIT_ORDER = "audit_order"
    AUDIT_RENEWAL_MISSING = "audit_renewal_missing"
    AUDIT_PLACE_ABSENT = "audit_place_absent"
    AUDIT_PLACE_MISSING = "audit_place_missing"
    AUDIT_PLACE_TWICE = "audit_place_twice"
    AUDIT_STORE_CHAIN_BROKEN = "audit_store_chain_broken"
    AUDIT_GROUND_CHANGED = "audit_ground_changed"
    AUDIT_DOCUMENT_CHANGED = "audit_document_changed"
    AUDIT_DOCUMENT_MISSING = "audit_document_missing"
    AUDIT_RUN_UNREADABLE = "audit_run_unreadable"
    AUDIT_RUN_MISSING = "audit_run_missing"
    AUDIT_RUN_CHANGED = "audit_run_changed"
    AUDIT_RUN_OF_NO_RENEWAL = "audit_run_of_no_renewal"
    AUDIT_HEAD_MISSING = "audit_head_missing"
    REPORT_IN_THE_WAY = "report_in_the_way"

    # Key store: sealing, opening, private keys
    KEYS_NO_HOME = "keys_no_home"
    KEYS_NOT_SHARED = "keys_not_shared"
    KEYS_FOLDER_OPEN = "keys_folder_open"
    KEYS_DENIED = "keys_denied"
    RECIPIENTS_TOO_MANY = "recipients_too_many"
    RECIPIENTS_NONE = "recipients_none"
    RECIPIENT_INVALID = "recipient_invalid"
    RECIPIENT_IS_IDENTITY = "recipient_is_identity"
    IDENTITY_INVALID = "identity_invalid"
    IDENTITY_IS_RECIPIENT = "identity_is_recipient"
    IDENTITY_LOCKED = "identity_locked"
    IDENTITY_CANNOT_OPEN = "identity_cannot_open"
    SEALED_KEY_MISSING = "sealed_key_missing"
    SEALED_KEY_DAMAGED = "sealed_key_damaged"
    KEY_NAME_DIFFERS = "key_name_differs"
    KEY_OF_OTHER_CERTIFICATE = "key_of_other_certificate"
    KEY_CHANGED_MEANWHILE = "key_changed_meanwhile"
    KEY_LOST = "key_lost"
    PREVIOUS_KEY_LOST = "previous_key_lost"
    REKEY_NOT_PROVEN = "rekey_not_proven"
    PRIVATE_KEY_ABSENT = "private_key_absent"
    PRIVATE_KEY_ENCRYPTED = "private_key_encrypted"
    PRIVATE_KEY_NOT_RSA = "private_key_not_rsa"
    PRIVATE_KEY_UNREADABLE = "private_key_unreadable"

    # Exporter
    LISTEN_ADDRESS_INVALID = "listen_address_invalid"
    LISTEN_FAILED = "listen_failed"
    SNAPSHOT_FILE_UNUSABLE = "snapshot_file_unusable"
    PROBE_CREDENTIAL_FOR_MANY = "probe_credential_for_many"
    WEB_KEY_MISSING = "web_key_missing"
    WEB_CLIENT_UNVERIFIED = "web_client_unverified"
    WEB_TLS_UNSUPPORTED = "web_tls_unsupported"
    WEB_TLS_FILE = "web_tls_file"
    WEB_PASSWORD_NOT_BCRYPT = "web_password_not_bcrypt"

    # Sandbox
    WORLD_BROKEN = "world_broken"
    FOLDER_NOT_EMPTY = "folder_not_empty"

    # Command line
    INVENTORY_EXISTS = "inventory_exists"
    INIT_NO_TOPICS = "init_no_topics"
    IDENTITY_WITHOUT_RECIPIENT = "identity_without_recipient"
    OPTION_MISSING = "option_missing"
    OPTION_INVALID = "option_invalid"
    OPTION_VALUE = "option_value"
    OPTION_UNKNOWN = "option_unknown"
    OPTION_NEEDS_VALUE = "option_needs_value"
    OPTION_WITHOUT_VALUE = "option_without_value"
    ARGUMENT_MISSING = "argument_missing"
    ARGUMENT_UNEXPECTED = "argument_unexpected"
    COMMAND_UNKNOWN = "command_unknown"
    TOPIC_UNKNOWN = "topic_unknown"
    NODE_NOT_IN_INVENTORY = "node_not_in_inventory"
    EXTRA_MISSING = "extra_missing"
    SYSTEM_FAILED = "system_failed"
    INTERNAL = "internal"


#: Why a node has no fresh facts; label values of `mdm_node_failures`, pre-set to 0 for every node.
NODE_REASONS: tuple[Reason, ...] = (
    Reason.NODE_UNREACHABLE,
    Reason.NODE_TIMEOUT,
    Reason.NODE_NO_ANSWER,
    Reason.NODE_DENIED,
    Reason.NODE_ERROR,
    Reason.NODE_ANSWER_UNREADABLE,
    Reason.NODE_TLS_FAILED,
    Reason.NODE_INSECURE_HTTP,
    Reason.DATABASE_UNREACHABLE,
    Reason.DATABASE_DENIED,
    Reason.DATABASE_ERROR,
    Reason.DATABASE_ZONE,
    Reason.FOLDER_UNREADABLE,
    Reason.FOLDER_EMPTY,
    Reason.NODE_CERTIFICATE_UNREADABLE,
    Reason.NODE_CERTIFICATE_ELSEWHERE,
    Reason.NODE_CERTIFICATE_LOCKED,
    Reason.NODE_FILE_MISSING,
    Reason.SECRET_UNREADABLE,
    Reason.SECRET_COMMAND_NOT_ALLOWED,
    Reason.SECRET_COMMAND_FAILED,
    Reason.SECRET_EMPTY,
    Reason.SECRET_NOT_TEXT,
)
