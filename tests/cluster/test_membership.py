#!/usr/bin/python3
"""Nodes come, go and die under the load of S3 clients: 3 -> 4 -> 5 nodes, two of the first are decommissioned, one is
killed, wiped and replaced, all are restarted one after the other. Clients of nodes see errors that may be retried and
no others, clients of `bindery gateway` see none; no write is lost or done twice; the status is true at each step; and
the bytes moved are within a fifth of what had to be.

  test_membership.py [--clients N] [--objects N] [--size BYTES] [--shards N] [--seconds N]

--seconds: so long each step lasts at least, for soaking."""
import argparse
import collections
import concurrent.futures
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402
import localcluster  # noqa: E402
from localcluster import Cluster  # noqa: E402
import boto3  # noqa: E402
import botocore.config  # noqa: E402
import botocore.exceptions  # noqa: E402

PORT = 19700
GATEWAY = "127.0.0.9"
ZONES = {1: "a", 2: "b", 3: "c", 5: "a", 6: "b", 7: "a"}  # by node id; 4 is the gateway
BUCKET = "members"


def s3_client(keys, address):
    # One attempt: an error that the SDK would hide by a retry is an error here.
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=60, connect_timeout=5,
                                    s3={"addressing_style": "path"}, max_pool_connections=4)
    return boto3.client("s3", endpoint_url=f"http://{address}:{PORT + 2}", region_name="auto", config=config,
                        aws_access_key_id=keys["access_key_id"], aws_secret_access_key=keys["secret_access_key"])


class Members(Cluster):
    """A cluster whose nodes may come and go."""

    def command(self, number, join=None, token=None):
        command = super().command(number, join, token)
        command[command.index("--listen") + 1] = self.host(number)
        return command + ["--zone", ZONES[number], "--log-level", "debug"]

    serving = ()  # what clients of nodes know, replaced as a whole

    def save(self):
        super().save()
        self.serving = tuple(self.host(node["id"]) for node in self.info["nodes"])

    hosts = {}  # of nodes that have moved, by number

    def describe(self, number):
        node = super().describe(number)
        if number in self.hosts:
            node["rest"] = f"http://{self.hosts[number]}:{self.base_port}"
        return node

    def move(self, number, host):
        """From its next start on the node is at another address; the directory stays."""
        self.hosts = {**self.hosts, number: host}
        self.info["nodes"] = [self.describe(number) if node["id"] == number else node for node in self.info["nodes"]]

    def host(self, number):
        return self.hosts.get(number, f"127.0.0.{number}")

    def up(self):
        return [node["id"] for node in self.info["nodes"] if self.running(node["id"])]

    def ask(self, path, body=None, method=None):
        """The result of a REST call to some node that is up."""
        answer = None
        for number in self.up():
            status, answer = self.get(number, path, body=body, method=method)
            if status == 200:
                return answer["result"]
        raise localcluster.ClusterError(f"{path}: {answer}")

    def join_token(self):
        return self.ask("/bindery/v1/join-tokens", body={}, method="POST")["token"]

    def status(self):
        return self.ask("/bindery/v1/status")

    def add(self, number, *flags):
        self.info["nodes"].append(self.describe(number))
        self.flags, kept = self.flags + list(flags), self.flags
        self.spawn(number, join=f"127.0.0.{self.up()[0]}:{PORT + 3}", token=self.join_token())
        self.flags = kept
        self.save()
        self.wait(lambda: self.ready(number), 60, f"node {number} to be ready")

    def forget(self, number):
        self.info["nodes"] = [node for node in self.info["nodes"] if node["id"] != number]
        self.processes.pop(number, None)
        self.save()

    def bindery(self, *words, expect=0):
        """Runs a client command against some node; returns what it printed."""
        return rig.bindery(self, *words, node=self.up()[0], expect=expect)

    def metric(self, name):
        """The sum of a counter over the nodes that are up."""
        total = 0
        for number in self.up():
            _, text = self.get(number, "/metrics")
            total += sum(int(line.split()[1]) for line in str(text).splitlines() if line.startswith(f"bindery_{name} "))
        return total


class Client(threading.Thread):
    """Writes keys of its own that must not exist, counts one counter up by compare-and-swap, and reads what it wrote."""

    def __init__(self, load, number, addresses, strict):
        super().__init__(daemon=True)
        self.load, self.name, self.addresses, self.strict = load, f"c{number}", addresses, strict
        self.rng = random.Random(number)
        self.written, self.errors, self.slowest = {}, collections.Counter(), 0.0
        self.count, self.etag, self.turn, self.failure = 0, None, number, None
        self.clients, self.condition = {}, None

    def s3(self):
        address = self.addresses()[self.turn % len(self.addresses())]
        if address not in self.clients:
            self.clients[address] = s3_client(self.load.keys, address)
            self.clients[address].meta.events.register_first("before-sign.s3.PutObject", self.add_condition)
        return self.clients[address]

    def add_condition(self, request, **_):
        """Debian's boto3 does not know conditions on PutObject: the header is added before signing."""
        if self.condition is not None:
            request.headers.add_header(*self.condition)

    def call(self, operation, condition=None, **words):
        """One operation until it has an outcome: (answer or None, was any attempt's outcome unknown?). None: 412."""
        tried, self.condition = 0, condition
        while True:
            began = time.monotonic()
            try:
                answer = getattr(self.s3(), operation)(Bucket=BUCKET, **words)
                self.slowest = max(self.slowest, time.monotonic() - began)
                return answer, tried > 0
            except botocore.exceptions.ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 412:
                    return None, tried > 0
                if status != 503 or self.strict:
                    raise
                self.errors["503"] += 1
            except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as error:
                if self.strict:
                    raise
                self.errors[type(error).__name__] += 1
            tried += 1
            self.turn += 1
            time.sleep(0.05)

    def create(self):
        key = f"{self.name}/{len(self.written)}"
        size = self.rng.choice((100, 1000, 1000, 100_000))
        body = (key.encode() + b" ") * (size // len(key) + 1)
        answer, unsure = self.call("put_object", ("If-None-Match", "*"), Key=key, Body=body)
        if answer is None:
            assert unsure, f"{key}: 412 at the first attempt: written twice"
        self.written[key] = body

    def add(self):
        key = f"{self.name}/counter"
        condition = ("If-Match", self.etag) if self.etag else ("If-None-Match", "*")
        answer, unsure = self.call("put_object", condition, Key=key, Body=b"%d" % (self.count + 1))
        if answer is None:
            assert unsure, f"{key}: 412 at the first attempt"
            answer, _ = self.call("get_object", Key=key)
            assert answer["Body"].read() == b"%d" % (self.count + 1), f"{key}: lost, or counted twice"
        self.count, self.etag = self.count + 1, answer["ETag"]

    def read(self):
        key = self.rng.choice(list(self.written))
        answer, _ = self.call("get_object", Key=key)
        assert answer["Body"].read() == self.written[key], f"{key}: other bytes"

    def run(self):
        try:
            while not self.load.stopping.is_set():
                self.create()
                self.add()
                self.read()
        except BaseException as error:  # told by the main thread
            self.failure = error


class Load:
    def __init__(self, cluster, clients):
        self.keys, self.stopping = cluster.info["s3"], threading.Event()
        nodes = lambda: cluster.serving  # noqa: E731
        gateway = lambda: [GATEWAY]  # noqa: E731
        self.clients = [Client(self, number, gateway if number % 2 else nodes, bool(number % 2))
                        for number in range(clients)]
        for client in self.clients:
            client.start()

    def check(self):
        for client in self.clients:
            if client.failure:
                raise AssertionError(f"{client.name}, {'gateway' if client.strict else 'nodes'}") from client.failure

    def written(self):
        return sum(len(client.written) for client in self.clients)

    def bytes(self):
        return sum(len(body) for client in self.clients for body in list(client.written.values()))

    def stop(self, s3):
        """Ends the clients and reads everything back."""
        self.stopping.set()
        for client in self.clients:
            client.join(90)
            assert not client.is_alive(), f"{client.name} hangs"
        self.check()
        listed = {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            listed.update((item["Key"], item["Size"]) for item in page.get("Contents", ()) if item["Key"][0] == "c")
        for client in self.clients:
            expected = {key: len(body) for key, body in client.written.items()}
            expected[f"{client.name}/counter"] = len(str(client.count))
            mine = {key: size for key, size in listed.items() if key.startswith(client.name + "/")}
            assert mine == expected, f"{client.name}: {set(mine) ^ set(expected)}"
            body = s3.get_object(Bucket=BUCKET, Key=f"{client.name}/counter")["Body"].read()
            assert body == b"%d" % client.count, f"{client.name}: {body} is not {client.count}"
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for client in self.clients:
                for key, answer in zip(client.written, pool.map(lambda key: s3.get_object(Bucket=BUCKET, Key=key)["Body"]
                                                                .read(), client.written)):
                    assert answer == client.written[key], f"{key}: other bytes"


class Gateway:
    def __init__(self, cluster):
        command = [localcluster.BINARY, "gateway", "--data", os.path.join(cluster.dir, "gateway"), "--listen", GATEWAY,
                   "--base-port", str(PORT), "--insecure", "--memory", "256MiB", "--join", f"127.0.0.1:{PORT + 3}",
                   "--token", cluster.join_token()]
        with open(os.path.join(cluster.dir, "gateway.log"), "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
        localcluster.wait(self.ready, 30, "the gateway to be ready")

    def ready(self):
        assert self.process.poll() is None, f"the gateway ended with status {self.process.returncode}"
        return subprocess.run(["curl", "-sf", "-o", "/dev/null", f"http://{GATEWAY}:{PORT}/readyz"],
                              check=False).returncode == 0

    def sees(self, nodes):
        text = subprocess.run(["curl", "-s", f"http://{GATEWAY}:{PORT}/metrics"], capture_output=True, text=True,
                              check=False).stdout
        return f"bindery_gateway_nodes_up {nodes}\n" in text

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0


class Test:
    def __init__(self, directory, options):
        self.options = options
        self.cluster = Members(os.path.join(directory, "cluster"), nodes=1, base_port=PORT, memory="256MiB",
                               flags=["--shards", str(options.shards)])
        self.gateway, self.load, self.began = None, None, time.monotonic()

    def say(self, text):
        print(f"  {time.monotonic() - self.began:5.1f} s  {text}", flush=True)

    # ---- what is where

    @staticmethod
    def places(status):
        return {group["gid"]: {member["node"] for member in group["members"]} for group in status["groups"]}

    def address(self, number):
        return f"{self.cluster.host(number)}:{PORT + 3}"

    def check_status(self, nodes):
        """The status says what is true: as told by every node and by the gateway alike."""
        status = self.settle(nodes)
        assert status["moves_left"] == 0 and status["nodes_silent"] == 0, status
        assert status["move_bytes_left"] == 0 and status["move_seconds_left"] == 0, status
        storage = {node["id"]: node for node in status["nodes"] if node["role"] == "storage"}
        alive = {number for number, node in storage.items() if node["state"] != "gone"}
        assert alive == nodes, f"{alive} is not {nodes}"
        holds, leads = collections.Counter(), collections.Counter()
        for group in status["groups"]:
            members = {member["node"] for member in group["members"]}
            assert members == set(group["wanted"]) and members <= nodes and len(members) == 3, group
            assert {member["role"] for member in group["members"]} == {"voter"}, group
            assert len({ZONES[number] for number in members}) == 3, f"two replicas in one zone: {group}"
            assert group["leader"] in members, group
            holds.update(members)
            leads[group["leader"]] += 1
        for number in nodes:
            node = storage[number]
            assert node["up"] and node["zone"] == ZONES[number], node
            assert node["address"] == self.address(number), node
            assert (node["replicas"], node["leads"]) == (holds[number], leads[number]), node
            assert (node["arriving"], node["leaving"]) == (0, 0), node
        listed = {line.split()[0]: line.split()[-1] for line in self.cluster.bindery("node", "ls").splitlines()[1:]}
        assert all(listed[str(number)] == ZONES[number] for number in nodes), listed
        return status

    def settle(self, nodes, seconds=120):
        status = {}

        def done():
            self.load.check()
            status.update(self.cluster.status())
            alive = {node["id"]: node["address"] for node in status["nodes"]
                     if node["role"] == "storage" and node["state"] != "gone"}
            if status["moves_left"] > 0:
                self.left.append((status["move_bytes_left"], status["move_seconds_left"]))
            return status["settled"] and alive == {number: self.address(number) for number in nodes}
        self.cluster.wait(done, seconds, f"nodes {sorted(nodes)} to be settled")
        return status

    def step(self, name, nodes, change, moved=True):
        """Makes a change, waits until all is settled on these nodes, and counts what it moved."""
        before, sent = self.places(self.cluster.status()), self.moved()
        size, began = self.state_bytes(), time.monotonic()
        gone = change()
        self.settle(nodes)
        took = time.monotonic() - began
        while time.monotonic() - began < self.options.seconds:
            self.load.check()
            time.sleep(0.5)
        status = self.check_status(nodes)
        after = self.places(status)
        moves = sum(len(after[gid] - before[gid]) for gid in after)
        had = (size + self.state_bytes()) / 2 / self.options.shards
        least = sum(len(after[gid] - before[gid]) for gid in after if gid != 0) * had
        bytes_moved = self.moved() - sent + (gone or 0)
        told = f"{moves} replicas, {bytes_moved / 1e6:.1f} MB moved, {least / 1e6:.1f} MB at least; " if moved else ""
        self.say(f"{name}: {took:.1f} s, {told}{self.load.written()} written")
        if moved:  # counters begin again with a process
            self.ratios.append((name, bytes_moved, least))

    def moved(self):
        return self.cluster.metric("raft_export_bytes_total") + self.cluster.metric("bodies_fetched_bytes_total")

    def state_bytes(self):
        return self.options.objects * self.options.size + self.load.bytes()

    # ---- the steps

    def fill(self):
        s3 = s3_client(self.cluster.info["s3"], GATEWAY)
        s3.create_bucket(Bucket=BUCKET)
        numbers, lock = iter(range(self.options.objects)), threading.Lock()

        def put():
            client = s3_client(self.cluster.info["s3"], GATEWAY)
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                client.put_object(Bucket=BUCKET, Key=f"fill/{number}", Body=random.Random(number).randbytes(self.options.size))
        threads = [threading.Thread(target=put) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def decommission(self, number):
        cluster = self.cluster
        if len(cluster.up()) == 4:
            assert "draining" in cluster.bindery("node", "drain", str(number))
            cluster.wait(lambda: not any(group["leader"] == number for group in cluster.status()["groups"]), 30,
                         "the drained node to lead nothing")
        assert "leaving" in cluster.bindery("node", "decommission", str(number))
        if number == 1:  # in the middle of it
            rig.kill(cluster, number)
            rig.spawn(cluster, number)
        sent = 0

        def gone():
            nonlocal sent
            self.load.check()
            _, text = cluster.get(number, "/metrics")
            for line in str(text or "").splitlines():
                if line.startswith("bindery_raft_export_bytes_total "):
                    sent = int(line.split()[1])
            return cluster.running(number) is None
        localcluster.wait(gone, 120, f"node {number} to be gone")
        assert cluster.processes[number].wait(10) == 0, cluster.tail(number)
        started = subprocess.run(cluster.command(number), capture_output=True, text=True, timeout=30, check=False)
        assert started.returncode == 1 and "decommissioned" in started.stderr, started.stderr
        cluster.forget(number)
        return sent

    def refuse_to_lose_voters(self, number, other):
        text = self.cluster.bindery("node", "decommission", str(number), expect=1)
        assert "groups of 3 voters become groups of 1" in text, text
        text = self.cluster.bindery("node", "replace", str(number), str(other), expect=1)
        assert "is up" in text, text
        assert "draining" in self.cluster.bindery("node", "drain", str(number))
        assert "active" in self.cluster.bindery("node", "undrain", str(number))
        self.cluster.bindery("node", "drain", "99", expect=1)
        self.cluster.bindery("node", "drain", "three", expect=2)

    def replace(self, dead, fresh):
        cluster = self.cluster
        lost = 0
        _, text = cluster.get(dead, "/metrics")
        for line in str(text).splitlines():
            if line.startswith(("bindery_raft_export_bytes_total ", "bindery_bodies_fetched_bytes_total ")):
                lost += int(line.split()[1])
        rig.kill(cluster, dead)
        rig.wait_missed(cluster, dead, by=next(number for number in cluster.up() if number != dead))
        shutil.rmtree(cluster.node(dead)["data"])
        cluster.forget(dead)
        cluster.add(fresh, "--replaces", str(dead))
        return lost

    def restart_all(self, moved):
        """One after the other; one of them comes back at another address."""
        for number in list(self.cluster.up()):
            self.cluster.signal(number, signal.SIGTERM)
            self.cluster.wait_gone(number)
            self.cluster.processes.pop(number)
            if number == moved:
                self.cluster.move(number, "127.0.0.77")
            rig.spawn(self.cluster, number)
            self.cluster.wait(lambda at=number: self.cluster.ready(at) and self.gateway.sees(3), 60,
                              f"node {number} to be ready")
            self.load.check()

    def run(self):
        self.ratios, self.left = [], []
        self.cluster.start()
        for number in (2, 3):  # one after the other: ids are issued in this order
            self.cluster.add(number)
        self.gateway = Gateway(self.cluster)
        self.fill()
        self.say("three nodes, filled")
        self.load = Load(self.cluster, self.options.clients)
        self.step("3 -> 4 nodes", {1, 2, 3, 5}, lambda: self.cluster.add(5))
        self.step("4 -> 5 nodes", {1, 2, 3, 5, 6}, lambda: self.cluster.add(6))
        self.step("node 1 is decommissioned", {2, 3, 5, 6}, lambda: self.decommission(1))
        self.step("node 2 is decommissioned", {3, 5, 6}, lambda: self.decommission(2))
        self.refuse_to_lose_voters(3, 6)
        self.step("node 5 is killed, wiped and replaced by 7", {3, 6, 7}, lambda: self.replace(5, 7))
        self.step("rolling restart", {3, 6, 7}, lambda: self.restart_all(6), moved=False)
        self.load.stop(s3_client(self.cluster.info["s3"], GATEWAY))
        for name, moved, least in self.ratios:  # the least is an average over groups: three of them may be larger ones
            assert moved <= 1.6 * least, f"{name}: {moved} bytes moved, {least:.0f} at least"
        moved, least = (sum(ratio[i] for ratio in self.ratios) for i in (1, 2))
        assert moved <= 1.2 * least, f"{moved} bytes moved in all, {least:.0f} at least"
        assert max((size or 0 for size, _ in self.left), default=0) > self.options.size, "no status told what is still to be moved"
        assert all(seconds >= 1 for size, seconds in self.left if size), self.left
        errors = sum((client.errors for client in self.load.clients), collections.Counter())
        slowest = {strict: max((client.slowest for client in self.load.clients if client.strict == strict), default=0)
                   for strict in (False, True)}
        self.say(f"{self.load.written()} writes, all there once; errors at nodes, retried: {dict(errors)}; slowest answer "
                 f"{slowest[False]:.2f} s at nodes, {slowest[True]:.2f} s at the gateway")
        self.gateway.stop()

    def close(self):
        if self.load:
            self.load.stopping.set()
        if self.gateway and self.gateway.process.poll() is None:
            self.gateway.process.kill()
            self.gateway.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--objects", type=int, default=320)
    parser.add_argument("--size", type=int, default=60_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--keep", metavar="DIR", help="where the cluster is made, and stays after a failure")
    options = parser.parse_args()
    directory = options.keep or tempfile.mkdtemp(prefix="bindery-membership-")
    test = Test(directory, options)
    try:
        with rig.ended_after(test.cluster), contextlib.closing(test):
            test.run()
    finally:
        if not options.keep:
            shutil.rmtree(directory)
    print("membership: all as promised")


main()
