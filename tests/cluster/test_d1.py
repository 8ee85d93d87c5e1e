#!/usr/bin/python3
"""D1 on a cluster of processes: the first database founds SQL's groups while one of their founders is down; leaders are
killed under writers, a node joins, one is lost and replaced. Every acknowledged row is there, once, through every node, and
each group is where it should be."""
import json
import os
import shutil
import sys
import tempfile
import threading
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster  # noqa: E402

PORT = 20100
SHARDS = 16
DATABASES = 3


class Writer(threading.Thread):
    """Inserts rising numbers into a table without keys, through one node."""

    def __init__(self, test, number, database):
        super().__init__(name=f"writer {len(test.writers)} of {database} at node {number}", daemon=True)
        self.test, self.node, self.database = test, number, database
        self.asked = 0
        self.acknowledged = set()
        self.ended = threading.Event()
        self.wrong = []

    def run(self):
        while not self.ended.is_set():
            self.asked += 1
            status, answer = self.test.query(self.node, self.database, "INSERT INTO t VALUES(?, ?)",
                                             [self.name, self.asked])
            if status == 200:
                self.acknowledged.add(self.asked)
            elif status in (0, 429) or status >= 500:
                self.ended.wait(0.05)
            else:
                self.wrong.append((status, answer))
                return


class Test:
    def __init__(self, cluster):
        self.cluster = cluster
        self.databases = []
        self.writers = []

    # ---- D1

    def path(self, *words):
        return "/".join(("/client/v4/accounts", self.cluster.info["account_id"], "d1/database", *words))

    def create(self, number, name):
        """Its uuid."""
        status, answer = self.cluster.get(number, self.path(), body={"name": name}, method="POST")
        assert status == 200, f"create: {status} {answer}"
        return answer["result"]["uuid"]

    def query(self, number, database, sql, params=()):
        return self.cluster.get(number, self.path(database, "query"), body={"sql": sql, "params": list(params)},
                                method="POST")

    def ask(self, number, database, sql):
        """The rows, awaited."""
        found = []

        def answered():
            status, answer = self.query(number, database, sql)
            assert status == 200 or status in (0, 429) or status >= 500, f"{sql}: {status} {answer}"
            found[:] = [answer["result"][0]["results"]] if status == 200 else []
            return bool(found)
        self.cluster.wait(answered, 60, f"an answer of node {number}")
        return found[0]

    # ---- groups

    def groups(self):
        status, answer = self.cluster.get(1, "/bindery/v1/status")
        assert status == 200, f"status: {status} {answer}"
        return [group for group in answer["result"]["groups"] if group["kind"] == "sql"]

    def check_groups(self, what):
        self.cluster.wait(self.cluster.settled, 120, f"every group to settle {what}")
        groups = self.groups()
        assert len(groups) == SHARDS, f"{what}: {len(groups)} groups of SQL"
        for group in groups:
            members = sorted(member["node"] for member in group["members"])
            assert members == sorted(group["wanted"]), f"{what}: shard {group['shard']} is on {members}: {group}"

    # ---- load

    def load(self):
        for number in self.numbers():
            for database in self.databases:
                self.writers.append(Writer(self, number, database))
                self.writers[-1].start()

    def numbers(self):
        return [node["id"] for node in self.cluster.info["nodes"] if self.cluster.running(node["id"])]

    def wait_written(self, count, but=0):
        goals = {writer: len(writer.acknowledged) + count for writer in self.writers
                 if not writer.ended.is_set() and writer.node != but}
        self.cluster.wait(lambda: all(len(writer.acknowledged) >= goal for writer, goal in goals.items()), 90,
                          f"{count} more rows of everybody but node {but}")

    def rest(self, what):
        for writer in self.writers:
            writer.ended.set()
        for writer in self.writers:
            writer.join(40)
            assert not writer.is_alive(), f"{writer.name} hangs"
            assert not writer.wrong, f"{writer.name}: {writer.wrong[:3]}"
        for number in self.numbers():
            for database in self.databases:
                self.check_rows(number, database, what)

    def check_rows(self, number, database, what):
        found = {}
        for row in self.ask(number, database, "SELECT w, n, count(*) AS times FROM t GROUP BY w, n"):
            assert row["times"] == 1, f"{what}: row {row} through node {number}"
            found.setdefault(row["w"], set()).add(row["n"])
        for writer in self.writers:
            if writer.database == database:
                rows = found.get(writer.name, set())
                assert writer.acknowledged <= rows, f"{what}: lost {sorted(writer.acknowledged - rows)[:5]}"
                assert rows <= set(range(1, writer.asked + 1)), f"{what}: invented {sorted(rows)[-3:]}"

    # ---- what happens

    def founding(self):
        """Node 3 is down, comes back, and makes its replicas of what the others have founded without it."""
        assert not self.groups(), "a cluster without D1 has groups of SQL"
        rig.kill(self.cluster, 3)
        for i in range(DATABASES):
            self.databases.append(self.create(1 + i % 2, f"database-{i}"))
            self.ask(1 + i % 2, self.databases[-1], "CREATE TABLE t(w TEXT, n INTEGER)")
        rig.spawn(self.cluster, 3)
        self.cluster.wait(lambda: self.cluster.ready(3), 60, "node 3 to be ready")
        self.check_groups("after the founding")

    def kills(self):
        self.load()
        for number in (1, 2, 3):
            self.wait_written(20)
            rig.kill(self.cluster, number)
            self.wait_written(5, but=number)
            rig.spawn(self.cluster, number)
            self.cluster.wait(lambda at=number: self.cluster.ready(at), 60, f"node {number} to be ready")
        self.rest("after kills")

    def unreachable(self):
        """A token that node 1 would ask group 0 about, which it cannot reach: a Worker is told that nothing was executed, in D1's
        words, for which applications look."""
        for number in (2, 3):
            rig.kill(self.cluster, number)
        request = urllib.request.Request(f"{self.cluster.node(1)['bindings']}/query", b'{"sql": "SELECT 1", "params": []}', {
            "X-Bindery-Binding": f"d1:{self.databases[0]}", "Authorization": "Bearer unknown", "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                status, answer = reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            status, answer = error.code, json.load(error)
        assert (status, answer["success"]) == (503, False), f"{status} {answer}"
        assert answer["error"].startswith("Network connection lost."), answer
        for number in (2, 3):
            rig.spawn(self.cluster, number)
        for number in (1, 2, 3):
            self.cluster.wait(lambda at=number: self.cluster.ready(at), 60, f"node {number} to be ready")

    def add(self, number, *flags):
        self.cluster.info["nodes"].append(self.cluster.describe(number))
        self.cluster.flags, kept = [*self.cluster.flags, *flags], self.cluster.flags
        self.cluster.spawn(number, join=f"127.0.0.1:{PORT + 3}", token=self.cluster.join_token())
        self.cluster.flags = kept
        self.cluster.save()
        self.cluster.wait(lambda: self.cluster.ready(number), 60, f"node {number} to be ready")

    def changes(self):
        """A fourth node, to which groups move under load; then the third is lost, and a fifth takes its place."""
        self.load()
        self.wait_written(5)
        self.add(4)
        self.check_groups("after a node joined")
        assert any(4 in group["wanted"] for group in self.groups()), "nothing moved to the new node"
        self.rest("after a node joined")
        rig.kill(self.cluster, 3)
        rig.wait_missed(self.cluster, 3, by=1)
        shutil.rmtree(self.cluster.node(3)["data"])
        self.cluster.info["nodes"] = [node for node in self.cluster.info["nodes"] if node["id"] != 3]
        self.cluster.processes.pop(3)
        self.add(5, "--replaces", "3")
        self.check_groups("after a node was replaced")
        self.rest("after a node was replaced")

    def restart(self):
        """Founders that have left groups do not make them again."""
        self.cluster.stop()
        self.cluster.start()
        self.check_groups("after a restart of all")
        for number in self.numbers():
            status, answer = self.cluster.get(number, "/bindery/v1/status?local")
            assert status == 200, answer
            here = {group["shard"] for group in answer["result"]["groups"] if group["kind"] == "sql"}
            wanted = {group["shard"] for group in self.groups() if number in group["wanted"]}
            assert here == wanted, f"node {number} has the SQL shards {sorted(here)}, and should have {sorted(wanted)}"
        self.rest("after a restart of all")

    def run(self):
        self.cluster.start()
        self.founding()
        self.kills()
        self.unreachable()
        self.changes()
        self.restart()


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-d1-") as directory:
        cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="256MiB",
                          flags=("--shards", str(SHARDS)))
        with rig.ended_after(cluster):
            Test(cluster).run()
    print("d1: all as promised")


main()
