"""Two builds of the program against each other: the same loads in turns, so that what else the machine does hits both.
For changes that claim to be faster: build the old program, keep its binary, and name it with --before."""
import argparse
import statistics

import d1
from harness import BINARY, Bindery, Workspace, build, measure, median, settle

FIELDS = [("per_s", "ops/s"), ("p50_us", "p50 us"), ("server_cpu_us_per_op", "server CPU us/op")]


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run compare", description=__doc__)
    parser.add_argument("--before", required=True, help="the other binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--loads", nargs="*", default=["put:1", "put:64", "get:64"],
                        help="op:clients of objects, or d1-OP[-many]:clients (bench/run d1)")
    parser.add_argument("--keys", type=int, default=10000)
    parser.add_argument("--bytes", type=int, default=1024)
    parser.add_argument("--megabytes", type=int, default=10, help="D1: of the table in the one database")
    parser.add_argument("--memory", help="of each node; default: 1GiB, D1: the program's")
    parser.add_argument("--dir", help="where the data goes (default: the temporary directory)")
    parser.set_defaults(databases=64)
    chosen = parser.parse_args(arguments)
    if len({is_d1(load) for load in chosen.loads}) > 1:
        parser.error("loads of objects and of D1 in one run")
    return chosen


def is_d1(load):
    return load.startswith("d1-")


def d1_command(chosen, system, op, clients, number):
    name, many = op.removeprefix("d1-").removesuffix("-many"), op.endswith("-many")
    return [*system.words(many), "--op", name, "--clients", str(clients), "--seconds", str(chosen.seconds), "--warmup", "1",
            "--first", str(number)]


def make(chosen, directory, **more):
    if is_d1(chosen.loads[0]):
        return d1.Bindery(directory, chosen, chosen.memory, **more)
    return Bindery(directory, memory=chosen.memory or "1GiB", **more)


def load_command(chosen, system, op, clients, number):
    if is_d1(op):
        return d1_command(chosen, system, op, clients, number)
    return system.load(op, clients, chosen.seconds, 1, chosen.keys, chosen.bytes, number)


def fill(chosen, system):
    if not is_d1(chosen.loads[0]):
        measure(system, system.load("fill", 32, 0, 0, chosen.keys, chosen.bytes, 0))
        return
    for many in (False, True):
        if any(load.split(":")[0].endswith("-many") == many for load in chosen.loads):
            measure(system, [*system.words(many), "--op", "fill", "--clients", "8"])


def compare(chosen, before, after, op, clients):
    rounds = {"before": [], "after": []}
    pairs = [("before", before), ("after", after)]
    for number in range(chosen.rounds):
        for name, system in pairs if number % 2 == 0 else reversed(pairs):
            rounds[name].append(measure(system, load_command(chosen, system, op, clients, number)))
    for field, title in FIELDS:
        ratio = statistics.median(b[field] / a[field] for a, b in zip(rounds["before"], rounds["after"]))
        print(f"{op.upper()} {clients:4d} clients  {title:18s} {median(rounds['before'], field):10,.1f} -> "
              f"{median(rounds['after'], field):10,.1f}   median of paired ratios {ratio:.2f}", flush=True)


def main(arguments):
    chosen = options(arguments)
    build("bench_s3_load", "bench_d1_load")
    with Workspace(chosen.dir) as directory:
        before, after = (make(chosen, directory, base_port=port, binary=binary)
                         for port, binary in ((17960, chosen.before), (17970, BINARY)))
        try:
            for system in (before, after):
                system.start()
                fill(chosen, system)
            for system in (before, after):
                settle(system)
            for load in chosen.loads:
                op, clients = load.split(":")
                compare(chosen, before, after, op, int(clients))
        finally:
            before.stop()
            after.stop()
    return 0
