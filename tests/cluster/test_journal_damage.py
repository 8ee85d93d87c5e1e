#!/usr/bin/python3
"""A bit flip in one node's journal, before its last batch: no torn tail, so the node does not start on it and says where
the damage is. The others serve everything meanwhile, and a new node takes its place."""
import os
import re
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster  # noqa: E402
from s3clients import boto  # noqa: E402

PORT = 18400
HURT = 3
NEW = 4


def check_served(cluster, at, written):
    for key, body in written.items():
        assert boto(cluster, at).get_object(Bucket="bucket", Key=key)["Body"].read() == body, key


def damage(cluster):
    cluster.signal(HURT, signal.SIGTERM)
    cluster.wait_gone(HURT)
    journal = os.path.join(cluster.node(HURT)["data"], "journal")
    segment = min(name for name in os.listdir(journal) if name.endswith(".seg"))
    rig.flip(os.path.join(journal, segment), 4096 + 70)
    rig.spawn(cluster, HURT)
    assert cluster.processes.pop(HURT).wait(60) == 1
    assert re.search(rf"{segment}.*offset 4096", rig.log_of(cluster, HURT)), rig.log_of(cluster, HURT)[-500:]


def replace(cluster):
    shutil.rmtree(cluster.node(HURT)["data"])
    cluster.info["nodes"] = [node for node in cluster.info["nodes"] if node["id"] != HURT] + [cluster.describe(NEW)]
    cluster.flags += ["--replaces", str(HURT)]
    cluster.spawn(NEW, join=f"127.0.0.1:{PORT + 3}", token=cluster.join_token())
    cluster.save()
    cluster.wait(lambda: cluster.ready(NEW) and cluster.settled(NEW), 120, "the new node to have its replicas")


def run(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="128MiB", flags=("--shards", "8"))
    with rig.ended_after(cluster):
        cluster.start()
        boto(cluster, 0).create_bucket(Bucket="bucket")
        written = {f"k{number}": os.urandom(600 if number % 10 else 200_000) for number in range(60)}
        for number, (key, body) in enumerate(written.items()):
            boto(cluster, number % 3).put_object(Bucket="bucket", Key=key, Body=body)
        damage(cluster)
        for at in (0, 1):
            check_served(cluster, at, written)
        replace(cluster)
        check_served(cluster, 2, written)


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-journal-") as directory:
        run(directory)
    print("journal damage: all as promised")


main()
