"""Small objects against etcd: 1 KiB PUT and linearizable GET, closed loops, three nodes each on the same machine and disk,
fsync on, rounds interleaved. Claims: PUT p50 at 1 client no worse than etcd's; PUT and GET at 64 clients three times
etcd's throughput."""
import argparse

from harness import Bindery, Etcd, Workspace, build, machine, machine_text, measure, median, save

FLOORS = {("put", 1): ("p50_us", 1.0), ("put", 64): ("per_s", 3.0), ("get", 64): ("per_s", 3.0)}


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run object_small", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="of each system and load; a multiple of 3 visits all nodes evenly")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 16, 64, 256])
    parser.add_argument("--ops", nargs="*", default=["put", "get"])
    parser.add_argument("--keys", type=int, default=10000)
    parser.add_argument("--bytes", type=int, default=1024)
    parser.add_argument("--few-connections", type=int, default=8,
                        help="etcd is also measured with its clients sharing so many connections (0: not)")
    parser.add_argument("--dir", help="where the data goes (default: the temporary directory)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    return parser.parse_args(arguments)


def systems(bindery, etcd, few, clients):
    found = [("bindery", bindery, {}), ("etcd", etcd, {})]
    if few and clients > few:
        found.append(("etcd, shared connections", etcd, {"conns": few}))
    return found


def run_loads(chosen, bindery, etcd):
    """{(op, clients): {system: [report of each round]}}"""
    results = {}
    for op in chosen.ops:
        for clients in chosen.clients:
            rounds = results.setdefault((op, clients), {})
            for number in range(chosen.rounds):
                order = systems(bindery, etcd, chosen.few_connections, clients)
                for name, system, extra in order if number % 2 == 0 else reversed(order):
                    command = system.load(op, clients, chosen.seconds, chosen.warmup, chosen.keys, chosen.bytes, number,
                                          **extra)
                    rounds.setdefault(name, []).append(measure(system, command))
            print(row(op, clients, rounds), flush=True)
    return results


def best_etcd(rounds, field):
    """etcd's better median: with a connection per client, or with shared ones."""
    medians = [median(reports, field) for name, reports in rounds.items() if name.startswith("etcd")]
    return min(medians) if field == "p50_us" else max(medians)


def row(op, clients, rounds):
    lines = []
    for name, reports in rounds.items():
        spread = sorted(each["per_s"] for each in reports)
        lines.append(f"| {op.upper()} | {clients} | {name} | {median(reports, 'per_s'):,.0f} ({spread[0]:,.0f}-{spread[-1]:,.0f}) "
                     f"| {median(reports, 'p50_us') / 1000:.2f} | {median(reports, 'p99_us') / 1000:.2f} "
                     f"| {median(reports, 'server_cpu_us_per_op'):.0f} | {median(reports, 'server_cores'):.2f} "
                     f"| {median(reports, 'generator_cores'):.2f} |")
    return "\n".join(lines)


def verdicts(results):
    lines = []
    for (op, clients), (field, factor) in FLOORS.items():
        rounds = results.get((op, clients))
        if not rounds:
            continue
        ours, theirs = median(rounds["bindery"], field), best_etcd(rounds, field)
        ratio = ours / theirs if theirs else 0
        met = ratio <= factor if field == "p50_us" else ratio >= factor
        what = "p50" if field == "p50_us" else "throughput"
        wanted = f"<= {factor:.0f}" if field == "p50_us" else f">= {factor:.0f}"
        lines.append(f"- {op.upper()} {what} at {clients} client{'s' if clients > 1 else ''}: {ratio:.2f} of etcd's "
                     f"(floor {wanted}): {'met' if met else 'MISSED'}")
    return "\n".join(lines)


def report(chosen, facts, leaders, results):
    head = ("| op | clients | system | ops/s, median (range) | p50 ms | p99 ms | server CPU us/op | server cores | generator cores |\n"
            "|---|---|---|---|---|---|---|---|---|\n")
    rows = "\n".join(row(op, clients, rounds) for (op, clients), rounds in results.items())
    return (f"# object_small\n\n{machine_text(facts)}\n\n"
            f"{chosen.rounds} interleaved rounds of {chosen.seconds:g} s, {chosen.keys} keys of {chosen.bytes} bytes, three nodes "
            f"each, one connection per client spread over the nodes. Groups led by each Bindery node: {leaders}. Server "
            f"CPU is of all three processes; load generators share the cores with the servers.\n\n{head}{rows}\n\n"
            f"{verdicts(results)}\n")


def main(arguments):
    chosen = options(arguments)
    build("bench_s3_load", go=["etcd_load"])
    with Workspace(chosen.dir) as directory:
        facts = machine(directory)
        bindery, etcd = Bindery(directory), Etcd(directory)
        try:
            bindery.start()
            etcd.start()
            for system in (bindery, etcd):
                measure(system, system.load("fill", 32, 0, 0, chosen.keys, chosen.bytes, 0))
            results = run_loads(chosen, bindery, etcd)
            leaders = bindery.leaders()
        finally:
            bindery.stop()
            etcd.stop()
    text = report(chosen, facts, leaders, results)
    print(text)
    if not chosen.no_save:
        save("object_small", {"machine": facts, "options": vars(chosen), "leaders": leaders, "rounds": [
            {"op": op, "clients": clients, "system": name, "rounds": reports}
            for (op, clients), systems_ in results.items() for name, reports in systems_.items()]}, text)
    return 0
