"""Two builds of the program against each other: the same loads in turns, so that what else the machine does hits both.
For changes that claim to be faster: build the old program, keep its binary, and name it with --before."""
import argparse
import statistics

from harness import BINARY, Bindery, Workspace, build, measure, median

FIELDS = [("per_s", "ops/s"), ("p50_us", "p50 us"), ("server_cpu_us_per_op", "server CPU us/op")]


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run compare", description=__doc__)
    parser.add_argument("--before", required=True, help="the other binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--loads", nargs="*", default=["put:1", "put:64", "get:64"], help="op:clients")
    parser.add_argument("--keys", type=int, default=10000)
    parser.add_argument("--bytes", type=int, default=1024)
    parser.add_argument("--dir", help="where the data goes (default: the temporary directory)")
    return parser.parse_args(arguments)


def compare(chosen, before, after, op, clients):
    rounds = {"before": [], "after": []}
    pairs = [("before", before), ("after", after)]
    for number in range(chosen.rounds):
        for name, system in pairs if number % 2 == 0 else reversed(pairs):
            command = system.load(op, clients, chosen.seconds, 1, chosen.keys, chosen.bytes, number)
            rounds[name].append(measure(system, command))
    for field, title in FIELDS:
        ratio = statistics.median(b[field] / a[field] for a, b in zip(rounds["before"], rounds["after"]))
        print(f"{op.upper()} {clients:4d} clients  {title:18s} {median(rounds['before'], field):10,.1f} -> "
              f"{median(rounds['after'], field):10,.1f}   median of paired ratios {ratio:.2f}", flush=True)


def main(arguments):
    chosen = options(arguments)
    build("bench_s3_load")
    with Workspace(chosen.dir) as directory:
        before = Bindery(directory, base_port=17960, binary=chosen.before)
        after = Bindery(directory, base_port=17970, binary=BINARY)
        try:
            for system in (before, after):
                system.start()
                measure(system, system.load("fill", 32, 0, 0, chosen.keys, chosen.bytes, 0))
            for load in chosen.loads:
                op, clients = load.split(":")
                compare(chosen, before, after, op, int(clients))
        finally:
            before.stop()
            after.stop()
    return 0
