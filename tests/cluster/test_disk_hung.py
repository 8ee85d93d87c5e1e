#!/usr/bin/python3
"""A disk that hangs: the file system of the node that leads is frozen under load. The node must not keep its followers
quiet: writes go on through the others, and the process ends with status 75. Thawed, it starts again; everything
acknowledged is there."""
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402
import loopdisk  # noqa: E402
from localcluster import EXIT_STOP, Cluster, wait  # noqa: E402
from workload import BUCKET, S3, Load  # noqa: E402

PORT = 19300


def run(cluster, disks):
    cluster.start()
    assert S3(cluster, 0).call("PUT", f"/{BUCKET}")[0] == 200
    load = Load(cluster, 1, threads=8, parts=False)
    load.start()
    load.wait_acknowledged(100, 60)
    number = rig.leader_of_most(cluster)
    process = cluster.processes[number]
    disks[number].freeze(True)
    begin = time.monotonic()
    load.wait_acknowledged(200, 60)
    print(f"  200 writes {time.monotonic() - begin:.1f} s after the disk of node {number} hung")
    # What the kernel does for the frozen file system ends with the thaw, and only then can the process be gone.
    wait(lambda: "timed out" in rig.log_of(cluster, number), 20, f"node {number} to give up")
    disks[number].freeze(False)
    status = process.wait(30)
    assert status == EXIT_STOP, f"node {number} ended with status {status}:\n{cluster.tail(number)}"
    rig.spawn(cluster, number)
    cluster.wait(lambda: cluster.ready(number), 60, f"node {number} to be back")
    load.wait_acknowledged(100, 60)
    load.stop()
    cluster.wait(cluster.settled, 60, "every group to have its voters")
    for node in range(3):
        load.verify(node)
    print(f"hung disk: {load.acknowledged} acknowledged writes right, {load.unknown} of unknown outcome")


def main():
    missing = loopdisk.missing()
    if missing is not None:
        print(f"test_disk_hung: this machine lacks {missing}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="bindery-hung-") as directory:
        cluster = Cluster(directory, base_port=PORT, memory="256MiB")
        with rig.on_disks(cluster, ["ext4"] * 3) as disks:
            run(cluster, disks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
