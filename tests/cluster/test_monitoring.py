#!/usr/bin/python3
"""What an operator watches, over three real nodes under load: /metrics has every name that the dashboard and the alert
rules of docs/ops cite, and `bindery top` tells load, latencies, groups, and a node that is down."""
import json
import os
import re
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster  # noqa: E402
from s3clients import boto  # noqa: E402

PORT = 18800
OPS = os.path.join(rig.HERE, "..", "..", "docs", "ops")


class Load:
    """Puts and gets through nodes 1 and 3 until it is left."""

    def __init__(self, cluster):
        self.clients = [boto(cluster, 0), boto(cluster, 2)]
        self.over, self.failed = threading.Event(), []
        self.clients[0].create_bucket(Bucket="load")
        self.threads = [threading.Thread(target=self.run, args=(client,)) for client in self.clients]

    def run(self, client):
        number = 0
        while not self.over.is_set():
            try:
                client.put_object(Bucket="load", Key=f"k{number % 50}", Body=b"x" * 1000)
                client.get_object(Bucket="load", Key=f"k{number % 50}")["Body"].read()
            except Exception as error:  # told by __exit__
                self.failed.append(error)
            number += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def cited(text):
    """Names of our metrics in expressions; a histogram is cited by one of its parts."""
    names = re.findall(r"\b(?:bindery|process)_[a-z0-9_]+\b", text)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def expressions():
    """(where, text) of every expression in docs/ops."""
    with open(os.path.join(OPS, "grafana-dashboard.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    with open(os.path.join(OPS, "prometheus-alerts.yml"), encoding="utf-8") as file:
        for line in file:
            if line.strip().startswith("expr:"):
                yield "alert", line.split("expr:", 1)[1]


def check_cited(cluster):
    exported = {}
    for node in cluster.info["nodes"]:
        status, text = cluster.get(node["id"], "/metrics")
        assert status == 200, status
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
            assert exported.setdefault(name, kind) == kind, name
    count, names = 0, set()
    for where, text in expressions():
        found = cited(text)
        assert found or where == "alert" and "up{" in text, f"{where}: no metric in {text}"
        missing = found - set(exported)
        assert not missing, f"{where}: no node exports {missing}"
        names |= found
        count += 1
    assert count >= 35, count
    print(f"  {count} expressions cite {len(names)} of {len(exported)} metrics, all exported")


def check_top(cluster):
    view = json.loads(rig.bindery(cluster, "top", "--once", "--json", "--interval", "1"))
    nodes = {node["id"]: node for node in view["nodes"]}
    assert set(nodes) == {1, 2, 3} and all(node["up"] for node in nodes.values()), nodes
    assert sum(node["groups_led"] for node in nodes.values()) == 65, nodes
    loaded = [node for node in nodes.values() if node["requests_per_s"]["s3"] > 0]
    assert len(loaded) == 2, [node["requests_per_s"] for node in nodes.values()]
    for node in loaded:
        assert 0 < node["request_p50_s"] <= node["request_p99_s"] < 10, node
    assert all(node["journal_syncs_per_s"] > 0 and node["rss_bytes"] > 1 << 20 for node in nodes.values()), nodes
    assert all(abs(node["clock_offset_s"]) < 0.5 for node in nodes.values()), nodes
    operations = {(each["port"], each["operation"]): each for each in view["operations"]}
    put, get = operations["s3", "PutObject"], operations["s3", "GetObject"]
    assert put["per_s"] > 0 and get["per_s"] > 0 and put["p99_s"] > 0, operations
    groups = {group["gid"]: group for group in view["groups"]}
    assert len(groups) == 65 and all(group["leader"] in nodes for group in groups.values()), groups
    assert all(len(group["members"]) == 3 and group["answering"] == 3 for group in groups.values()), groups
    screen = rig.bindery(cluster, "top", "--once", "--interval", "0.5")
    assert "PutObject" in screen and "\033" not in screen, screen


def check_top_without_a_node(cluster):
    rig.kill(cluster, 2)
    view = json.loads(rig.bindery(cluster, "top", "--once", "--json", "--interval", "0.5"))
    nodes = [node for node in view["nodes"] if not node["up"]]
    assert len(nodes) == 1 and nodes[0]["problem"], view["nodes"]
    assert nodes[0]["problem"] in rig.bindery(cluster, "top", "--once", "--interval", "0.5")


def run(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="256MiB")
    with rig.ended_after(cluster):
        cluster.start()
        with Load(cluster) as load:
            check_top(cluster)
            check_cited(cluster)
        assert not load.failed, load.failed[0]
        check_top_without_a_node(cluster)


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-monitoring-") as directory:
        run(directory)
    print("monitoring: all as promised")


main()
