#!/usr/bin/python3
"""A disk that hangs: the file system of the node that leads is frozen under load. The node must not keep its followers
quiet: writes go on through the others, and the process ends with status 75. Thawed, it starts again; everything
acknowledged is there."""
import os
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))
sys.path.insert(0, HERE)
import loopdisk  # noqa: E402
from localcluster import EXIT_STOP, Cluster  # noqa: E402
from workload import BUCKET, S3, Load  # noqa: E402

PORT = 19300
DISK_MIB = 3072


def leader_of_most(cluster):
    groups = cluster.get(1, "/bindery/v1/status")[1]["result"]["groups"]
    leaders = [group["leader"] for group in groups]
    return max(set(leaders), key=leaders.count)


def run(cluster, disks, leaving):
    cluster.start()
    assert S3(cluster, 0).call("PUT", f"/{BUCKET}")[0] == 200
    load = Load(cluster, 1, threads=8, parts=False)
    load.start()
    load.wait_acknowledged(100, 60)
    number = leader_of_most(cluster)
    process = cluster.processes.pop(number)
    leaving.append(process)
    disks[number].freeze(True)
    begin = time.monotonic()
    load.wait_acknowledged(200, 60)
    print(f"  200 writes {time.monotonic() - begin:.1f} s after the disk of node {number} hung")
    # What the kernel does for the frozen file system ends with the thaw, and only then can the process be gone.
    cluster_log = cluster.path(number, "log")
    cluster.wait(lambda: "timed out" in open(cluster_log, encoding="utf-8").read(), 20, f"node {number} to give up")
    disks[number].freeze(False)
    status = process.wait(30)
    assert status == EXIT_STOP, f"node {number} ended with status {status}:\n{cluster.tail(number)}"
    cluster.spawn(number)
    cluster.save()
    cluster.wait(lambda: cluster.ready(number), 60, f"node {number} to be back")
    load.wait_acknowledged(100, 60)
    load.stop()
    cluster.wait(cluster.settled, 60, "every group to have its voters")
    for node in range(3):
        load.verify(node)
    cluster.stop()
    print(f"hung disk: {load.acknowledged} acknowledged writes right, {load.unknown} of unknown outcome")


def main():
    missing = loopdisk.missing()
    if missing is not None:
        print(f"test_disk_hung: this machine lacks {missing}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="bindery-hung-") as directory:
        cluster = Cluster(directory, base_port=PORT, memory="256MiB")
        disks, leaving = {}, []
        try:
            for node in cluster.info["nodes"]:
                disks[node["id"]] = loopdisk.LoopDisk(directory, f"disk{node['id']}", "ext4", DISK_MIB)
                node["data"] = os.path.join(disks[node["id"]].path, "data")
            run(cluster, disks, leaving)
        finally:
            for disk in disks.values():
                if disk.frozen:
                    disk.freeze(False)
            for process in [*leaving, *cluster.processes.values()]:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            for disk in disks.values():
                disk.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
