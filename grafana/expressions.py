"""The dashboard's questions in PromQL, each once.

Every selector carries `job` and `instance`, so that one Grafana can show several Prometheus set-ups; those on
topics carry `topic` too. Topics are never added up: a sum of certificates hides the one that ends.
"""

from __future__ import annotations

from renewctl.observation import WINDOWS

DAY = 86_400
CRITICAL = 14 * DAY
"""Seconds; the threshold of the alert MdmPushCertificateRenewalCritical."""

DEFAULT_WINDOW = 60 * DAY
"""Seconds; used where a topic publishes no window, as in the alert rules."""

MILLISECONDS = 1000
"""Grafana's date units count milliseconds."""


def one(metric: str, *matchers: str) -> str:
    """A selector of a metric without a topic."""
    inside = ",".join(('job=~"$job"', 'instance=~"$instance"', *matchers))
    return f"{metric}{{{inside}}}"


def of_topic(metric: str, *matchers: str) -> str:
    """A selector of a metric with a topic."""
    return one(metric, 'topic=~"$topic"', *matchers)


_EXPIRY = "mdm_push_certificate_expiry_timestamp_seconds"
_SEEN = of_topic(_EXPIRY, 'source!~"recorded|adopted"')
_RECORDED = of_topic(_EXPIRY, 'source=~"recorded|adopted"')

SERVED = f"(min by (topic, node) ({_SEEN}) or min by (topic, node) ({_RECORDED}))"
"""Expiry by topic and node; what a node was seen to serve beats what we recorded."""

EXPIRY = f"min by (topic) {SERVED}"
LEFT = f"({EXPIRY} - time())"
WINDOW = (
    f"(max by (topic) ({of_topic('mdm_topic_renewal_window_seconds')}) or ({EXPIRY} * 0 + {DEFAULT_WINDOW}))"
)
STATE = f"({LEFT} < bool {WINDOW}) + ({LEFT} < bool {CRITICAL}) + ({LEFT} <= bool 0)"
"""0 valid, 1 due, 2 critical, 3 expired."""

INFO = f"topk by (topic) (1, max by (topic, id, name, owner, account) ({of_topic('mdm_topic_info')}))"
"""Exactly one series a topic, also when two exporters read two inventories."""

DAYS_LEFT = f"floor({LEFT} / {DAY})"
EXPIRY_DATE = f"{EXPIRY} * {MILLISECONDS}"


def named(expression: str) -> str:
    """The same series with the topic's name and id, for legends."""
    return f"({expression}) * on (topic) group_left (id, name) {INFO}"


EXPIRED = f"sum({LEFT} <= bool 0)"
WITHIN_CRITICAL = f"sum(({LEFT} > bool 0) * ({LEFT} < bool {CRITICAL}))"
WITHIN_WINDOW = f"sum(({LEFT} > bool 0) * ({LEFT} < bool {WINDOW}))"
UNKNOWN = f"sum(max by (topic) ({of_topic('mdm_topic_expiry_known')}) == bool 0)"
SILENT = f"sum(max by (node) ({one('mdm_node_up')}) == bool 0)"
OWED = f"sum(max by (topic) ({of_topic('mdm_renewal_nodes_owed')}))"

NODES = (
    f"max by (topic, node, source, serial, issuer) ({of_topic('mdm_push_certificate_info')})"
    f" * on (topic, node, source) group_left ()"
    f" max by (topic, node, source) ({of_topic(_EXPIRY)}) * {MILLISECONDS}"
)

ENROLLED = f"sum by (topic) (max by (storage, topic) ({of_topic('mdm_devices_enrolled')}))"
"""Nodes of one storage tell of the same devices: count each storage once."""


def seen_within(seconds: int) -> str:
    """Devices by topic whose last check-in is at most that long ago."""
    matcher = f'within="{seconds}"'
    return f"sum by (topic) (max by (storage, topic) ({of_topic('mdm_devices_seen', matcher)}))"


SEEN = {seconds: seen_within(seconds) for seconds in WINDOWS}


def of_storage(metric: str, *matchers: str) -> str:
    """Devices by storage and topic, as MdmDevicesReachableFallen counts them: silent nodes only remember."""
    down = f"unless on (job, instance, node) ({one('mdm_node_up')} == 0)"
    return f"max by (storage, topic) ({of_topic(metric, *matchers)} {down})"


_WEEK = of_storage("mdm_devices_seen", f'within="{7 * DAY}"')
REACHABLE_SHARE = f"{_WEEK} / ({of_storage('mdm_devices_enrolled')} > 0)"
DEVICES_SILENT = f"{of_storage('mdm_devices_enrolled')} - {_WEEK}"
"""Enrolled devices without a check-in for a week."""

PHASE = (
    f"max by (topic, renewal, phase) ({of_topic('mdm_renewal_phase')})"
    f" * on (topic) group_left () max by (topic) ({of_topic('mdm_renewal_nodes_owed')})"
)
"""Value: nodes owed."""

NODES_OWED = f"max by (topic, node) ({of_topic('mdm_renewal_node_owed')}) == 1"
_ROLLING_OUT = of_topic("mdm_renewal_phase", 'phase="rolling_out"')
ROLLING_OUT = f"max by (topic, renewal) ({_ROLLING_OUT})"

NODE_UP = f"max by (node, product) ({one('mdm_node_up')})"
FAILURES = f"max by (node, reason) ({one('mdm_node_failures')}) > 0"
FAILING = f"sum by (reason) (max by (node, reason) ({one('mdm_node_failures')}) > bool 0) > 0"
"""Nodes by what is wrong with them; reasons that no node has are left out."""

FACTS_AGE = f"time() - (max by (node) ({one('mdm_node_snapshot_timestamp_seconds')}) > 0)"
ROUND_AGE = f"time() - (max by (instance) ({one('mdm_exporter_last_round_timestamp_seconds')}) > 0)"
INVENTORY_OK = f"min by (instance) ({one('mdm_exporter_config_last_reload_successful')})"
STORE_UP = f"min by (instance) ({one('mdm_store_up')})"
BUILD = f"max by (instance, version) ({one('mdm_exporter_build_info')})"

_OTHER = one("mdm_expiry_timestamp_seconds")
_READ = f"{_OTHER} and on (job, instance, kind, name, node) ({one('mdm_expiry_known')} == 1)"
_BEST = f"(min by (kind, name, node) ({_READ}) or min by (kind, name, node) ({_OTHER}))"
"""As the alerts: a date that was just read beats the last one that another exporter remembers."""

OTHERS_LEFT = f"sort(floor(({_BEST} - time()) / {DAY}))"
OTHERS_UNREAD = f"max by (kind, name, node, reason) ({one('mdm_expiry_failure')})"

_IN_FILE = one("mdm_certificate_file_expiry_timestamp_seconds", 'topic=~"$topic|"')
_NO_PUSH = one(
    "mdm_certificate_file_expiry_timestamp_seconds", 'topic=~"$topic|"', 'topic!~"com[.]apple[.]mgmt.*"'
)
_READABLE = one("mdm_certificate_file_readable")
_BEHIND = (
    f"({_IN_FILE} and on (job, instance, node, file) ({_READABLE} == 1))"
    f" < on (job, instance, node, topic) group_left () min by (job, instance, node, topic) ({_SEEN})"
)
"""As MdmCertificateFileExpiryDue: a file that ends before the push certificate in it."""

FILES_LEFT = (
    f"sort(floor((bottomk(50, min by (instance, node, file) ({_NO_PUSH} or {_BEHIND})) - time()) / {DAY}))"
)
"""The fifty that end first: a folder may hold ten thousand."""

FILES_UNREAD = f"topk(50, max by (instance, node, file, reason) ({one('mdm_certificate_file_failure')}))"
