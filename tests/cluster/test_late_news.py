#!/usr/bin/python3
"""A node that joins and is held up while others join and group 0 moves to them, before it has heard of anybody or after: it knows
only those who were there before it. It takes those who dial it with the cluster's certificate, and learns from them who is who."""
import os
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
import rig  # noqa: E402
import localcluster  # noqa: E402
from localcluster import Cluster  # noqa: E402

PORT = 20300
SHARDS = 4
LATE = 3
BEFORE, AFTER = (2,), (4, 5)


def spawn(cluster, number):
    status, answer = cluster.get(1, "/bindery/v1/join-tokens", body={}, method="POST")
    assert status == 200, answer
    cluster.info["nodes"].append(cluster.describe(number))
    cluster.spawn(number, join=f"127.0.0.1:{PORT + 3}", token=answer["result"]["token"])
    cluster.save()


def ready(cluster, number):
    cluster.wait(lambda: cluster.ready(number), 60, f"node {number} to be ready")


def leader_of_group_0(cluster):
    status, answer = cluster.get(1, "/bindery/v1/status")
    groups = answer["result"]["groups"] if status == 200 else []
    return next((group["leader"] for group in groups if group["kind"] == "system"), 0)


def run(cluster, has_heard):
    cluster.start()
    for number in BEFORE:
        spawn(cluster, number)
        ready(cluster, number)
    spawn(cluster, LATE)
    peers = os.path.join(cluster.node(LATE)["data"], "peers")
    localcluster.wait(lambda: os.path.exists(peers), 30, "the node to be admitted")
    if has_heard:
        ready(cluster, LATE)
    cluster.signal(LATE, signal.SIGSTOP)
    for number in AFTER:
        spawn(cluster, number)
        ready(cluster, number)
    localcluster.wait(lambda: "group 0 has left" in rig.log_of(cluster, 1), 60, "group 0 to leave node 1")
    drained = BEFORE[0]  # whoever leads group 0 then is none that the late one knows
    status, answer = cluster.get(1, f"/bindery/v1/nodes/{drained}/drain", body={}, method="POST")
    assert status == 200, answer
    cluster.wait(lambda: leader_of_group_0(cluster) in AFTER, 60, "another node to lead group 0")
    cluster.signal(LATE, signal.SIGCONT)
    ready(cluster, LATE)
    cluster.wait(lambda: cluster.settled(LATE), 60, "all groups to have their voters, as it sees them")


def main():
    for has_heard in (False, True):
        with tempfile.TemporaryDirectory(prefix="bindery-late-") as directory:
            cluster = Cluster(os.path.join(directory, "cluster"), nodes=1, base_port=PORT, memory="256MiB",
                              flags=("--shards", str(SHARDS)))
            with rig.ended_after(cluster):
                run(cluster, has_heard)
    print("late news: all as promised")


main()
