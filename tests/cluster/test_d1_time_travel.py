#!/usr/bin/python3
"""Time Travel on a cluster of processes, against a model: a hundred restores and forks at random bookmarks of a database that
is written all the while, its leader killed every now and then, and a retention so short that histories are collected
meanwhile; and downloads of what was there. What is asked for is exactly what was, or, when it is older than is kept, refused;
forks outlive all that."""
import contextlib
import os
import random
import re
import sqlite3
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster  # noqa: E402

PORT = 20140
RETENTION_S = 4
ROUNDS = 100
KILL_EVERY = 15
FORKS_KEPT = 8
DOWNLOAD_EVERY = 5
TRIES = 20
REFUSED = "is not kept for so long"
TAKEN = "Database with that name already exists"


class Place:
    """A bookmark, and what the database was there."""

    def __init__(self, bookmark, rows):
        self.bookmark, self.rows, self.newest_until = bookmark, dict(rows), time.monotonic()


class Test:
    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.random = random.Random(seed)
        self.rows = {}
        self.written = 0
        self.places = []
        self.forks = {}
        self.made = {"restore": 0, "fork": 0}
        self.refused = 0
        self.downloads = 0

    # ---- D1

    def numbers(self):
        return [node["id"] for node in self.cluster.info["nodes"] if self.cluster.running(node["id"])]

    def call(self, method, *words, body=None):
        """(status, answer) through a node that runs, asked again while it is not served."""
        path = "/".join(("/client/v4/accounts", self.cluster.info["account_id"], "d1/database", *words))
        found = []

        def answered():
            status, answer = self.cluster.get(self.random.choice(self.numbers()), path, body=body, method=method)
            found[:] = [] if status in (0, 429) or status >= 500 else [(status, answer)]
            return bool(found)
        self.cluster.wait(answered, 60, f"an answer to {method} {path}")
        return found[0]

    def query(self, database, sql, params=()):
        return self.call("POST", database, "query", body={"sql": sql, "params": list(params)})

    def create(self, name):
        status, answer = self.call("POST", body={"name": name})
        assert status == 200, f"create: {status} {answer}"
        return answer["result"]["uuid"]

    def content(self, database):
        status, answer = self.query(database, "SELECT id, v FROM t")
        assert status == 200, f"select: {status} {answer}"
        return {row["id"]: row["v"] for row in answer["result"][0]["results"]}

    def check(self, database, rows, what):
        found = self.content(database)
        wrong = {key: (found.get(key), rows.get(key)) for key in found.keys() | rows.keys()
                 if found.get(key) != rows.get(key)}
        assert not wrong, f"{what}: {len(wrong)} rows are wrong: {sorted(wrong.items())[:3]}"

    # ---- the database that is written

    def write(self):
        """A transaction of several rows. Asked again, its row in `done` tells whether it was executed before."""
        self.written += 1
        keys = self.random.sample(range(40), self.random.randint(1, 8))
        value = f"{self.written} " + "x" * self.random.choice((5, 300, 6000))
        after = dict(self.rows)
        sql = [f"INSERT INTO done VALUES({self.written})"]
        for key in keys:
            if self.random.random() < 0.2:
                after.pop(key, None)
                sql.append(f"DELETE FROM t WHERE id = {key}")
            else:
                after[key] = value
                sql.append(f"INSERT OR REPLACE INTO t VALUES({key}, '{value}')")
        status, answer = self.query(self.database, ";".join(sql))
        again = status == 400 and "UNIQUE constraint failed: done.n" in answer["errors"][0]["message"]
        assert status == 200 or again, f"write: {status} {answer}"
        self.rows = after
        self.remember()

    def remember(self):
        if self.places:
            self.places[-1].newest_until = time.monotonic()
        status, answer = self.call("GET", self.database, "time_travel/bookmark")
        assert status == 200, f"bookmark: {status} {answer}"
        self.places.append(Place(answer["result"]["bookmark"], self.rows))

    def draw(self):
        """Mostly one that is kept; the others are about as old as what is."""
        recent = [place for place in self.places if time.monotonic() - place.newest_until < RETENTION_S / 2]
        older = self.places[-400:]
        return self.random.choice(recent if recent and self.random.random() < 0.75 else older)

    # ---- there and back

    def travel(self, what, place, path, name=None):
        """The answer, or None: it is not kept any more. name: of the database that is made, which nobody else makes."""
        status, answer = self.call("POST", self.database, path)
        if name is not None and status == 400 and answer["errors"][0]["message"] == TAKEN:
            status, answer = self.call("GET", name)  # it was made when it was first asked for, and the answer lost
        if status == 200:
            self.made[what] += 1
            return answer["result"]
        age = time.monotonic() - place.newest_until
        text = str(answer["errors"][0]["message"])
        assert status == 400 and REFUSED in text, f"{what}: {status} {answer}"
        assert age > RETENTION_S, f"{what}: refused although it was the newest {age:.1f} s ago: {answer}"
        self.refused += 1
        return None

    def restore(self, place):
        if self.travel("restore", place, f"time_travel/restore?bookmark={place.bookmark}") is not None:
            self.rows = dict(place.rows)
            self.check(self.database, self.rows, "after a restore")
            self.remember()

    def fork(self, place):
        name = f"fork-{self.written}-{len(self.places)}-{self.random.getrandbits(32)}"
        result = self.travel("fork", place, f"time_travel/fork?name={name}&bookmark={place.bookmark}", name)
        if result is None:
            return
        self.forks[result["uuid"]] = dict(place.rows)
        self.check(result["uuid"], place.rows, "a fork")
        if len(self.forks) > FORKS_KEPT:
            self.drop(self.random.choice(list(self.forks)))

    def download(self, place):
        """The database as a file."""
        file = os.path.join(self.cluster.dir, "download.db")
        words = ("d1", "export", self.database, "--format", "db", "--bookmark", place.bookmark, "--output", file)
        for _ in range(TRIES):
            done = rig.run(self.cluster, *words, node=self.random.choice(self.numbers()))
            if done.returncode == 0 or REFUSED in done.stderr:
                break
        if REFUSED in done.stderr:
            assert time.monotonic() - place.newest_until > RETENTION_S, f"a download: refused too early: {done.stderr}"
            return
        assert done.returncode == 0, done.stderr
        with contextlib.closing(sqlite3.connect(file)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"a download of {place.bookmark}"
            found = dict(database.execute("SELECT id, v FROM t"))
        os.unlink(file)
        assert found == place.rows, "a download is not what was"
        self.downloads += 1

    def drop(self, fork):
        status, answer = self.call("DELETE", fork)
        assert status in (200, 404), f"delete: {status} {answer}"
        del self.forks[fork]

    def write_fork(self):
        fork = self.random.choice(list(self.forks))
        status, answer = self.query(fork, "INSERT OR REPLACE INTO t VALUES(1000, ?)", [self.written])
        assert status == 200, f"a fork: {status} {answer}"
        self.forks[fork][1000] = self.written

    # ---- what happens

    def kill_leader(self):
        status, answer = self.cluster.get(self.numbers()[0], "/bindery/v1/status")
        assert status == 200, f"status: {status} {answer}"
        leader = next(group["leader"] for group in answer["result"]["groups"] if group["kind"] == "sql")
        if leader in self.numbers():
            rig.kill(self.cluster, leader)
            self.down = leader

    def rounds(self):
        self.down = 0
        count = 0
        while sum(self.made.values()) < ROUNDS:
            count += 1
            for _ in range(self.random.randint(1, 5)):
                self.write()
            if count % KILL_EVERY == 0:
                self.kill_leader()
            (self.restore if self.random.random() < 0.5 else self.fork)(self.draw())
            if count % DOWNLOAD_EVERY == 0:
                self.download(self.draw())
            if self.forks:
                self.write_fork()
            if self.down and count % KILL_EVERY == 3:
                rig.spawn(self.cluster, self.down)
                self.cluster.wait(lambda: self.cluster.ready(self.down), 60, f"node {self.down} to be ready")
                self.down = 0
        if self.down:
            rig.spawn(self.cluster, self.down)
            self.cluster.wait(lambda: self.cluster.ready(self.down), 60, f"node {self.down} to be ready")

    def collected(self):
        keys = 0
        for number in self.numbers():
            status, text = self.cluster.get(number, "/metrics")
            found = re.search(r"^bindery_sql_collected_keys_total (\d+)", text if status == 200 else "", re.M)
            keys += int(found.group(1)) if found else 0
        return keys

    def is_refused(self, place):
        status, answer = self.call("POST", self.database, f"time_travel/restore?bookmark={place.bookmark}")
        if status == 200:  # it was still there, then
            self.check(self.database, place.rows, "after a late restore")
            self.rows = dict(place.rows)
            self.remember()
        return status == 400 and REFUSED in str(answer["errors"][0]["message"])

    def ends(self):
        """History has an end; what forks stand upon has none, also when their source is deleted."""
        oldest = self.places[0]
        self.cluster.wait(lambda: self.is_refused(oldest), 60, "the oldest bookmark to be refused")
        self.cluster.wait(lambda: self.collected() > 0, 60, "histories to be collected")
        self.check(self.database, self.rows, "at the end")
        for fork, rows in self.forks.items():
            self.check(fork, rows, "a fork at the end")
        status, answer = self.call("DELETE", self.database)
        assert status == 200, f"delete: {status} {answer}"
        before = self.collected()
        self.cluster.wait(lambda: self.collected() > before, 60, "the deleted source to be collected")
        for fork, rows in self.forks.items():
            self.check(fork, rows, "a fork of a source that is gone")

    def run(self):
        self.cluster.start()
        self.database = self.create("source")
        for sql in ("CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "CREATE TABLE done(n INTEGER PRIMARY KEY)"):
            status, answer = self.query(self.database, sql)
            assert status == 200, f"{sql}: {status} {answer}"
        self.rounds()
        self.ends()


def main():
    seed = int(os.environ.get("BND_SEED", random.getrandbits(32)))
    print(f"BND_SEED={seed}")
    with tempfile.TemporaryDirectory(prefix="bindery-d1-") as directory:
        cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="256MiB",
                          flags=("--shards", "1", "--d1-retention-s", str(RETENTION_S)))
        with rig.ended_after(cluster):
            test = Test(cluster, seed)
            began = time.monotonic()
            test.run()
            print(f"time travel: {test.made['restore']} restores and {test.made['fork']} forks as the model, {test.downloads} downloads, "
                  f"{test.refused} refused as too old, {time.monotonic() - began:.0f} s")


main()
