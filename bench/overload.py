"""Ten times what the cluster can do, offered whatever it answers: how much memory the nodes take, what clients are told,
and whether the groups keep their leaders. The saturated rate is what 64 closed-loop clients reach just before."""
import argparse
import json
import os
import subprocess
import threading
import time

import boto3
import botocore.config
from harness import BUILD, Bindery, Workspace, build, machine, resident_mib, save

OPEN_LOOP = os.path.join(BUILD, "bench", "bench_open_loop")
KEYS = 300


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run overload", description=__doc__)
    parser.add_argument("--memory", type=int, default=256, help="the nodes' memory setting, in MiB")
    parser.add_argument("--bytes", type=int, nargs="+", default=[1024, 262144], help="body sizes, one round each")
    parser.add_argument("--factor", type=float, default=10, help="of the saturated rate")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--connections", type=int, default=12000, help="the most that clients open")
    parser.add_argument("--mixed", action="store_true", help="as many GETs as PUTs")
    parser.add_argument("--dir", default=None, help="where the nodes keep their data")
    parser.add_argument("--no-save", action="store_true")
    return parser.parse_args(arguments)


def write_targets(bindery, path, mixed):
    """Presigned requests, the same numbers for each node: the generator need not sign."""
    s3, calls = bindery.cluster.info["s3"], [("PUT", "put_object")] + ([("GET", "get_object")] if mixed else [])
    config = botocore.config.Config(s3={"addressing_style": "path"})
    with open(path, "w", encoding="ascii") as file:
        for node in bindery.cluster.info["nodes"]:
            host = node["s3"].removeprefix("http://")
            client = boto3.client("s3", endpoint_url=node["s3"], region_name="auto", config=config,
                                  aws_access_key_id=s3["access_key_id"], aws_secret_access_key=s3["secret_access_key"])
            for number in range(KEYS):
                for method, call in calls:
                    url = client.generate_presigned_url(call, Params={"Bucket": bindery.bucket, "Key": f"k{number}"},
                                                        ExpiresIn=3600)
                    file.write(f"{host} {method} {url.removeprefix(node['s3'])}\n")


class Memory(threading.Thread):
    """The most that each node had resident."""

    def __init__(self, pids):
        super().__init__()
        self.pids, self.over = pids, threading.Event()
        self.peak = [0.0] * len(pids)

    def run(self):
        while not self.over.wait(0.25):
            self.peak = [max(peak, resident_mib(pid)) for peak, pid in zip(self.peak, self.pids)]


def offer(bindery, targets, rate, seconds, connections, size):
    command = [OPEN_LOOP, "--targets", targets, "--rate", str(rate), "--seconds", str(seconds), "--connections",
               str(connections), "--bytes", str(size)]
    for node in bindery.cluster.info["nodes"]:
        command += ["--endpoint", node["s3"].removeprefix("http://")]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def elections(bindery):
    total = 0
    for node in bindery.cluster.info["nodes"]:
        _, text = bindery.cluster.get(node["id"], "/metrics")
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("bindery_raft_elections_total "))
    return total


def one_round(chosen, bindery, targets, size):
    closed = offer(bindery, targets, 1e6, 4, 64, size)
    rate = closed["statuses"].get("200", 0) / 4
    before = elections(bindery)
    memory = Memory(bindery.pids())
    memory.start()
    try:
        report = offer(bindery, targets, chosen.factor * rate, chosen.seconds, chosen.connections, size)
    finally:
        memory.over.set()
        memory.join()
    time.sleep(3)
    report.update(bytes=size, saturated_per_s=rate, peak_mib=[round(peak) for peak in memory.peak],
                  after_mib=[round(resident_mib(pid)) for pid in bindery.pids()], elections=elections(bindery) - before)
    return report


def describe(chosen, facts, rounds):
    lines = ["# overload", "",
             f"{facts['cores']} cores {facts['cpu']}; load average before {facts['load_average'][0]:.1f}; commit "
             f"{facts['commit']}, {facts['date']}.", "",
             f"Three nodes, memory = {chosen.memory} MiB, {chosen.factor:g} times the saturated rate for {chosen.seconds:g} s, "
             f"at most {chosen.connections} connections. Bound: {chosen.memory * 1.2:.0f} MiB.", "",
             "| body | saturated/s | sent | 200 | 503 | other | connections lost | peak MiB | after MiB | elections |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for each in rounds:
        statuses = each["statuses"]
        other = sum(count for status, count in statuses.items() if status not in ("200", "503"))
        lines.append(f"| {each['bytes']} | {each['saturated_per_s']:,.0f} | {each['sent']:,} | {statuses.get('200', 0):,} | "
                     f"{statuses.get('503', 0):,} | {other:,} | {each['lost']:,} | {each['peak_mib']} | {each['after_mib']} | "
                     f"{each['elections']} |")
    met = all(max(each["peak_mib"]) <= chosen.memory * 1.2 for each in rounds)
    return "\n".join(lines + ["", f"- resident memory within the setting + 20 %: {'met' if met else 'MISSED'}", ""])


def main(arguments):
    chosen = options(arguments)
    build("bench_open_loop")
    with Workspace(chosen.dir) as directory:
        facts = machine(directory)
        bindery = Bindery(directory, bucket="load", memory=f"{chosen.memory}MiB")
        targets = os.path.join(directory, "targets")
        try:
            bindery.start()
            write_targets(bindery, targets, chosen.mixed)
            rounds = [one_round(chosen, bindery, targets, size) for size in chosen.bytes]
        finally:
            bindery.stop()
    text = describe(chosen, facts, rounds)
    print(text)
    if not chosen.no_save:
        save("overload", {"machine": facts, "options": vars(chosen), "rounds": rounds}, text)
    return 0
