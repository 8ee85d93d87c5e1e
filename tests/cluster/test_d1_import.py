#!/usr/bin/python3
"""An import whose process is killed in the middle: the database is as it was, refuses changes only until the import's lease
is over, and nothing of it is left; then, through a node that did not lead it, another is killed that led the database, among
the rows and once more while an index is filled, and the import goes on."""
import contextlib
import hashlib
import json
import os
import sqlite3
import sys
import tempfile
import urllib.request

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster  # noqa: E402

PORT = 20200
ROWS = 1000000
LONG = "Currently processing a long-running import."
BEFORE = "INSERT OR IGNORE INTO before VALUES ({})"  # may be asked for again when its answer was lost


def index(table):
    """Of t a plain one, of u a UNIQUE one: both are filled when all rows are there."""
    return f"CREATE {'UNIQUE ' if table == 'u' else ''}INDEX {table}_by_v ON {table} (v DESC)"


def dump(rows, table="t"):
    return (f"PRAGMA defer_foreign_keys=TRUE;\nCREATE TABLE {table} (id INTEGER PRIMARY KEY, v TEXT);\n" + "".join(
        f"INSERT INTO {table} VALUES ({i}, 'row {i} of the dump');\n" for i in range(rows))
        + index(table) + ";\n").encode()


class Test:
    def __init__(self, cluster):
        self.cluster = cluster

    def path(self, *words):
        return "/".join(("/client/v4/accounts", self.cluster.info["account_id"], "d1/database", *words))

    def post(self, number, path, body):
        return self.cluster.get(number, path, body=body, method="POST")

    def query(self, number, sql):
        return self.post(number, self.path("kept", "query"), {"sql": sql})

    def rows(self, number, sql):
        """Awaited."""
        found = []

        def answered():
            status, answer = self.query(number, sql)
            if status == 200:
                found.append(answer["result"][-1]["results"])
            return status == 200
        self.cluster.wait(answered, 60, f"{sql} through node {number}")
        return found[-1]

    def leader(self):
        """The node that executes what the database is asked."""
        status, answer = self.query(1, "DROP TABLE IF EXISTS none")  # what only reads is read where it is asked
        assert status == 200, answer
        return int(answer["result"][0]["meta"]["served_by"].rsplit("-", 1)[1])

    def begin(self, number, text):
        """An import through that node, uploaded and ingested: the answer."""
        path = self.path("kept", "import")
        status, answer = self.post(number, path, {"action": "init", "etag": hashlib.md5(text).hexdigest()})
        assert status == 200, answer
        put = urllib.request.Request(answer["result"]["upload_url"], data=text, method="PUT")
        with urllib.request.urlopen(put, timeout=60) as done:
            assert done.status == 200
        status, answer = self.post(number, path, {"action": "ingest", "filename": answer["result"]["filename"]})
        assert status == 200, answer
        return answer["result"]

    def finish(self, number, last):
        while last["status"] == "active":
            last = self.polled(number, last)
        return last

    def importer_dies(self):
        victim = self.leader() % 3 + 1
        other = victim % 3 + 1
        last = self.begin(victim, dump(ROWS))
        assert last["status"] == "active", f"the machine is too fast for this test: {last}"
        status, answer = self.query(other, BEFORE.format(2))
        assert status == 400 and answer["errors"][0]["message"] == LONG, f"{status} {answer}"
        status, answer = self.post(other, self.path("kept", "import"), {"action": "poll"})
        assert status == 400 and answer["errors"][0]["message"] == "Not currently importing anything", answer
        rig.kill(self.cluster, victim)
        assert self.rows(other, "SELECT v FROM before") == [{"v": 1}]

        def changes():
            status, answer = self.query(other, BEFORE.format(2))
            assert status == 200 or status >= 500 or answer["errors"][0]["message"] == LONG, f"{status} {answer}"
            return status == 200
        self.cluster.wait(changes, 60, "the end of the lease")
        assert self.rows(other, "SELECT name FROM sqlite_schema") == [{"name": "before"}]
        rig.spawn(self.cluster, victim)
        self.cluster.wait(lambda: self.query(victim, "SELECT 1")[0] == 200, 30, f"node {victim}")
        left = [name for name in rig.files(os.path.join(self.cluster.dir, f"n{victim}")) if "upload" in name]
        assert left == [], left

    def polled(self, number, last):
        status, answer = self.post(number, self.path("kept", "import"),
                                   {"action": "poll", "current_bookmark": last["at_bookmark"]})
        assert status == 200, answer
        return answer["result"]

    def leader_dies(self, table, when):
        """The leader is killed once the import is at that place."""
        leader = self.leader()
        asked = leader % 3 + 1
        last = self.begin(asked, dump(ROWS, table))
        while last["status"] == "active" and not when(last):
            last = self.polled(asked, last)
        assert last["status"] == "active", f"the machine is too fast for this test: {last}"
        rig.kill(self.cluster, leader)
        last = self.finish(asked, last)
        assert last["status"] == "complete" and last["result"]["num_queries"] == ROWS + 3, json.dumps(last)
        sums = self.rows(asked, f"SELECT count(*) AS n, sum(id) AS s FROM {table}")
        assert sums == [{"n": ROWS, "s": ROWS * (ROWS - 1) // 2}], sums
        assert self.rows(asked, f"SELECT v FROM {table} WHERE id = 77") == [{"v": "row 77 of the dump"}]
        assert self.rows(asked, "SELECT count(*) AS n FROM before") == [{"n": 2}]
        self.is_sound(asked, table)
        rig.spawn(self.cluster, leader)
        self.cluster.wait(lambda: self.query(leader, "SELECT 1")[0] == 200, 30, f"node {leader}")

    def is_sound(self, number, table):
        """By SQLite: each row has its entry in the index, whoever led while it was filled."""
        file = os.path.join(self.cluster.dir, f"{table}.db")
        rig.bindery(self.cluster, "d1", "export", "kept", "--format", "db", "--output", file, node=number)
        with contextlib.closing(sqlite3.connect(file)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            made = database.execute("SELECT sql FROM sqlite_schema WHERE name = ?", [f"{table}_by_v"]).fetchall()
            assert made == [(index(table),)], made
            assert database.execute(f"SELECT count(*) FROM {table} INDEXED BY {table}_by_v").fetchone() == (ROWS,)

    def run(self):
        self.cluster.start()
        status, answer = self.post(1, self.path(), {"name": "kept"})
        assert status == 200, answer
        assert self.rows(1, "CREATE TABLE IF NOT EXISTS before (v INTEGER PRIMARY KEY);" + BEFORE.format(1)) == []
        self.importer_dies()
        self.leader_dies("t", lambda last: True)
        self.leader_dies("u", lambda last: f"Processed {ROWS + 3} queries." in last["messages"])


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-d1-import-") as directory:
        cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="256MiB", flags=("--shards", "4"))
        with rig.ended_after(cluster):
            Test(cluster).run()
    print("d1 imports: all as promised")


main()
