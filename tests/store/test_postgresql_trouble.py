"""What goes wrong with a store in PostgreSQL: one clear reason each, no password shown, nothing lost."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import psycopg
import pymysql
import pytest

from renewctl.database.sql import Transaction
from renewctl.database.sql_faults import Trouble, trouble_of
from renewctl.errors import Attention, NodeFault, RenewctlError, Unusable
from renewctl.reasons import Reason
from renewctl.renewal.events import Event, Kind
from renewctl.store.read import StoreReader
from renewctl.store.write import Stamp, Store
from tests.support.postgres import Database, running_cluster

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`


class Proxy:
    """A link to the server that is cut around a commit, so many times.

    Attributes:
        when: `before` the server sees COMMIT; `after` it has answered and before we hear so; `silently`:
            as before, but the server does not notice that we are gone.
    """

    def __init__(self, port: int, when: str, times: int) -> None:
        self._port, self._when, self.times = port, when, times
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.kept: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self.kept:
            link.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._link, args=(client,), daemon=True).start()

    def _link(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            back = _Back(server, client)
            threading.Thread(target=back.pump, daemon=True).start()
            with contextlib.suppress(OSError):
                while data := client.recv(65536):
                    if b"COMMIT" in data and self.times > 0:
                        self.times -= 1
                        self._cut(client, back, data)
                        return
                    server.sendall(data)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)

    def _cut(self, client: socket.socket, back: _Back, commit: bytes) -> None:
        if self._when == "after":
            back.kept_back.clear()
            back.forwards = False
            back.server.sendall(commit)
            assert back.kept_back.wait(60)
        _shut(client)
        if self._when == "silently":
            self.kept.append(back.server.dup())
            return
        _shut(back.server)


def _shut(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)


class _Back:
    """What the server answers, until it is kept back."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        self.server, self._client = server, client
        self.forwards, self.kept_back = True, threading.Event()

    def pump(self) -> None:
        """As long as both are there."""
        with contextlib.suppress(OSError):
            while data := self.server.recv(65536):
                if self.forwards:
                    self._client.sendall(data)
                else:
                    self.kept_back.set()


@contextlib.contextmanager
def _proxied(database: Database, when: str, times: int) -> Iterator[tuple[str, Proxy]]:
    proxy = Proxy(database.cluster.port, when, times)
    try:
        yield database.url.replace(f":{database.cluster.port}/", f":{proxy.port}/"), proxy
    finally:
        proxy.close()


@pytest.mark.parametrize(
    ("when", "times"),
    [("before", 1), ("before", 2), ("after", 1), pytest.param("silently", 1, marks=pytest.mark.slow)],
)
def test_an_append_whose_answer_is_lost_is_written_once_and_told_so(
    database: Database, stamp: Stamp, when: str, times: int
) -> None:
    """The link dies before or just after the commit: the writer looks for its own id, and goes on."""
    Store.create(database.url)
    with _proxied(database, when, times) as (url, proxy):
        with Store(url) as store:
            proxy.times = times
            event = store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
        assert proxy.times == 0
    with StoreReader(database.url) as reader:
        assert reader.renewals() == {"acme-1": [event]}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_whose_answer_is_lost_is_begun_once(database: Database, stamp: Stamp, when: str) -> None:
    """After a lost answer the holder recognises its own run by its token."""
    Store.create(database.url)
    with _proxied(database, when, 0) as (url, proxy), Store(url) as store:
        proxy.times = 1
        run = store.begin_run("acme-1", stamp)
        assert run.number == 1
        assert store.open_run() == run


def test_a_store_that_stays_silent_leaves_the_writer_in_doubt(
    database: Database, stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent, never answered, and not to be asked: neither "written" nor "not written"."""
    Store.create(database.url)
    with _proxied(database, "after", 0) as (url, proxy), Store(url) as store:
        monkeypatch.setattr("renewctl.store.write._PAUSES", (0.0,))
        read = store._database.rows

        def unreachable(*_: object, **__: object) -> object:
            raise NodeFault(Reason.STORE_UNREACHABLE, store="x", detail="")

        monkeypatch.setattr(store._database, "rows", unreachable)
        proxy.times = 1
        with pytest.raises(Attention) as caught:
            store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
        assert caught.value.reason is Reason.STORE_ANSWER_LOST
        monkeypatch.setattr(store._database, "rows", read)
        assert len(store.renewals()["acme-1"]) == 1


def test_a_lost_answer_is_settled_by_asking_again(
    database: Database, stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tries left, but the store can be read: found means written; not found means in doubt."""
    Store.create(database.url)
    monkeypatch.setattr("renewctl.store.write._PAUSES", (0.0,))
    with _proxied(database, "after", 0) as (url, proxy), Store(url) as store:
        proxy.times = 1
        event = store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
        assert store.renewals() == {"acme-1": [event]}
    with _proxied(database, "before", 0) as (url, proxy), Store(url) as store:
        proxy.times = 1
        with pytest.raises(Attention) as caught:
            store.append("acme-1", Kind.CLOSED, {}, stamp=stamp, expected_seq=2)
        assert caught.value.reason is Reason.STORE_ANSWER_LOST


def test_a_writer_that_fell_silent_in_its_transaction_begins_it_again(
    database: Database, stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that was closed for a moment: the server has rolled back meanwhile, and the event is written once."""
    monkeypatch.setattr("renewctl.database.sql_arguments._IDLE_SECONDS", 0.2)
    place, silences = Store._place, iter([1.0])

    def late(
        store: Store, draft: Event, transaction: Transaction, beside: Mapping[str, int] | None
    ) -> object:
        placed = place(store, draft, transaction, beside)
        time.sleep(next(silences, 0))
        return placed

    Store.create(database.url)
    monkeypatch.setattr(Store, "_place", late)
    with Store(database.url) as store:
        event = store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
        assert store.renewals() == {"acme-1": [event]}
    assert next(silences, None) is None


@pytest.mark.slow
def test_a_killed_server_is_unreachable_and_loses_nothing_it_told(stamp: Stamp) -> None:
    """SIGKILL of the server: one reason while it is away; every event told written is there afterwards."""
    with running_cluster() as cluster:
        database = cluster.create_database()
        Store.create(database.url)
        with Store(database.url) as store:
            event = store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
            cluster.kill()
            with pytest.raises(NodeFault) as caught:
                store.append("acme-1", Kind.CLOSED, {}, stamp=stamp, expected_seq=2)
            assert caught.value.reason is Reason.STORE_UNREACHABLE
            cluster.start()
            assert store.renewals() == {"acme-1": [event]}


def _opening(url: str) -> RenewctlError:
    with pytest.raises(RenewctlError) as caught:
        Store(url)
    with pytest.raises(RenewctlError) as again:
        StoreReader(url).renewals()
    assert caught.value.reason is again.value.reason
    return caught.value


def test_a_wrong_password_is_denied_and_shown_nowhere(database: Database) -> None:
    """Wrong password, unknown role, unknown database: three plain answers without the password."""
    Store.create(database.url)
    for url, reason in (
        (database.url_as(database.owner, "hunter2"), Reason.STORE_DENIED),
        (database.url_as("nobody_here", "hunter2"), Reason.STORE_DENIED),
        (database.url + "x", Reason.STORE_UNKNOWN_DATABASE),
    ):
        error = _opening(url)
        assert error.reason is reason
        assert "hunter2" not in str(error)
        assert database.password not in str(error)
        assert ":***@" in str(error)


def test_a_database_of_ones_own_name_still_tells_password_from_database(database: Database) -> None:
    """Role and database of one name: a wrong password is not told as an unknown database."""
    with database.connect() as connection:
        connection.execute(f"CREATE DATABASE {database.owner} OWNER {database.owner}")
    url = database.url_as(database.owner, "hunter2").rpartition("/")[0] + f"/{database.owner}"
    assert _opening(url).reason is Reason.STORE_DENIED


def test_nobody_listening_is_unreachable(database: Database) -> None:
    """A closed port: unreachable, soon, with the address and without the password."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = _opening(database.url.replace(f":{database.cluster.port}/", f":{port}/"))
    assert error.reason is Reason.STORE_UNREACHABLE
    assert str(port) in str(error)
    assert database.password not in str(error)


def test_an_empty_database_has_no_store(database: Database) -> None:
    """Nothing was created yet: `store_missing`, and looking creates nothing."""
    assert _opening(database.url).reason is Reason.STORE_MISSING


def test_a_password_with_odd_characters_works_and_is_never_shown(database: Database) -> None:
    """Percent-encoded in the URL; hidden in errors also where the driver would tell it."""
    password = "p@ss/w:rd%?#é"
    with database.connect() as connection:
        connection.execute(f"ALTER ROLE {database.owner} PASSWORD '{password}'")
    Store.create(database.url_as(database.owner, quote(password, safe="")))
    error = _opening(database.url_as(database.owner, quote(f"{password}x", safe="")))
    assert error.reason is Reason.STORE_DENIED
    assert password not in str(error)
    assert quote(password, safe="") not in str(error)


def test_a_password_that_was_not_encoded_is_refused_without_being_told(database: Database) -> None:
    """`user:p@ss@host`: what would be left of the password in the host name is not shown."""
    url = database.url.replace(database.password, "topsecret@rest")
    with pytest.raises(Unusable) as caught:
        Store(url)
    assert caught.value.reason is Reason.STORE_URL_INVALID
    assert "topsecret" not in str(caught.value)
    assert "rest" not in str(caught.value.values["got"])


def test_the_exporters_role_reads_and_can_do_no_more(database: Database, stamp: Stamp) -> None:
    """SELECT on four tables is all a reader needs; it can neither write nor see the key table."""
    Store.create(database.url)
    with Store(database.url) as store:
        event = store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
    url = database.select_only("events", "documents", "runs", "meta")
    with StoreReader(url) as reader:
        assert reader.renewals() == {"acme-1": [event]}
        assert reader.open_run() is None
    with Store(url) as store, pytest.raises(NodeFault) as caught:
        store.append("acme-1", Kind.CLOSED, {}, stamp=stamp, expected_seq=2)
    assert caught.value.reason is Reason.STORE_DENIED
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT fingerprint FROM keys")


def test_a_reader_cannot_write_whatever_its_role(database: Database) -> None:
    """The session itself is read-only."""
    Store.create(database.url)
    reader = StoreReader(database.url)
    with pytest.raises(NodeFault) as caught, reader._database.transaction() as transaction:
        transaction.change("DELETE FROM meta")
    assert caught.value.reason is Reason.STORE_READ_ONLY


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (psycopg.errors.DiskFull(), Trouble.FULL),
        (psycopg.errors.QueryCanceled(), Trouble.TIMEOUT),
        (psycopg.errors.LockNotAvailable(), Trouble.BUSY),
        (psycopg.errors.AdminShutdown(), Trouble.UNREACHABLE),
        (psycopg.errors.IdleInTransactionSessionTimeout(), Trouble.UNREACHABLE),
        (psycopg.errors.TooManyConnections(), Trouble.UNREACHABLE),
        (psycopg.errors.ConnectionFailure(), Trouble.UNREACHABLE),
        (psycopg.errors.InternalError_(), Trouble.FAILED),
        (psycopg.OperationalError("failed: FATAL:  the database system is starting up"), Trouble.UNREACHABLE),
        (psycopg.OperationalError('failed: FATAL: データベース"db"は存在しません'), Trouble.UNKNOWN_DATABASE),
        (psycopg.OperationalError('FATAL: ユーザー"db"のパスワード認証に失敗しました'), Trouble.DENIED),
        (psycopg.OperationalError('FATAL: no pg_hba.conf entry for user "a", database "db"'), Trouble.DENIED),
        (psycopg.OperationalError('root certificate file "/x" does not exist'), Trouble.UNVERIFIED),
        (psycopg.OperationalError("server does not support SSL, but SSL was required"), Trouble.UNVERIFIED),
        (pymysql.err.OperationalError(1045, "Access denied"), Trouble.DENIED),
        (pymysql.err.OperationalError(1049, "Unknown database"), Trouble.UNKNOWN_DATABASE),
        (pymysql.err.OperationalError(2003, "Can't connect: Connection refused"), Trouble.UNREACHABLE),
        (pymysql.err.OperationalError(2003, "certificate verify failed"), Trouble.UNVERIFIED),
        (pymysql.err.OperationalError(3024, "maximum statement execution time"), Trouble.TIMEOUT),
        (pymysql.err.ProgrammingError(1064, "syntax"), Trouble.FAILED),
        (pymysql.err.Error(), Trouble.FAILED),
        (RuntimeError("?"), Trouble.FAILED),
    ],
)
def test_a_drivers_complaint_is_one_of_few_troubles(error: Exception, trouble: Trouble) -> None:
    """By code where there is one; by what stands in every language where libpq gives none."""
    assert trouble_of(error, "db") is trouble
