#!/usr/bin/python3
"""Real power loss under load: three node processes, each data directory on an ext4 or XFS of its own (loopdisk.py), S3
clients writing small objects, large bodies and multipart uploads (workload.py).

A round: one node's file system is cut and the cluster goes on without it; it comes back; then all file systems (or a
majority) are cut at once. A cut node is killed at the same moment; one alone may be left to notice instead: it must stop
with status 75. Its file system is mounted again, its journal must read clean, and it starts. In the end every acknowledged write is
there byte for byte, every other one whole or absent, and the list says the same."""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402
import loopdisk  # noqa: E402
from localcluster import EXIT_STOP, Cluster  # noqa: E402
from workload import BUCKET, S3, Load  # noqa: E402

PORT = 19500
SYSTEMS = {"ext4": ["ext4"] * 3, "xfs": ["xfs"] * 3, "both": ["ext4", "ext4", "xfs"]}


class Powered:
    """A cluster whose nodes' power can be cut."""

    def __init__(self, cluster, disks):
        self.cluster, self.disks, self.cuts = cluster, disks, 0

    def bring_up(self, numbers):
        for number in numbers:
            rig.spawn(self.cluster, number)
        for number in self.disks:
            self.cluster.wait(lambda n=number: self.cluster.ready(n), 60, f"node {number} to be ready")

    def cut(self, numbers, noticing=()):
        """Cuts at once; the nodes of `noticing` end by themselves, the others are killed at the same moment."""
        processes = {number: self.cluster.processes[number] for number in numbers}
        for number in numbers:
            self.disks[number].cut_power()
        for number in set(numbers) - set(noticing):
            os.kill(processes[number].pid, signal.SIGKILL)
        self.cuts += len(numbers)
        for number, process in processes.items():
            try:
                status = process.wait(30)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"node {number} did not notice within 30 s that its disk is gone:\n"
                                     + self.cluster.tail(number)) from None
            # One that was to be killed may have noticed first.
            assert status == EXIT_STOP or (status == -signal.SIGKILL and number not in noticing), \
                f"node {number} ended with status {status} over its disk:\n{self.cluster.tail(number)}"

    def restore(self, numbers):
        for number in numbers:
            self.disks[number].restore_power()
            journal = os.path.join(self.cluster.node(number)["data"], "journal")
            rig.bindery(self.cluster, "inspect", "journal", journal)
        self.bring_up(numbers)


def run_round(powered, load, chance):
    numbers = list(powered.disks)
    load.salt += 1
    load.start()
    load.wait_acknowledged(chance.randrange(100, 250), 60)
    one = [chance.choice(numbers)]
    powered.cut(one, one if chance.random() < 0.5 else [])
    load.wait_acknowledged(100, 60)
    powered.restore(one)
    load.wait_acknowledged(chance.randrange(50, 150), 60)
    many = chance.sample(numbers, chance.choice([3, 3, 3, 2]))
    powered.cut(many)
    load.stopping = True
    powered.restore(many)
    load.stop()
    powered.cluster.wait(powered.cluster.settled, 60, "every group to have its voters")
    return [load.verify(node) for node in range(len(numbers))][-1]


def run(options, directory):
    begin = time.monotonic()
    cluster = Cluster(directory, base_port=PORT, memory="256MiB")
    with rig.on_disks(cluster, SYSTEMS[options.fs]) as disks:
        powered = Powered(cluster, disks)
        cluster.start()
        load = Load(cluster, options.seed)
        s3 = S3(cluster, 0)
        status = s3.call("PUT", f"/{BUCKET}")[0]
        assert status == 200, f"making the bucket: status {status}"
        for number in range(options.seed, options.seed + options.rounds):
            present = run_round(powered, load, random.Random(number))
            print(f"  round {number}: {present} objects right, writes by status {load.by_status}, "
                  f"{time.monotonic() - begin:.0f} s", flush=True)
    print(f"power loss: {options.rounds} rounds, {powered.cuts} cuts, {load.acknowledged} acknowledged writes, "
          f"{load.unknown} of unknown outcome, {load.refused} refused: nothing lost, nothing wrong")


def keep_logs(directory, target):
    os.makedirs(target, exist_ok=True)
    for name in os.listdir(directory):
        if name.endswith(".log"):
            shutil.copy(os.path.join(directory, name), target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next ones follow")
    parser.add_argument("--fs", choices=sorted(SYSTEMS), default="both")
    parser.add_argument("--keep", metavar="DIR", help="where the nodes' logs go if it fails")
    options = parser.parse_args()
    missing = loopdisk.missing()
    if missing is not None:
        print(f"test_power_loss: this machine lacks {missing}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="bindery-power-") as directory:
        try:
            run(options, directory)
        except BaseException:
            if options.keep:
                keep_logs(directory, options.keep)
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
