#!/usr/bin/python3
"""A replica of KV that was away beyond the horizon: what was deleted meanwhile is forgotten everywhere by the time it is
back with its old copy. It forgets that, fills again, and nothing comes back on any node; everything else is there.

The program has no switch for the rule (KV_RULE_WIPE): with `kv_rule(spread->kv, KV_RULE_WIPE)` false in kv/move.c the
deleted keys are back on all three nodes, and this test fails."""
import http.client
import json
import os
import sys
import tempfile
import urllib.parse

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster  # noqa: E402

PORT = 20400
SHARDS = 4
HORIZON_S = 5
KEYS = [f"key {i}" for i in range(60)]
DELETED, EXPIRED, CHANGED = KEYS[:20], KEYS[20:30], KEYS[30:40]


class Test:
    def __init__(self, cluster):
        self.cluster = cluster
        self.namespace = None

    def ask(self, number, method, key, body=None, more=""):
        """(status, body) of the binding's request to a node."""
        url = urllib.parse.urlsplit(self.cluster.node(number)["bindings"])
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
        headers = {"X-Bindery-Binding": f"kv:{self.namespace}", "Authorization": f"Bearer {self.cluster.info['token']}"}
        connection.request(method, f"/{urllib.parse.quote(key, safe='')}?urlencoded=true{more}", body, headers)
        answer = connection.getresponse()
        status, value = answer.status, answer.read()
        connection.close()
        return status, value

    def write(self, number, method, key, body=None, more=""):
        status, answer = self.ask(number, method, key, body, more)
        assert 200 <= status < 300, f"{method} {key}: {status} {answer[:200]}"

    def metric(self, number, name):
        _, text = self.cluster.get(number, "/metrics")
        lines = [line for line in str(text).splitlines() if line.startswith(f"bindery_kv_{name} ")]
        return int(lines[0].split()[1])

    def roles(self, number):
        """Of a node, in each shard, as node 1 knows the map."""
        _, answer = self.cluster.get(1, "/bindery/v1/status")
        members = [shard["members"] for shard in answer["result"]["kv_shards"]]
        return [next((m["role"] for m in each if m["node"] == number), "none") for each in members]

    def wait_collected(self):
        """Node 3 is left out, and the others have forgotten each deletion and expiry."""
        self.cluster.wait(lambda: set(self.roles(3)) == {"filling"}, 90, "node 3 to be left out")
        gone = len(DELETED) + len(EXPIRED)
        for number in (1, 2):
            self.cluster.wait(lambda at=number: self.metric(at, "tombstones_collected_total") >= gone, 90,
                              f"node {number} to forget {gone} tombstones")

    def check(self, numbers, what):
        for number in numbers:
            for key in KEYS:
                status, value = self.ask(number, "GET", key)
                gone = key in DELETED or key in EXPIRED
                expected = (404, b"") if gone else (200, b"changed" if key in CHANGED else b"first")
                assert (status, b"" if status == 404 else value) == expected, \
                    f"{what}: node {number} has {key} as {status} {value[:40]}"

    def run(self):
        self.cluster.start()
        self.namespace = json.loads(rig.bindery(self.cluster, "kv", "namespace", "create", "away", "--json"))["id"]
        for key in KEYS:
            more = f"&expiration_ttl={HORIZON_S}" if key in EXPIRED else ""
            self.write(1, "PUT", key, b"first", more)
        self.cluster.wait(lambda: self.ask(3, "GET", KEYS[-1])[0] == 200, 60, "node 3 to have the values")
        rig.kill(self.cluster, 3)
        rig.wait_missed(self.cluster, 3, by=1)
        for key in DELETED:
            self.write(2, "DELETE", key)
        for key in CHANGED:
            self.write(2, "PUT", key, b"changed")
        self.wait_collected()
        rig.spawn(self.cluster, 3)
        self.cluster.wait(lambda: self.cluster.ready(3), 60, "node 3 to be ready")
        self.cluster.wait(lambda: set(self.roles(3)) == {"filled"}, 60, "node 3 to be filled")
        self.check((1, 2, 3), "back after the horizon")
        assert self.metric(3, "wiped_shards_total") > 0, "node 3 has forgotten nothing: it was not away for long enough"
        print("  node 3 was away beyond the horizon, and nothing has come back", flush=True)


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-kv-away-") as directory:
        flags = ("--shards", str(SHARDS), "--kv-horizon-s", str(HORIZON_S), "--kv-absent-s", str(2 * HORIZON_S),
                 "--kv-ttl-min-s", "1")
        cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="256MiB", flags=flags)
        with rig.ended_after(cluster):
            Test(cluster).run()
    print("kv away: all as promised")


main()
