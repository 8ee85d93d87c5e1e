"""What a cluster of three nodes costs while nobody uses it, with `memory = 128 MiB`. Claims: less than 3 % of one core in
sum, less than 150 MiB resident per node; also after it has served a load."""
import argparse
import time

from harness import Bindery, Workspace, build, cpu_seconds, machine, machine_text, measure, resident_mib, save

CORE_SHARE_MAX, RESIDENT_MIB_MAX = 0.03, 150


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="watched, each time")
    parser.add_argument("--settle", type=float, default=10, help="before each watch")
    parser.add_argument("--keys", type=int, default=20000, help="objects put in between")
    parser.add_argument("--bytes", type=int, default=1024)
    parser.add_argument("--dir", help="where the data goes (default: the temporary directory)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    return parser.parse_args(arguments)


def watch(chosen, bindery, when):
    time.sleep(chosen.settle)
    before, begun = cpu_seconds(bindery.pids()), time.monotonic()
    time.sleep(chosen.seconds)
    cores = (cpu_seconds(bindery.pids()) - before) / (time.monotonic() - begun)
    return {"when": when, "cores": cores, "resident_mib": [resident_mib(pid) for pid in bindery.pids()]}


def main(arguments):
    chosen = options(arguments)
    build("bench_s3_load")
    with Workspace(chosen.dir) as directory:
        facts = machine(directory)
        bindery = Bindery(directory, memory="128MiB")
        try:
            bindery.start()
            watched = [watch(chosen, bindery, "new cluster")]
            measure(bindery, bindery.load("fill", 64, 0, 0, chosen.keys, chosen.bytes, 0))
            watched.append(watch(chosen, bindery, f"after {chosen.keys} PUTs"))
            measure(bindery, bindery.load("get", 64, 5, 0, chosen.keys, chosen.bytes, 0))
            watched.append(watch(chosen, bindery, "after 5 s of GETs"))
        finally:
            bindery.stop()
    rows = "\n".join(f"| {each['when']} | {100 * each['cores']:.1f} | {' / '.join(f'{mib:.0f}' for mib in each['resident_mib'])} |"
                     for each in watched)
    cores, resident = max(each["cores"] for each in watched), max(max(each["resident_mib"]) for each in watched)
    text = (f"# idle\n\n{machine_text(facts)}\n\nThree nodes, 65 groups, `memory = 128 MiB`, each watched for {chosen.seconds:g} s.\n\n"
            f"| | CPU of the three, % of one core | resident MiB of each |\n|---|---|---|\n{rows}\n\n"
            f"- CPU: {100 * cores:.1f} % (floor < 3 %): {'met' if cores < CORE_SHARE_MAX else 'MISSED'}\n"
            f"- resident: {resident:.0f} MiB (floor < 150 MiB): {'met' if resident < RESIDENT_MIB_MAX else 'MISSED'}\n")
    print(text)
    if not chosen.no_save:
        save("idle", {"machine": facts, "options": vars(chosen), "watched": watched}, text)
    return 0
