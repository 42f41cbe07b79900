"""Every metric of the exporter, once: name, type, unit, labels, help.

`exporter/METRICS.md` is generated from this file (`python -m exporter.reference`); a collector can
only publish what is defined here, with exactly these labels.
"""

from __future__ import annotations

from exporter.definition import POLLED, Definition
from exporter.process import PROCESS

EXPIRY = Definition(
    "mdm_push_certificate_expiry_timestamp_seconds",
    "When the push certificate a node serves for a topic expires, by where that is known from "
    "(source: api, database, file, recorded, adopted); the last known value while the node is silent. "
    f"{POLLED}",
    ("topic", "node", "source"),
    "Nothing has ever told this node's date for the topic; then mdm_topic_expiry_known is 0. "
    "An expired certificate keeps its series.",
    (
        "min by (topic) (mdm_push_certificate_expiry_timestamp_seconds) - time()",
        "seconds each topic has left at its worst node; negative once expired",
    ),
)
CERTIFICATE_INFO = Definition(
    "mdm_push_certificate_info",
    "Serial (lower-case hex) and issuer of the push certificate a node serves, empty where unknown. "
    f"{POLLED}",
    ("topic", "node", "source", "serial", "issuer"),
    "As mdm_push_certificate_expiry_timestamp_seconds.",
    (
        'count by (topic) (count by (topic, serial) (mdm_push_certificate_info{serial!=""})) > 1',
        "topics whose nodes serve different certificates",
    ),
    kind="info",
)
FILE_EXPIRY = Definition(
    "mdm_certificate_file_expiry_timestamp_seconds",
    "When the first of the certificates in a file on the exporter's machine expires; the last known date "
    "while the file cannot be read, also in part, or is gone; topic is the UID in the first one's name, "
    f"empty where there is none. {POLLED}",
    ("node", "file", "topic"),
    "No date was ever read in this file; then mdm_certificate_file_readable is 0. Files of nodes that are "
    "other hosts are not seen from here. A file gone from a watched folder is shown for 7 more days.",
    (
        'mdm_certificate_file_expiry_timestamp_seconds{topic!~"com[.]apple[.]mgmt.*"} - time() < 30 * 86400',
        "files whose certificates, no push certificates, expire within 30 days, or did",
    ),
)
FILE_READABLE = Definition(
    "mdm_certificate_file_readable",
    "1 if a certificate was read in a file without anything wrong when last looked at, 0 if not, also where "
    f"the file is gone or its folder cannot be listed. {POLLED}",
    ("node", "file"),
    "Never, for a file the inventory names on the exporter's machine, once its node was looked at, nor for "
    "one that is in a watched folder or was within the last 7 days.",
    ("mdm_certificate_file_readable == 0", "files to look after"),
)
FILE_FAILURE = Definition(
    "mdm_certificate_file_failure",
    f"1 for what is wrong now with a file whose mdm_certificate_file_readable is 0. {POLLED}",
    ("node", "file", "reason"),
    "Nothing is wrong with the file: read mdm_certificate_file_readable beside it.",
    ("count by (reason) (mdm_certificate_file_failure)", "how many files have which trouble"),
)
OTHER_EXPIRY = Definition(
    "mdm_expiry_timestamp_seconds",
    "When something else than a push certificate expires (kind: vendor_certificate, wwdr_intermediate, "
    "tls_certificate, scep_ca, ade_token, vpp_token); the last date known while it cannot be read, the "
    f"earliest of several; node is empty for what belongs to none. {POLLED}",
    ("kind", "name", "node"),
    "Nothing has ever told its date; then mdm_expiry_known is 0. What has expired keeps its series.",
    (
        "(mdm_expiry_timestamp_seconds - time()) / 86400 < 30",
        "what else ends within 30 days, or did; the value is the days left",
    ),
)
OTHER_KNOWN = Definition(
    "mdm_expiry_known",
    f"1 if its date was read when last tried, 0 if not (then the last date known stays) or not yet. {POLLED}",
    ("kind", "name", "node"),
    "Never, for what the inventory names: under expires, as vendor and chain, nodes with https addresses.",
    ("mdm_expiry_known == 0", "what nobody can be warned about, or soon cannot"),
)
OTHER_FAILURE = Definition(
    "mdm_expiry_failure",
    f"1 for why a date could not be read when last tried. {POLLED}",
    ("kind", "name", "node", "reason"),
    "It could be read: read mdm_expiry_known beside it.",
    ("mdm_expiry_failure", "why dates cannot be read now"),
)
OTHER_LAST_SUCCESS = Definition(
    "mdm_expiry_last_success_timestamp_seconds",
    f"When its date was last read; 0 if never. {POLLED}",
    ("kind", "name", "node"),
    "As mdm_expiry_known.",
    ("time() - mdm_expiry_last_success_timestamp_seconds > 86400", "dates nobody has confirmed for a day"),
)
NODE_UP = Definition(
    "mdm_node_up",
    "1 if the node answered when last asked; a node of files alone: if they could be read. "
    f"0 before the first answer. {POLLED}",
    ("node", "product"),
    "A node of files alone on another host, or of a PKCS#12 file that no roll-out made: from here there is "
    "nothing to ask; mdm_node_failures says so. Else never, for a node of the inventory.",
    ("mdm_node_up == 0", "nodes that are silent now"),
)
NODE_FAILURES = Definition(
    "mdm_node_failures",
    "What could not be learned from a node when it was last asked, by reason: a gauge, not a counter. "
    f"{POLLED}",
    ("node", "reason"),
    "Never, for a node of the inventory and a reason of the closed list: 0 while all is well.",
    ("sum by (node, reason) (mdm_node_failures) > 0", "what is wrong now, and where"),
)
NODE_LAST_SUCCESS = Definition(
    "mdm_node_last_success_timestamp_seconds",
    f"When a node was last asked and nothing at all failed; 0 if never. {POLLED}",
    ("node",),
    "Never, for a node of the inventory.",
    ("time() - mdm_node_last_success_timestamp_seconds > 3600", "nodes with no flawless answer for an hour"),
)
NODE_SNAPSHOT = Definition(
    "mdm_node_snapshot_timestamp_seconds",
    "When the oldest of the certificate facts shown for a node was observed "
    f"(sources recorded and adopted left aside); 0 if there are none. {POLLED}",
    ("node",),
    "Never, for a node of the inventory.",
    ("time() - mdm_node_snapshot_timestamp_seconds", "age of what is shown of each node's certificates"),
)
NODE_POLL_SECONDS = Definition(
    "mdm_node_poll_duration_seconds",
    f"How long the last finished poll of a node took. {POLLED}",
    ("node",),
    "No poll of this node has finished since the exporter started.",
    ("topk(5, mdm_node_poll_duration_seconds)", "the slowest nodes"),
)
NODE_POLLS = Definition(
    "mdm_node_polls_total",
    f"Finished polls of a node since the exporter started. {POLLED}",
    ("node",),
    "Never, for a node of the inventory.",
    ("rate(mdm_node_polls_total[10m]) == 0", "nodes that are not asked, or hang"),
    kind="counter",
)
NODE_POLL_FAILURES = Definition(
    "mdm_node_poll_failures_total",
    "Finished polls of a node since the exporter started that left something unlearned; why, now: "
    f"mdm_node_failures. {POLLED}",
    ("node",),
    "Never, for a node of the inventory.",
    (
        "rate(mdm_node_poll_failures_total[1h]) / rate(mdm_node_polls_total[1h])",
        "share of polls that fail, by node",
    ),
    kind="counter",
)
DEVICES_ENROLLED = Definition(
    "mdm_devices_enrolled",
    f"Devices enrolled (enabled, device channel) by topic, as this node's storage tells. {POLLED}",
    ("node", "storage", "topic"),
    "The node cannot tell of devices, or never did. Nodes of one storage each tell of the same devices.",
    (
        "max by (storage, topic) (mdm_devices_enrolled)",
        "devices of each storage, counted once however many nodes share it",
    ),
)
DEVICES_SEEN = Definition(
    "mdm_devices_seen",
    "Enrolled devices whose last check-in was at most this many seconds before the node was asked "
    f"(within, cumulative). {POLLED}",
    ("node", "storage", "topic", "within"),
    "As mdm_devices_enrolled.",
    (
        'mdm_devices_seen{within="604800"} / ignoring (within) mdm_devices_enrolled',
        "share of devices that checked in during the last 7 days",
    ),
)
DEVICE_LAST_SEEN = Definition(
    "mdm_device_last_seen_timestamp_seconds",
    "When a device last checked in: those silent for longest, as many as the node's devices.series allows. "
    f"{POLLED}",
    ("node", "storage", "topic", "device"),
    "The inventory asks for no single devices (the default), or the device is not among the most silent; "
    "mdm_device_series_dropped counts those.",
    (
        "bottomk(10, max by (device) (mdm_device_last_seen_timestamp_seconds))",
        "the ten devices silent for longest",
    ),
)
DEVICES_DROPPED = Definition(
    "mdm_device_series_dropped",
    f"Enrolled devices that have no mdm_device_last_seen_timestamp_seconds for want of room. {POLLED}",
    ("node", "storage"),
    "The inventory asks for no single devices (the default).",
    ("mdm_device_series_dropped > 0", "nodes whose devices are not all told of one by one"),
)
TOPIC_WINDOW = Definition(
    "mdm_topic_renewal_window_seconds",
    "How long before its end the push certificate of this topic is due for renewal; from the inventory.",
    ("topic",),
    "Never, for a topic of the inventory.",
    (
        f"{EXPIRY.name} - on (topic) group_left () mdm_topic_renewal_window_seconds < time()",
        "certificates due for renewal",
    ),
)
TOPIC_INFO = Definition(
    "mdm_topic_info",
    "What the inventory says of a topic; account is the alias of the Apple Account, never its address.",
    ("topic", "id", "name", "owner", "account"),
    "Never, for a topic of the inventory. The inventory's own labels follow as label_<name>.",
    (
        "mdm_topic_expiry_known * on (topic) group_left (name, owner) mdm_topic_info",
        "any metric of a topic, with its name and owner",
    ),
    kind="info",
    open_labels=True,
)
TOPIC_NODE = Definition(
    "mdm_topic_node",
    "1 for each node that should serve a topic; from the inventory.",
    ("topic", "node"),
    "Never, for a topic and its nodes in the inventory.",
    (
        "mdm_topic_node unless on (topic, node) mdm_push_certificate_expiry_timestamp_seconds",
        "nodes whose date for a topic is not known",
    ),
)
TOPIC_EXPIRY_KNOWN = Definition(
    "mdm_topic_expiry_known",
    f"1 if the expiry date of a topic's push certificate is known from at least one node. {POLLED}",
    ("topic",),
    "Never, for a topic of the inventory.",
    ("mdm_topic_expiry_known == 0", "topics nobody can be warned about"),
)
RENEWAL_PHASE = Definition(
    "mdm_renewal_phase",
    "1 for the phase the newest renewal of a topic is in (open, csr_made, requested, accepted, rolling_out, "
    "installed, proven, closed, rolled_back, aborted). Installed, proven and rolled_back tell of the "
    "nodes that were reached; read mdm_renewal_nodes_owed beside it for those left out, or not known to have "
    f"the previous pair back. {POLLED}",
    ("topic", "renewal", "phase"),
    "No store is configured or it was never read; the topic never had a renewal; any phase but the present.",
    (
        'mdm_renewal_phase{phase="proven"} and on (topic) mdm_renewal_nodes_owed == 0',
        "renewals proven on every node; without the second half, also those that left a node out",
    ),
)
RENEWAL_ACCEPTED = Definition(
    "mdm_renewal_accepted_timestamp_seconds",
    f"When the certificate of a topic's newest accepted renewal was accepted. {POLLED}",
    ("topic",),
    "As mdm_renewal_phase, or no certificate was accepted yet.",
    (
        "time() - mdm_renewal_accepted_timestamp_seconds > 86400 and on (topic) mdm_renewal_nodes_owed > 0",
        "renewals accepted a day ago with nodes not known to have the pair they should have",
    ),
)
RENEWAL_NODES_OWED = Definition(
    "mdm_renewal_nodes_owed",
    "How many nodes of a topic are owed the accepted pair: not known to have it. After a roll-back: the "
    "previous one, owed to those too that left the inventory before they were back or are seen with the "
    f"new pair again. {POLLED}",
    ("topic",),
    "As mdm_renewal_phase.",
    (
        "mdm_renewal_nodes_owed > 0",
        "topics with nodes not known to have the pair they should have; after a roll-back: the previous one",
    ),
)
RENEWAL_NODE_OWED = Definition(
    "mdm_renewal_node_owed",
    f"1 if this node of a topic is owed, else 0; see mdm_renewal_nodes_owed. {POLLED}",
    ("topic", "node"),
    "As mdm_renewal_phase.",
    (
        "mdm_renewal_node_owed == 1 and on (node) mdm_node_up == 1",
        "owed nodes that answer: act now (see mdm_renewal_phase)",
    ),
)
STORE_UP = Definition(
    "mdm_store_up",
    "1 if the store was read when last tried, 0 if not (then the last values of mdm_renewal metrics stay) "
    f"or not yet. {POLLED}",
    (),
    "No store is configured.",
    ("mdm_store_up == 0", "renewals are not watched now"),
)
STORE_LAST_SUCCESS = Definition(
    "mdm_store_last_success_timestamp_seconds",
    f"When the store was last read; 0 if never. So old are the values of mdm_renewal metrics. {POLLED}",
    (),
    "As mdm_store_up.",
    ("time() - mdm_store_last_success_timestamp_seconds > 3600", "what is said of renewals is an hour old"),
)
STORE_HEAD = Definition(
    "mdm_store_head_info",
    "Head of the store when it was last read: the hash of its newest event, which vouches for all before it. "
    f"One series, another one after each event that is written. {POLLED}",
    ("head",),
    "No store is configured, it was never read, or nothing is written in it yet.",
    (
        "count_over_time(mdm_store_head_info[400d])",
        "every head of the last year: `renewctl audit verify --head HEAD` takes any of them",
    ),
    kind="info",
)
BUILD_INFO = Definition(
    "mdm_exporter_build_info",
    "The exporter's version.",
    ("version",),
    "Never.",
    ("mdm_exporter_build_info", "which version runs where"),
    kind="info",
)
LAST_ROUND = Definition(
    "mdm_exporter_last_round_timestamp_seconds",
    "Every node has been asked, with or without success, at this time or later; "
    f"0 until each was asked once. {POLLED}",
    (),
    "Never.",
    ("time() - mdm_exporter_last_round_timestamp_seconds > 900", "an exporter that no longer asks"),
)
SNAPSHOT_WRITTEN = Definition(
    "mdm_exporter_snapshot_written",
    "1 if what is known was written to the snapshot file when last tried, 0 if not (then a restart forgets "
    f"the dates of silent nodes, or shows older ones) or not yet. {POLLED}",
    (),
    "No snapshot file is configured.",
    ("mdm_exporter_snapshot_written == 0", "exporters that would not remember over a restart"),
)
RELOAD_SUCCESSFUL = Definition(
    "mdm_exporter_config_last_reload_successful",
    "1 if the inventory and what stands beside it (web config, modules of /probe) were read successfully "
    "when last tried, else 0 (then those before stay in use).",
    (),
    "Never.",
    ("mdm_exporter_config_last_reload_successful == 0", "an inventory that cannot be read"),
)
RELOAD_SUCCESS = Definition(
    "mdm_exporter_config_last_reload_success_timestamp_seconds",
    "When the inventory in use, and what stands beside it, was read.",
    (),
    "Never.",
    (
        "time() - mdm_exporter_config_last_reload_success_timestamp_seconds",
        "age of the configuration in use",
    ),
)

METRICS: tuple[Definition, ...] = (
    EXPIRY, CERTIFICATE_INFO, FILE_EXPIRY, FILE_READABLE, FILE_FAILURE,
    OTHER_EXPIRY, OTHER_KNOWN, OTHER_FAILURE, OTHER_LAST_SUCCESS,
    NODE_UP, NODE_FAILURES, NODE_LAST_SUCCESS, NODE_SNAPSHOT,
    NODE_POLL_SECONDS, NODE_POLLS, NODE_POLL_FAILURES,
    DEVICES_ENROLLED, DEVICES_SEEN, DEVICE_LAST_SEEN, DEVICES_DROPPED,
    TOPIC_WINDOW, TOPIC_INFO, TOPIC_NODE, TOPIC_EXPIRY_KNOWN,
    RENEWAL_PHASE, RENEWAL_ACCEPTED, RENEWAL_NODES_OWED, RENEWAL_NODE_OWED,
    STORE_UP, STORE_LAST_SUCCESS, STORE_HEAD,
    BUILD_INFO, LAST_ROUND, SNAPSHOT_WRITTEN, RELOAD_SUCCESSFUL, RELOAD_SUCCESS,
    *PROCESS,
)  # fmt: skip
"""In the order of the reference page."""

PROBE_SUCCESS = Definition(
    "probe_success",
    "1 if nothing failed when the target was asked: now, or, for a node of the inventory, when last polled.",
    (),
    "Never, on /probe.",
    ("probe_success == 0", "targets that cannot be asked, or only in part"),
)
PROBE_DURATION = Definition(
    "probe_duration_seconds",
    "How long this answer took; next to nothing for a node of the inventory.",
    (),
    "Never, on /probe.",
    ("max_over_time(probe_duration_seconds[1h])", "the slowest answer of the last hour"),
)
PROBE_METRICS: tuple[Definition, ...] = (PROBE_SUCCESS, PROBE_DURATION)
"""On /probe alone, beside those of the one node; names of the field, as alerts for any prober have them."""
