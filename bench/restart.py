"""How long a cluster is away when all of its nodes are restarted at once, with a million objects. Claims over several
restarts, from the first process's start to every node ready and a PUT and a GET answered: p50 < 5 s, max < 8 s."""
import argparse
import statistics
import time

from harness import Bindery, Workspace, build, machine, machine_text, measure, resident_mib, save, wait

P50_MAX_S, MAX_S = 5.0, 8.0


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run restart", description=__doc__)
    parser.add_argument("--objects", type=int, default=1000000)
    parser.add_argument("--bytes", type=int, default=256)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--kill", action="store_true", help="SIGKILL instead of SIGTERM")
    parser.add_argument("--dir", help="where the data goes (default: the temporary directory)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    return parser.parse_args(arguments)


def fill(chosen, bindery):
    return measure(bindery, bindery.load("fill", 256, 0, 0, chosen.objects, chosen.bytes, 0))


def serves(bindery):
    """A PUT and a GET of one object through each node."""
    try:
        for op in ("fill", "get"):
            measure(bindery, bindery.load(op, 3, 0.05, 0, 3, 256, 0))
    except (RuntimeError, OSError):
        return False
    return True


def restart(chosen, bindery):
    cluster = bindery.cluster
    if chosen.kill:
        for node in cluster.info["nodes"]:
            cluster.signal(node["id"], 9)
        for node in cluster.info["nodes"]:
            cluster.wait_gone(node["id"])
        stopped = 0.0
    else:
        begun = time.monotonic()
        cluster.stop()
        stopped = time.monotonic() - begun
    begun = time.monotonic()
    for node in cluster.info["nodes"]:
        cluster.spawn(node["id"])
    cluster.save()  # stop() reads it back
    for node in cluster.info["nodes"]:
        cluster.wait(lambda number=node["id"]: cluster.ready(number), 120, f"node {node['id']} to be ready")
    ready = time.monotonic() - begun
    wait(lambda: serves(bindery), 60, "a PUT and a GET")
    return {"stop_s": stopped, "ready_s": ready, "serves_s": time.monotonic() - begun}


def main(arguments):
    chosen = options(arguments)
    build("bench_s3_load")
    with Workspace(chosen.dir) as directory:
        facts = machine(directory)
        bindery = Bindery(directory)
        try:
            bindery.start()
            filled = fill(chosen, bindery)
            print(f"{chosen.objects} objects in {filled['wall_s']:.0f} s", flush=True)
            runs = []
            for number in range(chosen.restarts):
                runs.append(restart(chosen, bindery))
                print(f"{number + 1}: stopped in {runs[-1]['stop_s']:.1f} s, ready after {runs[-1]['ready_s']:.1f} s, serves after "
                      f"{runs[-1]['serves_s']:.1f} s", flush=True)
            resident = [resident_mib(pid) for pid in bindery.pids()]
        finally:
            bindery.stop()
    times = sorted(run["serves_s"] for run in runs)
    p50, worst = statistics.median(times), times[-1]
    how = "SIGKILL" if chosen.kill else "SIGTERM"
    text = (f"# restart\n\n{machine_text(facts)}\n\n{chosen.objects:,} objects of {chosen.bytes} bytes in three nodes (put at "
            f"{filled['wall_s'] and chosen.objects / filled['wall_s']:,.0f} a second); {chosen.restarts} times {how} to all, then all "
            f"started at once on one machine. Time from the first start until every node is ready and has answered a PUT and a GET.\n\n"
            f"- p50 {p50:.1f} s (floor < 5 s): {'met' if p50 < P50_MAX_S else 'MISSED'}\n"
            f"- max {worst:.1f} s (floor < 8 s): {'met' if worst < MAX_S else 'MISSED'}\n\n"
            f"All, in s: {' '.join(f'{seconds:.1f}' for seconds in times)}. Resident afterwards: "
            f"{' / '.join(f'{mib:.0f}' for mib in resident)} MiB.\n")
    print(text)
    if not chosen.no_save:
        save("restart_kill" if chosen.kill else "restart", {"machine": facts, "options": vars(chosen), "runs": runs, "fill": filled}, text)
    return 0
