"""/probe: nodes of the inventory from what is known, others live where a module allows it, without credentials."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.main import main
from exporter.probe import LONGEST_SECONDS, seconds_for
from exporter.probe_config import Target, load, read_target
from renewctl.errors import Unusable
from renewctl.reasons import Reason
from tests.support.certs import apple_like
from tests.support.exporter_process import PATIENT, TOPIC, Answer, Exporter, exporter, files_node, inventory
from tests.support.refusing import nanomdm_that_refuses


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An inventory of one node of files."""
    (tmp_path / "push.pem").write_bytes(apple_like().push(TOPIC).pem)
    inventory(tmp_path, [files_node("a", tmp_path / "push.pem")])
    return tmp_path


def modules(place: Path, **named: Mapping[str, object]) -> str:
    """The flag that names a file with these modules."""
    (place / "probe.yaml").write_text(json.dumps({"modules": named}))
    return f"--probe.config.file={place / 'probe.yaml'}"


def probe(running: Exporter, target: str, module: str = "", timeout: float | None = None) -> Answer:
    """What Prometheus asks."""
    headers = {} if timeout is None else {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)}
    query = urlencode({"target": target, **({"module": module} if module else {})})
    return running.get(f"/probe?{query}", headers)


def series(answer: Answer) -> dict[str, float]:
    """Series -> value of an answer in text."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.mark.slow
def test_a_node_of_the_inventory_is_answered_from_what_is_known(place: Path) -> None:
    """The same series as on /metrics, of this node alone, in every format."""
    with exporter(place) as running:
        expiry = f'mdm_push_certificate_expiry_timestamp_seconds{{node="a",source="file",topic="{TOPIC}"}}'
        known = running.wait_for(expiry)
        found = series(probe(running, "a"))
        assert found[expiry] == known[expiry]
        assert found["probe_success"] == 1
        assert found["probe_duration_seconds"] < 10
        assert all(
            name.startswith(("probe_", "mdm_node", "mdm_push", "mdm_certificate_file", "mdm_topic_expiry"))
            for name in found
        )
        modern = {"Accept": "application/openmetrics-text;version=1.0.0"}
        assert running.get("/probe?target=a", modern).body.endswith(b"# EOF\n")


@pytest.mark.slow
def test_a_stranger_is_asked_now_and_without_credential(place: Path) -> None:
    """Where a module allows it; it comes and goes with each scrape."""
    with nanomdm_that_refuses() as other:
        flag = modules(place, open={"product": "nanomdm", "targets": [other.url]})
        with exporter(place, flag) as running:
            found = series(probe(running, other.url, "open"))
            name = f"127.0.0.1:{other.server_port}"
            assert found[f'mdm_node_up{{node="{name}",product="nanomdm"}}'] == 1
            # It is well, and tells no date: a missing series would say that all is.
            assert (found["probe_success"], found[f'mdm_topic_expiry_known{{topic="{TOPIC}"}}']) == (1, 0)
            assert {sent for _, sent in other.asked} == {None}
            assert name not in running.get("/metrics").body.decode()
            other.server_close()
            other.shutdown()
            gone = series(probe(running, other.url, "open"))
            assert (gone[f'mdm_node_up{{node="{name}",product="nanomdm"}}'], gone["probe_success"]) == (0, 0)
            assert running.stop() == 0


@pytest.mark.slow
def test_a_credential_goes_to_the_hosts_named_beside_it_alone(place: Path) -> None:
    """The module that names both sends it; another module, for the same host, does not."""
    (place / "password").write_text("swordfish")
    named = {"user": "nanomdm", "password": {"file": "password"}, "product": "nanomdm"}
    with nanomdm_that_refuses() as one, nanomdm_that_refuses() as other:
        flag = modules(
            place,
            known={**named, "targets": [one.url]},
            open={"product": "nanomdm", "targets": [one.url, other.url]},
        )
        with exporter(place, flag, "--log.level=debug") as running:
            probe(running, other.url, "open")
            probe(running, one.url, "open")
            assert {sent for _, sent in other.asked + one.asked} == {None}
            assert probe(running, other.url, "known").status == 403
            probe(running, one.url, "known")
            assert any(sent and sent.startswith("Basic ") for _, sent in one.asked)
            assert {sent for _, sent in other.asked} == {None}
            assert "swordfish" not in running.log.read_text()


@pytest.mark.slow
def test_a_target_that_takes_too_long_is_a_failure_within_the_scrapes_time(place: Path) -> None:
    """An answer that says so, not a scrape lost; others are answered meanwhile, and the end waits for nobody."""
    with nanomdm_that_refuses() as other:
        other.slow = 600
        flag = modules(place, open={"product": "nanomdm", "targets": [other.url]})
        with exporter(place, flag, program=("-c", PATIENT)) as running:
            began = time.monotonic()
            found = series(probe(running, other.url, "open", timeout=1.5))
            assert time.monotonic() - began < 60
            assert 0.9 < found["probe_duration_seconds"] < 60
            name = f"127.0.0.1:{other.server_port}"
            assert found[f'mdm_node_failures{{node="{name}",reason="node_timeout"}}'] == 1
            assert found["probe_success"] == 0
            waiting = [
                threading.Thread(target=probe, args=(running, other.url, "open", 1.5)) for _ in range(20)
            ]
            for thread in waiting:
                thread.start()
            ends = time.monotonic() + 60
            while probe(running, other.url, "open", timeout=1.5).status != 503:
                assert time.monotonic() < ends
            assert probe(running, "a").status == 200
            for thread in waiting:
                thread.join()
            began = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - began < 60  # not until the last look ends by itself


@pytest.mark.slow
def test_what_is_not_allowed_is_not_asked(place: Path) -> None:
    """Neither a host, nor a port, nor a scheme, nor a path nobody named; each refusal says why."""
    with nanomdm_that_refuses() as other:
        port = other.server_port
        flag = modules(
            place, open={"product": "nanomdm", "targets": [f"http://localhost:{port}", "*.mdm.example.com"]}
        )
        with exporter(place, flag) as running:
            for target, module, status in [
                ("", "open", 400),
                ("nobody", "", 404),
                (other.url, "", 404),
                (other.url, "none", 400),
                (other.url, "open", 403),
                (f"http://localhost:{port + 1}", "open", 403),
                (f"https://localhost:{port}", "open", 403),
                (f"http://localhost:{port}/v1/pushcert", "open", 403),
                (f"http://me@localhost:{port}", "open", 403),
                (f"http://localhost:{port}@169.254.169.254", "open", 403),
                ("http://[::1", "open", 403),
                ("mdm.example.com", "open", 403),
                ("x.mdm.example.com.evil.example", "open", 403),
                ("file:///etc/passwd", "open", 403),
            ]:
                assert probe(running, target, module).status == status, target
            assert other.asked == []
            assert series(probe(running, f"http://LOCALHOST:{port}/", "open"))["probe_duration_seconds"] >= 0
            assert other.asked
            assert running.get("/probe?target=a", method="POST").status == 405
            assert running.stop() == 0


@pytest.mark.slow
def test_modules_are_read_again_with_the_inventory(place: Path) -> None:
    """A bad file leaves those before."""
    with nanomdm_that_refuses() as other:
        flag = modules(place, open={"product": "nanomdm", "targets": ["x.example"]})
        with exporter(place, flag) as running:
            assert probe(running, other.url, "open").status == 403
            modules(place, open={"product": "nanomdm", "targets": [other.url]})
            assert running.get("/-/reload", method="POST").status == 200
            assert probe(running, other.url, "open").status == 200
            (place / "probe.yaml").write_text("modules: 3")
            assert running.get("/-/reload", method="POST").status == 500
            assert probe(running, other.url, "open").status == 200


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ({}, Reason.INVENTORY_MISSING_KEY),
        ({"product": "nanomdm", "targets": []}, Reason.INVENTORY_MISSING_KEY),
        ({"product": "files", "targets": ["a.example"]}, Reason.INVENTORY_BAD_VALUE),
        ({"product": "nanomdm", "targets": ["*"]}, Reason.INVENTORY_BAD_VALUE),
        ({"product": "nanomdm", "targets": ["*.com"]}, Reason.INVENTORY_BAD_VALUE),
        ({"product": "nanomdm", "targets": ["*.0.0.1"]}, Reason.INVENTORY_BAD_VALUE),
        ({"product": "nanomdm", "targets": ["a.*.example"]}, Reason.INVENTORY_BAD_VALUE),
        ({"product": "nanomdm", "targets": ["ftp://a.example"]}, Reason.INVENTORY_BAD_VALUE),
        ({"product": "nanomdm", "targets": ["a.example"], "topics": ["kyoto"]}, Reason.INVENTORY_DANGLING),
        ({"product": "nanomdm", "targets": ["a.example"], "host": "b"}, Reason.INVENTORY_UNKNOWN_KEY),
        ({"product": "nanomdm", "targets": ["a.example"], "password": "x"}, Reason.INVENTORY_SECRET_IN_CLEAR),
        (
            {"product": "nanomdm", "targets": ["*.a.example"], "user": "u", "password": {"file": "p"}},
            Reason.PROBE_CREDENTIAL_FOR_MANY,
        ),
    ],
)
def test_modules_that_are_refused(
    module: Mapping[str, object], reason: Reason, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 before anything starts, and from `--config.check`."""
    flag = modules(place, m=module)
    for more in ("--config.check", "--web.listen-address=127.0.0.1:0"):
        assert main([f"--config.file={place / 'inventory.yaml'}", flag, more]) == 2
    assert "probe.yaml" in capsys.readouterr().err
    if reason is not Reason.INVENTORY_DANGLING:  # found beside the inventory
        with pytest.raises(Unusable) as unusable:
            load(place / "probe.yaml")
        assert reason in {fault.reason for fault in (unusable.value, *unusable.value.others)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("product", ["micromdm", "files"])
def test_a_product_that_cannot_be_probed_is_told_with_those_that_can(product: str, place: Path) -> None:
    """Files are read where they lie: they are not offered, neither to them nor to a product nobody knows."""
    modules(place, m={"product": product, "targets": ["a.example"]})
    with pytest.raises(Unusable) as unusable:
        load(place / "probe.yaml")
    assert unusable.value.values["got"] == product
    assert unusable.value.values["expected"] == "nanomdm"


def test_good_modules_pass_the_check(place: Path) -> None:
    """With everything a module may say."""
    whole = {
        "product": "nanomdm", "targets": ["a.example", "http://10.0.0.1:9000", "https://[2001:db8::1]:9000"],
        "topics": ["tokyo"], "ca_file": "ca.pem", "insecure_http": True, "user": "u", "password": {"env": "P"},
    }  # fmt: skip
    flag = modules(place, whole=whole, many={"product": "nanomdm", "targets": ["*.mdm.example.com:9000"]})
    assert main([f"--config.file={place / 'inventory.yaml'}", flag, "--config.check"]) == 0
    read = load(place / "probe.yaml")
    assert [target.address for target in read["whole"].targets] == [
        "a.example:443",
        "10.0.0.1:9000",
        "[2001:db8::1]:9000",
    ]
    assert "env" not in repr(read["whole"])


@pytest.mark.parametrize(
    ("allowed", "asked", "covers"),
    [
        ("a.example", "https://A.example:443/", True),
        ("a.example", "a.example.", True),
        ("*.a.example", "x.y.a.example", True),
        ("*.a.example", "xa.example", False),
        ("*.a.example", "a.example", False),
        ("*.a.example:9000", "x.a.example", False),
        ("10.0.0.1:9000", "10.0.0.1:9000", True),
        ("http://a.example", "a.example", False),
    ],
)
def test_what_a_target_covers(allowed: str, asked: str, covers: bool) -> None:
    """Host, port and scheme, each; a wildcard stands for names below, at any depth."""
    one, other = read_target(allowed, wildcard=True), read_target(asked)
    assert one is not None
    assert other is not None
    assert one.covers(other) is covers


@given(st.text())
def test_any_target_is_read_or_refused(text: str) -> None:
    """Never an error, and never a wildcard."""
    found = read_target(text)
    assert found is None or (isinstance(found, Target) and not found.is_wildcard)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("10", 9.5), ("2.5", 2.0), ("0.4", 0.2), ("", 9.5), ("nan", 9.5), ("-3", 9.5), ("soon", 9.5), ("1e9", LONGEST_SECONDS)],
)  # fmt: skip
def test_the_time_for_a_look_is_the_scrapes_less_the_way_back(header: str, seconds: float) -> None:
    """Whatever stands in the header."""
    assert seconds_for(header) == pytest.approx(seconds)
