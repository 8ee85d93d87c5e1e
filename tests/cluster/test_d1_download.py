#!/usr/bin/python3
"""D1 databases as SQLite files, judged by Python's SQLite: every kind of object there and whole; of one version while the
database is written and its leader killed in the middle of the download; at an old bookmark what it was then, byte for byte the
same through every node. A download that is cut, or that the disk has no room for, leaves no file; a file that is there stays."""
import http.client
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import urllib.parse

sys.dont_write_bytecode = True
import rig  # noqa: E402
import localcluster  # noqa: E402
from localcluster import Cluster  # noqa: E402

PORT = 20240
MIB = 1 << 20
NAME = "kept"
OBJECTS = ["CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)", "CREATE INDEX by_v ON t (v DESC)",
           "CREATE TABLE pairs (a, b, PRIMARY KEY (b, a)) WITHOUT ROWID", "CREATE UNIQUE INDEX some ON pairs (a) WHERE a > 3",
           "CREATE VIEW looks AS SELECT id, v FROM t", "CREATE TABLE log (id INTEGER, at)",
           "CREATE TRIGGER logs AFTER INSERT ON t BEGIN INSERT INTO log VALUES (NEW.id, 'then'); END",
           "CREATE VIRTUAL TABLE words USING fts5(body)",
           "INSERT INTO t (v, b) VALUES ('a''b', x'00ff00'), (NULL, zeroblob(9000)), ('\u00fc', x'')",
           "INSERT INTO pairs VALUES (1, 'x'), (5, 'y'), (9, 1.5)",
           "INSERT INTO words VALUES ('the quick brown fox'), ('jumps over the lazy dog')"]
LATER = ["UPDATE t SET v = 'later' WHERE id = 1", "DELETE FROM words WHERE rowid = 1", "DROP INDEX some", "DROP TABLE pairs",
         "INSERT INTO t (v) VALUES ('new')"]
BIG_MIB = 24


def contents(database):
    database.text_factory = bytes
    schema = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    tables = [name.decode() for kind, name, *_ in schema if kind == b"table"]
    return schema, {name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"'))) for name in tables}


def model(statements):
    database = sqlite3.connect(":memory:")
    for sql in statements:
        database.execute(sql)
    return contents(database)


def opened(file):
    """The downloaded database, which is sound."""
    database = sqlite3.connect(f"file:{urllib.parse.quote(file)}?mode=ro", uri=True)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("PRAGMA journal_mode").fetchone() in (("delete",), (b"delete",))
    return database


class CuttingProxy:
    """Hands a connection on to a node, and cuts it after so many bytes of what comes back."""

    def __init__(self, url, limit):
        self.target, self.limit = urllib.parse.urlsplit(url), limit
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.hand_on, args=(client,), daemon=True).start()

    def hand_on(self, client):
        with client, socket.create_connection((self.target.hostname, self.target.port)) as node:
            threading.Thread(target=self.copy, args=(client, node), daemon=True).start()
            self.copy(node, client, self.limit)
            client.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def copy(source, target, limit=None):
        try:
            while limit is None or limit > 0:
                piece = source.recv(1 << 16)
                if not piece:
                    return
                target.sendall(piece)
                limit = None if limit is None else limit - len(piece)
        except OSError:
            pass


class Writer(threading.Thread):
    """Two tables that are equal in every version."""

    def __init__(self, test):
        super().__init__(daemon=True)
        self.test, self.ended, self.count, self.wrong = test, False, 0, []

    def run(self):
        while not self.ended:
            status, answer = self.test.query(2, f"INSERT INTO left_side VALUES ({self.count}, hex(randomblob(300)));"
                                                f"INSERT INTO right_side VALUES ({self.count})")
            if status == 200:
                self.count += 1
            elif status not in (0, 429, 503):
                self.wrong.append((status, answer))
                return


class Test:
    def __init__(self, cluster, directory):
        self.cluster, self.directory, self.files = cluster, directory, 0

    def path(self, *words):
        return "/".join(("/client/v4/accounts", self.cluster.info["account_id"], "d1/database", *words))

    def query(self, number, sql):
        return self.cluster.get(number, self.path(NAME, "query"), body={"sql": sql}, method="POST")

    def run_all(self, statements):
        for sql in statements:
            status, answer = self.query(1, sql)
            assert status == 200, f"{sql}: {answer}"

    def bookmark(self):
        status, answer = self.cluster.get(1, self.path(NAME, "time_travel/bookmark"))
        assert status == 200, answer
        return answer["result"]["bookmark"]

    def file(self):
        self.files += 1
        return os.path.join(self.directory, f"got-{self.files}.db")

    def export(self, *words, node=1, expect=0):
        """(the file's name, what was said)."""
        file = self.file()
        return file, rig.bindery(self.cluster, "d1", "export", NAME, "--format", "db", "--output", file, *words, node=node,
                                 expect=expect)

    def left(self):
        return [name for name in os.listdir(self.directory) if name.startswith("got-")]

    # ---- what is there

    def every_object(self):
        file, _ = self.export()
        assert os.path.getsize(file) == 0 and contents(opened(file)) == ([], {})
        self.run_all(OBJECTS)
        before = self.bookmark()
        file, said = self.export(node=2)
        assert said.strip() == before, said
        database = opened(file)
        assert contents(database) == model(OBJECTS)
        assert database.execute("SELECT rowid FROM words('lazy')").fetchall() == [(2,)]
        self.run_all(LATER)
        file, _ = self.export(node=3)
        assert contents(opened(file)) == model(OBJECTS + LATER)
        old = [self.export("--bookmark", before, node=node)[0] for node in (1, 2, 3)]
        assert contents(opened(old[0])) == model(OBJECTS)
        texts = set()
        for file in old:
            with open(file, "rb") as got:
                texts.add(got.read())
        assert len(texts) == 1, "the same version is not the same file"
        file = self.file()  # SQLite goes on with it
        os.rename(old[0], file)
        with sqlite3.connect(file) as database:
            database.execute("INSERT INTO t (v) VALUES ('mine')")
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    # ---- while it changes

    def grow(self):
        self.run_all(["CREATE TABLE big (b)", "CREATE TABLE left_side (id INTEGER PRIMARY KEY, x)",
                      "CREATE INDEX by_x ON left_side (x)", "CREATE TABLE right_side (id INTEGER PRIMARY KEY)"])
        each = ",".join("1" * 8)
        for _ in range(BIG_MIB // 8):
            self.run_all([f"INSERT INTO big SELECT randomblob({MIB}) FROM json_each('[{each}]')"])

    def leader(self):
        status, answer = self.query(1, "SELECT 1")
        assert status == 200, answer
        return int(answer["result"][0]["meta"]["served_by"].rsplit("-", 1)[1])

    def leader_dies_in_the_middle(self):
        """The client takes a part, and only goes on when the leader is dead: what it gets then is of the same version."""
        leader = self.leader()
        asked = leader % 3 + 1
        writer = Writer(self)
        writer.start()
        self.cluster.wait(lambda: writer.count > 20 or writer.wrong, 60, "some writes")
        url = urllib.parse.urlsplit(self.cluster.node(asked)["rest"])
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=90)
        connection.connect()
        connection.request("GET", self.path(NAME, "sqlite"), headers={"Authorization": f"Bearer {self.cluster.info['token']}"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        length = int(answer.headers["Content-Length"])
        assert length > BIG_MIB * MIB, length
        file = self.file()
        with open(file, "wb") as got:
            got.write(answer.read(MIB))
            count = writer.count
            rig.kill(self.cluster, leader)
            self.cluster.wait(lambda: writer.count > count + 20 or writer.wrong or leader == 2, 60, "writes by another leader")
            while piece := answer.read(MIB):
                got.write(piece)
        assert os.path.getsize(file) == length
        writer.ended = True
        writer.join()
        assert not writer.wrong, writer.wrong
        database = opened(file)
        sides = [database.execute(f"SELECT count(*), max(id) FROM {side}").fetchone() for side in ("left_side", "right_side")]
        assert sides[0] == sides[1] and sides[0][0] > 20, sides
        rig.spawn(self.cluster, leader)
        self.cluster.wait(lambda: self.cluster.ready(leader), 60, f"node {leader}")
        self.cluster.wait(lambda: self.query(1, "SELECT 1")[0] == 200, 60, "the database")
        again = self.export("--bookmark", answer.headers["X-Bindery-Bookmark"], node=leader)[0]
        with open(file, "rb") as one, open(again, "rb") as other:
            assert one.read() == other.read(), "the same version is not the same file"

    # ---- what fails leaves nothing

    def failures(self):
        before = sorted(self.left())
        there = self.file()
        with open(there, "w", encoding="utf-8") as out:
            out.write("mine")
        said = rig.bindery(self.cluster, "d1", "export", NAME, "--format", "db", "--output", there, expect=1)
        assert "File exists" in said, said
        with open(there, encoding="utf-8") as kept:
            assert kept.read() == "mine"
        os.unlink(there)
        for words, why in ((("--bookmark", self.bookmark()[:-32] + "0" * 32), "not one of this database"),
                           (("--bookmark", "x"), "another form"), (("--timestamp", "1"), "is younger")):
            said = self.export(*words, expect=1)[1]
            assert why in said, f"{words}: {said}"
        said = rig.bindery(self.cluster, "d1", "export", "nobody", "--format", "db", "--output", self.file(), expect=1)
        assert "nobody could not be found" in said, said
        assert self.status_with("kv_read") == 403 and self.status_with("d1_read") == 200
        proxy = CuttingProxy(self.cluster.node(1)["rest"], 3 * MIB)
        said = self.export("--url", proxy.url, expect=1)[1]
        assert "bytes remaining to read" in said, said
        assert sorted(self.left()) == before, self.left()
        self.no_room()
        assert sorted(self.left()) == before, self.left()

    def status_with(self, permission):
        """What who has only this is answered."""
        made = self.cluster.get(1, "/bindery/v1/tokens", body={"permissions": [permission]}, method="POST")[1]["result"]
        url = urllib.parse.urlsplit(self.cluster.node(1)["rest"])
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        connection.request("GET", self.path(NAME, "sqlite"), headers={"Authorization": f"Bearer {made['token']}"})
        status = connection.getresponse().status
        connection.close()
        return status

    def no_room(self):
        """A file may only be of 4 MiB: as a full disk, without one."""
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4 * MIB, 4 * MIB))
        env = {**os.environ, "BINDERY_URL": self.cluster.node(1)["rest"], "BINDERY_API_TOKEN": self.cluster.info["token"]}
        words = [localcluster.BINARY, "d1", "export", NAME, "--format", "db", "--output", self.file()]
        done = subprocess.run(words, env=env, preexec_fn=limit, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1 and "File too large" in done.stderr, done

    def as_text(self):
        file = self.file()
        rig.bindery(self.cluster, "d1", "delete", NAME)
        rig.bindery(self.cluster, "d1", "create", NAME)
        self.run_all(OBJECTS[:2] + OBJECTS[8:9])
        rig.bindery(self.cluster, "d1", "export", NAME, "--output", file)
        with open(file, encoding="utf-8") as text:
            lines = [line for line in text.read().split(";\n") if line and not line.startswith("PRAGMA")]
        assert model(lines) == model(OBJECTS[:2] + OBJECTS[8:9])

    def run(self):
        self.cluster.start()
        rig.bindery(self.cluster, "d1", "create", NAME)
        self.every_object()
        self.grow()
        self.leader_dies_in_the_middle()
        self.failures()
        self.as_text()


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-d1-download-") as directory:
        cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="256MiB", flags=("--shards", "4"))
        with rig.ended_after(cluster):
            Test(cluster, directory).run()
    print("d1 downloads: all as promised")


main()
