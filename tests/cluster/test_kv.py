#!/usr/bin/python3
"""KV on a cluster of processes: nodes are killed under load, one is cut off while both sides write, one is lost with its
disk and replaced. Afterwards every node shows the same, every acknowledged write is there or was written over by a later
one, and what was deleted stays deleted.

--seconds N: how long the cut lasts (6; the promise is made for 60)"""
import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True
import rig  # noqa: E402
import localcluster  # noqa: E402
from localcluster import Cluster  # noqa: E402

PORT = 19900
WRITERS = 2  # of each node and namespace
KEYS = 12    # of each writer
SHARDS = 16
EQUAL_SECONDS = 60
TOOL = os.path.join(os.path.dirname(localcluster.__file__), "cluster")


class Binding:
    """What workerd is to a node: one connection to its bindings port."""

    def __init__(self, cluster, number, namespace):
        url = urllib.parse.urlsplit(cluster.node(number)["bindings"])
        self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
        self.headers = {"X-Bindery-Binding": f"kv:{namespace}", "Authorization": f"Bearer {cluster.info['token']}"}

    def ask(self, method, key, body=None):
        """(status, body, durability); status 0: no answer."""
        try:
            self.connection.request(method, f"/{urllib.parse.quote(key, safe='')}?urlencoded=true", body, self.headers)
            answer = self.connection.getresponse()
            return answer.status, answer.read(), answer.getheader("X-Bindery-Durability")
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return 0, b"", None


class Writer(threading.Thread):
    """Writes rising numbers to keys of its own through one node, and deletes some; it keeps what was acknowledged."""

    def __init__(self, cluster, number, title, namespace, name):
        super().__init__(name=f"{title} at node {number}", daemon=True)
        self.node, self.title = number, title
        self.binding = Binding(cluster, number, namespace)
        self.keys = [f"{title}/{name}/ключ {i}" for i in range(KEYS)]
        self.least = dict.fromkeys(self.keys, 0)  # the newest number that is acknowledged
        self.most = dict.fromkeys(self.keys, 0)   # the newest number that was asked for
        self.ended = threading.Event()
        self.acknowledged = self.local = 0
        self.wrong = []

    @staticmethod
    def deletes(number):
        return number % 7 == 0

    @staticmethod
    def body(number):
        return b"%d " % number * (1 if number % 50 else 60_000)  # now and then in several pieces

    def run(self):
        number = 0
        while not self.ended.is_set():
            number += 1
            self.write(self.keys[number % KEYS], number)

    def write(self, key, number):
        self.most[key] = number
        method, body = ("DELETE", None) if self.deletes(number) else ("PUT", self.body(number))
        status, _, durability = self.binding.ask(method, key, body)
        if 200 <= status < 300:
            self.least[key] = number
            self.acknowledged += 1
            self.local += durability == "local"
            self.check_own(key, number)
        elif status in (0, 503):
            self.ended.wait(0.05)
        else:
            self.wrong.append(f"{key}: status {status}")

    def check_own(self, key, number):
        """It reads its own write through the same node."""
        status, body, _ = self.binding.ask("GET", key)
        expected = (404, b"") if self.deletes(number) else (200, self.body(number))
        if status not in (0, 503) and (status, body if status == 200 else b"") != expected:
            self.wrong.append(f"{key}: {status} {body[:20]} after {number} was acknowledged")

    def allows(self, key, status, body):
        """Is this what may be there in the end?"""
        if status == 404:
            may = range(self.least[key], self.most[key] + 1, KEYS)
            return self.least[key] == 0 or any(map(self.deletes, may))
        number = int(body.split(maxsplit=1)[0])
        return self.least[key] <= number <= self.most[key] and body == self.body(number) and not self.deletes(number)


class Test:
    def __init__(self, cluster, seconds):
        self.cluster, self.seconds = cluster, seconds
        self.namespaces = {}
        self.writers = []

    def make(self, title, *words):
        told = rig.bindery(self.cluster, "kv", "namespace", "create", title, *words, "--json")
        self.namespaces[title] = json.loads(told)["id"]

    # ---- load

    def load(self, numbers):
        """Starts writers of both namespaces at these nodes."""
        for number in numbers:
            for title, namespace in self.namespaces.items():
                for _ in range(WRITERS):
                    writer = Writer(self.cluster, number, title, namespace, len(self.writers))
                    self.writers.append(writer)
                    writer.start()

    def busy(self):
        return [writer for writer in self.writers if not writer.ended.is_set()]

    def wait_written(self, count, but=0):
        """Until every writer, but those of a node, has had so many more writes acknowledged."""
        goals = {writer: writer.acknowledged + count for writer in self.busy() if writer.node != but}
        self.cluster.wait(lambda: all(writer.acknowledged >= goal for writer, goal in goals.items()), 60,
                          f"{count} more writes of everybody but node {but}")

    def rest(self):
        for writer in self.writers:
            writer.ended.set()
        for writer in self.writers:
            writer.join(20)
            assert not writer.is_alive(), f"{writer.name} hangs"
            assert not writer.wrong, writer.wrong[:5]

    # ---- what is there

    def values(self, number, titles=("eventual", "local")):
        """Every key through a node; None: not all are answered."""
        found = {}
        bindings = {title: Binding(self.cluster, number, self.namespaces[title]) for title in titles}
        for writer in self.writers:
            for key in writer.keys if writer.title in titles else ():
                status, body, _ = bindings[writer.title].ask("GET", key)
                if status not in (200, 404):
                    return None
                found[key] = (status, body if status == 200 else b"")
        return found

    def check_equal(self, numbers, what):
        """Soon all nodes show the same, and it is what may be there."""
        began, values = time.monotonic(), {}

        def equal():
            values.update({number: self.values(number) for number in numbers})
            return None not in values.values() and all(each == values[numbers[0]] for each in values.values())
        self.cluster.wait(equal, EQUAL_SECONDS, f"nodes {numbers} to be equal {what}")
        for writer in self.writers:
            for key in writer.keys:
                status, body = values[numbers[0]][key]
                assert writer.allows(key, status, body), \
                    f"{what}: {key} is {status} {body[:20]}; acknowledged {writer.least[key]}, asked {writer.most[key]}"
        written = sum(writer.acknowledged for writer in self.writers)
        print(f"  {what}: equal after {time.monotonic() - began:.1f} s; {written} writes", flush=True)

    # ---- what happens

    def kills(self):
        self.load((1, 2, 3))
        for number in (1, 2, 3):
            self.wait_written(30)
            rig.kill(self.cluster, number)
            self.wait_written(10, but=number)
            rig.spawn(self.cluster, number)
            self.cluster.wait(lambda at=number: self.cluster.ready(at), 60, f"node {number} to be ready")
        self.rest()
        self.check_equal((1, 2, 3), "after kills")

    def cut(self):
        """Node 3 is alone: there only `local` takes writes, and says what they are worth."""
        subprocess.run([TOOL, "partition", "3", "--dir", self.cluster.dir], check=True)
        try:
            self.load((1, 2, 3))
            ends = time.monotonic() + self.seconds
            self.cluster.wait(lambda: time.monotonic() > ends and self.both_write(), self.seconds + 30, "both sides to write")
            assert not any(writer.acknowledged for writer in self.busy() if writer.node == 3 and writer.title == "eventual")
        finally:
            subprocess.run([TOOL, "heal", "--dir", self.cluster.dir], check=True)
        self.rest()
        assert not any(writer.local for writer in self.writers if writer.title != "local")
        self.check_equal((1, 2, 3), f"after a cut of {self.seconds} s")

    def both_write(self):
        alone = [writer for writer in self.busy() if writer.node == 3 and writer.title == "local"]
        rest = [writer for writer in self.busy() if writer.node != 3]
        return all(writer.local > 0 for writer in alone) and all(writer.acknowledged > 20 for writer in rest)

    def replace(self):
        """A node is lost with its disk. The one in its place fills itself, and then holds everything by itself."""
        rig.kill(self.cluster, 3)
        rig.wait_missed(self.cluster, 3, by=1)
        shutil.rmtree(self.cluster.node(3)["data"])
        self.cluster.info["nodes"] = [node for node in self.cluster.info["nodes"] if node["id"] != 3]
        self.cluster.processes.pop(3)
        self.cluster.info["nodes"].append(self.cluster.describe(4))
        self.cluster.flags, kept = [*self.cluster.flags, "--replaces", "3"], self.cluster.flags
        self.cluster.spawn(4, join=f"127.0.0.1:{PORT + 3}", token=self.cluster.join_token())
        self.cluster.flags = kept
        self.cluster.save()
        self.cluster.wait(lambda: self.cluster.ready(4), 60, "the new node to be ready")
        self.cluster.wait(self.filled, 60, "the new node to be filled")
        self.cluster.wait(self.told_filled, 60, "the status to say that every shard of KV is as it should be")
        self.check_equal((1, 2, 4), "after a node was replaced")
        expected = self.values(4, ["local"])  # the only ones that are read where group 0 is out of reach
        for number in (1, 2):
            self.cluster.signal(number, signal.SIGSTOP)
        try:
            assert self.values(4, ["local"]) == expected, "the new node does not answer by itself, or otherwise"
        finally:
            for number in (1, 2):
                self.cluster.signal(number, signal.SIGCONT)

    def filled(self):
        _, text = self.cluster.get(4, "/metrics")
        values = dict(line.rsplit(" ", 1) for line in str(text).splitlines() if line.startswith("bindery_kv_shards_"))
        return int(values.get("bindery_kv_shards_filled", 0)) == SHARDS

    def told_filled(self):
        """What is settled has no shard of KV that lacks the new node."""
        _, answer = self.cluster.get(1, "/bindery/v1/status")
        shards = answer["result"]["kv_shards"]
        on_new = all({"node": 4, "role": "filled"} in shard["members"] for shard in shards) and len(shards) == SHARDS
        done = answer["result"]["settled"] and answer["result"]["kv_moves_left"] == 0
        assert on_new or not done, answer["result"]
        return done and on_new

    def run(self):
        self.cluster.start()
        self.make("eventual")
        self.make("local", "--consistency", "local")
        self.kills()
        self.cut()
        self.replace()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bindery-kv-") as directory:
        cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="256MiB",
                          flags=("--shards", str(SHARDS)))
        with rig.ended_after(cluster):
            Test(cluster, options.seconds).run()
    print("kv: all as promised")


main()
