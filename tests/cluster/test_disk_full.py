#!/usr/bin/python3
"""Full disks: three node processes, each data directory on a small ext4 of its own (loopdisk.py), filled by a file beside it.

One disk nearly full: clients notice nothing, that node leads nothing and says why. All nearly full: every write that
grows is answered 507 InsufficientStorage at once, deletes and reads are served, no node stops. All full: nothing is taken,
reads go on. With room again writes go on by themselves, and in the end everything acknowledged is there."""
import os
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402
import loopdisk  # noqa: E402
from localcluster import EXIT_STOP, Cluster, wait  # noqa: E402
from workload import BUCKET, S3, Load  # noqa: E402

PORT = 19400
LOW, FULL = "nearly full", "full"


class Disks:
    """A cluster's disks, which can be filled."""

    def __init__(self, cluster, disks):
        self.cluster, self.disks = cluster, disks

    def metric(self, number, name):
        status, text = self.cluster.get(number, "/metrics")
        assert status == 200, f"metrics of node {number}: status {status}"
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))

    def leave(self, number, share):
        """Leaves the node's disk as much as this share of its reserve."""
        disk = self.disks[number]
        with open(os.path.join(disk.path, "ballast"), "ab") as file:
            bytes_off = disk.free() - int(self.metric(number, "bindery_disk_reserve_bytes") * share)
            assert bytes_off > 0, f"node {number} has too little to begin with: {disk.free() >> 20} MiB free"
            os.posix_fallocate(file.fileno(), file.tell(), bytes_off)

    def fill(self, number):
        """Leaves nothing."""
        disk = self.disks[number]
        with open(os.path.join(disk.path, "ballast"), "ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), disk.free())

    def empty(self, number):
        os.unlink(os.path.join(self.disks[number].path, "ballast"))

    def told(self, number):
        """What node `number` says of its own disk to an operator."""
        status, answer = self.cluster.get(number, "/bindery/v1/status")
        assert status == 200, f"status of node {number}: {status}"
        return next(node["disk"] for node in answer["result"]["nodes"] if node["id"] == number)

    def wait_told(self, numbers, what):
        for number in numbers:
            self.cluster.wait(lambda n=number: self.told(n) == what, 10, f"node {number} to call its disk {what}")

    def leads(self, number):
        groups = self.cluster.get(number, "/bindery/v1/status")[1]["result"]["groups"]
        return sum(group["leader"] == number for group in groups)


def put(s3, name, size):
    status, body, _ = s3.call("PUT", f"/{BUCKET}/{name}", body=b"x" * size)
    return status, body


def check_one(disks, load):
    """The load must not notice: no error at all while one disk is nearly full."""
    before = dict(load.by_status)
    disks.leave(2, 0.9)
    disks.wait_told([2], LOW)
    disks.cluster.wait(lambda: disks.leads(2) == 0, 20, "node 2 to lead nothing")
    load.wait_acknowledged(300, 60)
    errors = {status: count - before.get(status, 0) for status, count in load.by_status.items()
              if not 200 <= status < 300 and count > before.get(status, 0)}
    assert not errors, f"with one disk nearly full clients saw {errors}"
    assert "nearly full" in disks.cluster.get(2, "/readyz?verbose")[1]
    assert disks.metric(2, "bindery_disk_full") == 1


def refusal(s3, name, size):
    begin = time.monotonic()
    status, body = put(s3, name, size)
    assert status == 507 and b"<Code>InsufficientStorage</Code>" in body, f"{size} bytes: {status} {body[:300]}"
    return time.monotonic() - begin


def check_all_low(disks, s3):
    for number in (1, 3):
        disks.leave(number, 0.9)
    disks.wait_told([1, 2, 3], LOW)
    wait(lambda: put(s3, "probe", 10)[0] == 507, 10, "writes to be refused")
    slowest = max(refusal(s3, f"refused{size}", size) for size in (0, 100, 60_000, 300_000, 3_000_000) for _ in range(3))
    assert slowest < 5, f"a refusal took {slowest:.1f} s"
    assert s3.call("POST", f"/{BUCKET}/refused", {"uploads": ""})[0] == 507
    for size in (0, 100, 300_000):
        assert s3.call("GET", f"/{BUCKET}/refused{size}")[0] == 404
    assert s3.call("DELETE", f"/{BUCKET}/keep0")[0] == 204
    assert s3.call("GET", f"/{BUCKET}/keep0")[0] == 404
    assert s3.call("GET", f"/{BUCKET}/keep1")[1] == b"x" * 300_000


def check_all_full(disks, s3):
    """Nothing is taken; a node can be restarted while it has the room to open its state, and else says what it needs."""
    for number in (1, 2, 3):
        disks.leave(number, 0.4)
    disks.wait_told([1, 2, 3], FULL)
    wait(lambda: s3.call("DELETE", f"/{BUCKET}/keep1")[0] == 507, 10, "deletes to be refused")
    assert s3.call("GET", f"/{BUCKET}/keep1")[1] == b"x" * 300_000
    assert disks.metric(1, "bindery_disk_full") == 2
    cluster = disks.cluster
    for fill in (False, True):
        rig.kill(cluster, 3)
        if fill:
            disks.fill(3)
        rig.spawn(cluster, 3)
        if not fill:
            cluster.wait(lambda: cluster.ready(3), 60, "node 3 to start again on its full disk")
    status = cluster.processes[3].wait(30)
    assert status == EXIT_STOP and "MiB free, a node needs 96 MiB to start" in cluster.tail(3), \
        f"node 3 without any room: status {status}"
    disks.fill(1)
    disks.fill(2)
    assert s3.call("GET", f"/{BUCKET}/keep1")[1] == b"x" * 300_000


def check_room_again(disks, s3):
    for number in (1, 2, 3):
        disks.empty(number)
    disks.cluster.wait(lambda: disks.cluster.ready(3), 60, "node 3 to be back")
    disks.wait_told([1, 2, 3], "ok")
    wait(lambda: put(s3, "probe", 300_000)[0] == 200, 20, "writes to go on")
    assert s3.call("DELETE", f"/{BUCKET}/keep1")[0] == 204


def run(directory):
    cluster = Cluster(directory, base_port=PORT, memory="256MiB")
    with rig.on_disks(cluster, ["ext4"] * 3) as each:
        disks = Disks(cluster, each)
        cluster.start()
        s3 = S3(cluster, 0)
        assert s3.call("PUT", f"/{BUCKET}")[0] == 200
        load = Load(cluster, 1, threads=4, parts=False)
        load.start()
        load.wait_acknowledged(100, 60)
        check_one(disks, load)
        load.stop()
        load.verify(1)
        for number in (0, 1):
            assert put(s3, f"keep{number}", 300_000)[0] == 200
        check_all_low(disks, s3)
        check_all_full(disks, s3)
        check_room_again(disks, s3)
        for name in ("probe", "keep0", "keep1"):
            s3.call("DELETE", f"/{BUCKET}/{name}")
        load.salt += 1
        load.start()
        load.wait_acknowledged(100, 60)
        load.stop()
        for node in range(3):
            load.verify(node)
        assert all(process.poll() is None for process in cluster.processes.values()), "a node stopped"
    print(f"full disks: {load.acknowledged} acknowledged writes right, {load.unknown} of unknown outcome")


def main():
    missing = loopdisk.missing()
    if missing is not None:
        print(f"test_disk_full: this machine lacks {missing}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="bindery-full-") as directory:
        run(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
