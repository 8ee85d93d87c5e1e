"""Durable Objects: increments through two released workerds whose cluster mode keeps its bucket on Bindery (three nodes, a
gateway beside each workerd), against the same workerds without cluster mode and over a bucket in the memory of one process
that answers at once or 0.3 ms late. Claims: p50 at 1 client on one object no worse than over the bucket with 0.3 ms; no
client sees an error while a Bindery leader is killed."""
import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

from harness import BUILD, ROOT, Bindery, Workspace, build, cpu_seconds, machine, machine_text, median, save, wait, with_children

sys.path.insert(0, os.path.join(ROOT, "tests", "clients"))
from workerds import CONFIG, HERE as CLIENTS, WORKERD, Workerds, install  # noqa: E402

LOADS = [(1, 1), (32, 32)]  # objects, clients
MEMORY_BUCKETS = [("bucket in memory", "0s"), ("bucket in memory, 0.3 ms", "300us")]


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run durable_objects", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--dir", help="where the data goes (default: the temporary directory)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    return parser.parse_args(arguments)


class Pair:
    """Two workerds. endpoint: of their bucket; None: without cluster mode."""

    def __init__(self, name, directory, port, endpoint):
        self.name, self.dir, self.port, self.endpoint, self.processes, self.beside = name, directory, port, endpoint, [], []

    def config(self, number, home):
        text = CONFIG.format(disk=os.path.join(home, "disk"), http=self.port + number, peers=self.port + 5 + number, bucket="memory",
                             endpoint=self.endpoint, access_key="x", secret_key="x", key="bench-key-" * 5)
        return text if self.endpoint else text[:text.index("  cluster = (")] + ");\n"

    def start(self):
        for number in (0, 1):
            home = os.path.join(self.dir, f"{self.port + number}")
            os.makedirs(os.path.join(home, "disk"))
            with open(os.path.join(CLIENTS, "demo", "worker.js"), encoding="utf-8") as source, \
                    open(os.path.join(home, "worker.js"), "w", encoding="utf-8") as copy:
                copy.write(source.read())
            with open(os.path.join(home, "config.capnp"), "w", encoding="utf-8") as file:
                file.write(self.config(number, home))
            with open(os.path.join(home, "log"), "ab") as log:
                self.processes.append(subprocess.Popen([WORKERD, "serve", "--experimental", os.path.join(home, "config.capnp")],
                                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))
        wait(lambda: all(answers(url) for url in self.urls()), 60, f"workerds of '{self.name}' to answer")

    def urls(self):
        return [f"http://127.0.0.1:{self.port + number}" for number in (0, 1)]

    def pids(self):
        return [pid for process in self.processes for pid in with_children(process.pid)]

    def stop(self):
        for process in [*self.processes, *self.beside]:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


class OnBindery(Workerds):
    name = "Bindery"

    def start_all(self):
        for number in (0, 1):
            self.start(number)
        wait(lambda: all(answers(url) for url in self.urls()), 60, "workerds over Bindery to answer")

    def urls(self):
        return [self.url(number) for number in (0, 1)]

    def pids(self):
        return [pid for process in self.processes for pid in with_children(process.pid)]


def answers(url):
    try:
        with urllib.request.urlopen(url + "/warm-up", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def make_bucket(bindery):
    from s3clients import boto
    client = boto(bindery.cluster, 0)
    Workerds.make_bucket(None, client)


def load(pair, objects, clients, seconds, name):
    command = [os.path.join(BUILD, "bench", "do_load"), "-urls", ",".join(pair.urls()), "-objects", str(objects), "-clients",
               str(clients), "-seconds", str(seconds), "-name", name]
    before, begun = cpu_seconds(pair.pids()), time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"do_load: {done.stderr}")
    report = json.loads(done.stdout)
    report["workerd_cores"] = (cpu_seconds(pair.pids()) - before) / (time.monotonic() - begun)
    report["said"] = done.stderr[-300:]
    return report


def kill_a_leader(bindery, pair):
    """Errors that 8 clients saw while the node that leads most groups was killed and came back."""
    reports = []
    thread = threading.Thread(target=lambda: reports.append(load(pair, 8, 8, 12, "kill")))
    thread.start()
    time.sleep(4)
    leaders = bindery.leaders()
    bindery.cluster.signal(max(leaders, key=leaders.get), 9)
    time.sleep(4)
    bindery.cluster.start()
    thread.join()
    return reports[0]


def run_rounds(chosen, pairs):
    results = {}
    for objects, clients in LOADS:
        for number in range(chosen.rounds):
            for pair in pairs if number % 2 == 0 else reversed(pairs):
                report = load(pair, objects, clients, chosen.seconds, f"r{objects}-{number}-")
                if report["errors"]:
                    raise RuntimeError(f"{pair.name}: {report['errors']} errors: {report['said']}")
                results.setdefault((objects, clients), {}).setdefault(pair.name, []).append(report)
    return results


def report_text(chosen, facts, results, killed):
    rows = [f"| {objects} | {clients} | {name} | {median(reports, 'per_s'):,.0f} | {median(reports, 'p50_us') / 1000:.2f} | "
            f"{median(reports, 'p99_us') / 1000:.2f} | {median(reports, 'workerd_cores'):.2f} |"
            for (objects, clients), systems in results.items() for name, reports in systems.items()]
    ours, theirs = (median(results[(1, 1)][name], "p50_us") for name in ("Bindery", "bucket in memory, 0.3 ms"))
    return (f"# durable_objects\n\n{machine_text(facts)}\n\n{chosen.rounds} interleaved rounds of {chosen.seconds:g} s. An increment is a get, a put and an "
            f"SQL insert of a new row. All systems run at once, one loaded at a time.\n\n"
            f"| objects | clients | bucket | increments/s | p50 ms | p99 ms | cores of the two workerds |\n|---|---|---|---|---|---|---|\n"
            + "\n".join(rows) + f"\n\n- p50 at 1 client on one object: {ours / 1000:.2f} ms, over the bucket with 0.3 ms {theirs / 1000:.2f} ms "
            f"(floor: no worse): {'met' if ours <= theirs else 'MISSED'}\n"
            f"- 8 clients while the node that leads most groups is killed: {killed['errors']} errors in {killed['ops'] + killed['errors']} "
            f"increments, the slowest {killed['max_us'] / 1e6:.2f} s (floor: no error): {'MISSED' if killed['errors'] else 'met'}\n"
            + (f"\nThe last error: {killed['said']}\n" if killed["errors"] else ""))


def main(arguments):
    chosen = options(arguments)
    build(go=["s3_memory", "do_load"])
    install()
    with Workspace(chosen.dir) as directory:
        facts = machine(directory)
        bindery = Bindery(directory)
        pairs = []
        try:
            bindery.start()
            make_bucket(bindery)
            ours = OnBindery(bindery.cluster, directory)
            pairs.append(ours)
            ours.start_all()
            pairs.append(Pair("no cluster mode", directory, 18200, None))
            for number, (name, delay) in enumerate(MEMORY_BUCKETS):
                address = f"127.0.0.1:{18290 + number}"
                pairs.append(Pair(name, directory, 18210 + 10 * number, f"http://{address}"))
                pairs[-1].beside.append(subprocess.Popen([os.path.join(BUILD, "bench", "s3_memory"), "-listen", address, "-delay", delay],
                                                         start_new_session=True))
            for pair in pairs[1:]:
                pair.start()
            results = run_rounds(chosen, pairs)
            killed = kill_a_leader(bindery, ours)
        finally:
            for pair in pairs:
                pair.stop()
            bindery.stop()
    text = report_text(chosen, facts, results, killed)
    print(text)
    if not chosen.no_save:
        save("durable_objects", {"machine": facts, "options": vars(chosen), "killed": killed, "rounds": [
            {"objects": objects, "clients": clients, "system": name, "rounds": reports}
            for (objects, clients), systems in results.items() for name, reports in systems.items()]}, text)
    return 0
