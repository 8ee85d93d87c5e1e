"""D1 through the binding protocol on three nodes, against dqlite 1.11 and rqlite on three nodes each and stock SQLite (WAL) in
one process, on the same disk, rounds interleaved, closed loops. Claims: single-row inserts on one database at 64 clients ten
times dqlite's and ten times rqlite's throughput, at 1 client 1.5 times; at 64 clients over 64 databases five times dqlite's;
point reads over HTTP five times rqlite's at the same read level; three-node inserts at 64 clients no fewer than stock
SQLite's with synchronous=FULL."""
import argparse
import contextlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request

import harness
from harness import BUILD, ROOT, Process, Workspace, build, machine, machine_text, measure, median, resident_mib, save, settle, verdict, wait

LOAD, SQLITE_LOAD, DQLITE_LOAD, DQLITE_NODE = (os.path.join(BUILD, "bench", name) for name in (
    "bench_d1_load", "bench_sqlite_load", "dqlite_load", "dqlite_node"))
ROWS_PER_MB = 9000     # of table t
MANY_ROWS = 1000       # of t in each of many databases
QUICK = {"rounds": 1, "seconds": 0.5, "warmup": 0.2, "megabytes": 2}
RQLITE = "github.com/rqlite/rqlite/v8"
RQLITE_VERSION, RQLITE_SUM = "v8.36.0", "h1:J3Q6aZhZjsTQZm3qTfrcxiPfAAm3Ze2BYKoroodtnXE="
RQLITED = os.path.join(ROOT, "build", "peers", f"rqlited-{RQLITE_VERSION}")

LOADS = {  # name: (op of the generators, on how many databases with how many clients)
    "read": ("read", {"one": [1, 16, 64], "many": [1, 16, 64]}),
    "replica read": ("read", {"one": [64]}),
    "scan": ("scan", {"one": [1, 16]}),
    "sum": ("sum", {"one": [1, 16]}),
    "update": ("update", {"one": [1, 16, 64], "many": [1, 16, 64]}),
    "insert": ("insert", {"one": [1, 16, 64], "many": [1, 16, 64]}),
    "batch": ("batch", {"one": [1, 16]}),
}


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run d1", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="for a try on a busy machine: " + ", ".join(
        f"{name}={value}" for name, value in QUICK.items()) + "; not saved")
    parser.add_argument("--rounds", type=int, default=3, help="of each system and load; a multiple of 3 visits all nodes evenly")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--megabytes", type=int, default=10, help="of the table in the one database (1000: 9 million rows)")
    parser.add_argument("--databases", type=int, default=64, help=f"of 'many'; {MANY_ROWS} rows each")
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), help="of: " + " ".join(SYSTEMS))
    parser.add_argument("--loads", nargs="*", default=list(LOADS), help="of: " + ", ".join(LOADS))
    parser.add_argument("--clients", type=int, nargs="*", help="only these numbers of clients")
    parser.add_argument("--dir", help="where the data goes (default: the temporary directory)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        vars(chosen).update(QUICK, no_save=True)
    for name in chosen.systems:
        if name not in SYSTEMS:
            parser.error(f"there is no system {name}")
    for name in chosen.loads:
        if name not in LOADS:
            parser.error(f"there is no load {name}")
    return chosen


# ---- systems: each has start, stop, pids, ways(load, many) and words(many)
# A way is a label and words for the generator: how the system may be asked. The better one counts.

def size(chosen, many):
    return ["--rows", str(MANY_ROWS if many else chosen.megabytes * ROWS_PER_MB)]


class Bindery(harness.Bindery):
    """Three nodes with the program's default memory, asked over the bindings port as workerd asks."""
    name = "bindery"

    def __init__(self, directory, chosen, memory=None, **more):
        super().__init__(directory, memory=memory, **more)
        self.chosen, self.databases = chosen, []

    def start(self):
        self.cluster.start()
        self.databases = [self.create(f"bench-{number}") for number in range(1 + self.chosen.databases)]
        wait(lambda: self.answers(self.databases[0]), 60, "the first database to answer")

    def path(self, more=""):
        return f"/client/v4/accounts/{self.cluster.info['account_id']}/d1/database{more}"

    def create(self, name):
        status, answer = self.cluster.get(1, self.path(), body={"name": name}, method="POST")
        if status != 200:
            raise RuntimeError(f"no database: {status} {answer}")
        return answer["result"]["uuid"]

    def answers(self, uuid):
        return self.cluster.get(1, self.path(f"/{uuid}/query"), body={"sql": "SELECT 1"}, method="POST")[0] == 200

    def words(self, many):
        words = [LOAD, "--token", self.cluster.info["token"], *size(self.chosen, many)]
        for node in self.cluster.info["nodes"]:
            words += ["--endpoint", node["bindings"].split("://")[1]]
        for uuid in self.databases[1:] if many else self.databases[:1]:
            words += ["--binding", f"d1:{uuid}"]
        return words

    def ways(self, load, _many):
        return [("bindery", ["--session", "first-unconstrained"] if load == "replica read" else [])]


class Dqlite(Process):
    """Three nodes as go-dqlite runs them by default: all vote, writes are on the disks of two before they are answered
    (O_DSYNC), databases in memory. Reads are the leader's own, without asking the others."""
    name, port = "dqlite", 17965

    def __init__(self, directory, chosen):
        super().__init__(directory, "dqlite")
        self.chosen = chosen

    def start(self):
        for number in (1, 2, 3):
            home = os.path.join(self.dir, str(number))
            os.makedirs(home)
            self.run(DQLITE_NODE, "-dir", home, "-address", self.address(number),
                     *(["-join", self.address(1)] if number > 1 else []))
            wait(lambda number=number: self.ready() == number, 60, f"dqlite's node {number}")

    def address(self, number):
        return f"127.0.0.{number}:{self.port}"

    def ready(self):
        self.check_alive()
        with open(os.path.join(self.dir, "log"), encoding="utf-8") as file:
            return file.read().count("ready\n")

    def words(self, many):
        return [DQLITE_LOAD, "--endpoints", ",".join(self.address(number) for number in (1, 2, 3)), *size(self.chosen, many),
                "--name", "many" if many else "one", "--databases", str(self.chosen.databases if many else 1)]

    def ways(self, load, many):
        if load == "replica read":
            return []
        if load == "insert" and not many:
            return [("dqlite, clients take turns", []), ("dqlite, a connection each, busy asks again", ["--turns=false"])]
        return [("dqlite", [])]


class Rqlite(Process):
    """Three nodes with rqlite's defaults: its Raft log (bbolt) is fsynced, its queue of writes is not used. It has one
    database."""
    name, port = "rqlite", 17960

    def __init__(self, directory, chosen):
        super().__init__(directory, "rqlite")
        self.chosen = chosen

    def start(self):
        nodes = [f"127.0.0.{number}" for number in (1, 2, 3)]
        for number, node in enumerate(nodes):
            home = os.path.join(self.dir, str(number + 1))
            os.makedirs(home)
            self.run(RQLITED, "-node-id", str(number + 1), "-http-addr", f"{node}:{self.port}", "-raft-addr",
                     f"{node}:{self.port + 1}", "-bootstrap-expect", "3", "-join",
                     ",".join(f"{each}:{self.port + 1}" for each in nodes), home)
        wait(lambda: self.leader() and len(self.nodes()) == 3, 60, "rqlite's leader")

    def nodes(self):
        """By their name: what node 1 says of each."""
        self.check_alive()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/nodes?timeout=1s", timeout=5) as response:
                return {name: node for name, node in json.load(response).items() if node.get("reachable")}
        except (OSError, urllib.error.URLError):
            return {}

    def leader(self):
        """Its address, host:port."""
        return next((node["api_addr"].removeprefix("http://") for node in self.nodes().values() if node.get("leader")), None)

    def words(self, many):
        return [LOAD, "--rqlite", "linearizable", *size(self.chosen, many)]

    def ways(self, load, many):
        if many:
            return []
        everywhere = [word for number in (1, 2, 3) for word in ("--endpoint", f"127.0.0.{number}:{self.port}")]
        if load == "replica read":
            return [("rqlite, level none", [*everywhere, "--rqlite", "none"])]
        leader = ["--endpoint", self.leader()]
        found = [("rqlite, all nodes asked", everywhere), ("rqlite, its leader asked", leader)]
        if load in ("read", "scan", "sum"):
            found.append(("rqlite, its leader asked, level weak", [*leader, "--rqlite", "weak"]))
        if load in ("batch", "fill"):
            found.append(("rqlite, its leader asked, one statement", [*leader, "--values", "1"]))
        return found


class Sqlite:
    """SQLite itself in one process without a network: the generator."""
    name = "sqlite"

    def __init__(self, directory, chosen):
        self.dir, self.chosen = os.path.join(directory, "sqlite"), chosen

    def start(self):
        for many in ("one", "many"):
            os.makedirs(os.path.join(self.dir, many))

    def stop(self):
        pass

    def pids(self):
        return []

    def words(self, many):
        return [SQLITE_LOAD, *size(self.chosen, many), "--dir", os.path.join(self.dir, "many" if many else "one"),
                "--databases", str(self.chosen.databases if many else 1)]

    def ways(self, load, _many):
        if load == "replica read":
            return []
        if load in ("read", "scan", "sum"):
            return [("SQLite in one process", [])]
        return [("SQLite in one process, FULL", ["--synchronous", "FULL"]),
                ("SQLite in one process, NORMAL", ["--synchronous", "NORMAL"])]


SYSTEMS = {each.name: each for each in (Bindery, Dqlite, Rqlite, Sqlite)}


def build_rqlite():
    """From its module, checked by its sum, into build/peers. With rqlite's own later correction of one line: this version
    takes every linearizable read through the log (fixed in 8.38.3, which the module proxy may not have)."""
    if os.path.exists(RQLITED):
        return
    peers = os.path.dirname(RQLITED)
    os.makedirs(peers, exist_ok=True)
    module = json.loads(harness.command_line(["go", "mod", "download", "-json", f"{RQLITE}@{RQLITE_VERSION}"]) or "{}")
    if module.get("Sum") != RQLITE_SUM:
        raise RuntimeError(f"rqlite {RQLITE_VERSION} is not what is wanted: {module.get('Error') or module.get('Sum')}")
    source = os.path.join(peers, f"rqlite-{RQLITE_VERSION}")
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(module["Dir"], source, copy_function=shutil.copyfile)
    for folder, _, _ in os.walk(source):
        os.chmod(folder, 0o755)
    path = os.path.join(source, "store", "store.go")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    wrong, right = "s.strongReadTerm.Store(af.Index())", "s.strongReadTerm.Store(readTerm)"
    if text.count(wrong) < 1:
        raise RuntimeError(f"{path}: the line to correct is not there")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(wrong, right, 1))
    subprocess.run(["nice", "go", "build", "-o", RQLITED, "./cmd/rqlited"], cwd=source, check=True)


def build_dqlite():
    environment = {**os.environ, "CGO_LDFLAGS_ALLOW": "-Wl,-z,now"}
    for name in ("dqlite_node", "dqlite_load"):
        subprocess.run(["nice", "go", "build", "-o", os.path.join(BUILD, "bench", name), f"./{name}"], cwd=harness.HERE,
                       env=environment, check=True)


def build_peers(chosen):
    if "rqlite" in chosen.systems:
        build_rqlite()
    if "dqlite" in chosen.systems:
        build_dqlite()


# ---- loads

def fill(chosen, systems):
    """{system: seconds to fill the one database, resident MiB of each process afterwards}"""
    facts = {}
    for system in systems:
        for many in (False, True):
            ways = system.ways("fill", many)
            if ways:
                report = measure(system, [*system.words(many), *ways[-1][1], "--op", "fill", "--clients", "8"])
                facts.setdefault(system.name, {"seconds": report["wall_s"]})
        settle(system)
        facts[system.name]["resident_mib"] = [round(resident_mib(pid)) for pid in system.pids()]
        print(f"filled {system.name}: {facts[system.name]}", flush=True)
    return facts


def tell_own_cpu(report):
    """Of a generator that is the system."""
    report["server_cores"], report["generator_cores"] = report["generator_cores"], 0
    report["server_cpu_us_per_op"] = report["cpu_s"] / report["answered"] * 1e6 if report["answered"] else 0


def run_load(chosen, systems, load, where, clients):
    """{way of asking: [report of each round]}"""
    op, many, rounds = LOADS[load][0], where == "many", {}
    ways = [(label, system, [*system.words(many), *words]) for system in systems for label, words in system.ways(load, many)]
    for number in range(chosen.rounds):
        for label, system, words in ways if number % 2 == 0 else reversed(ways):
            command = [*words, "--op", op, "--clients", str(clients), "--seconds", str(chosen.seconds), "--warmup",
                       str(chosen.warmup)]
            if not isinstance(system, Dqlite):  # its clients all go to the leader
                command += ["--first", str(number)]
            report = measure(system, command)
            if isinstance(system, Sqlite):
                tell_own_cpu(report)
            rounds.setdefault(label, []).append(report)
    return {label: rounds[label] for label, _, _ in ways}


def run_loads(chosen, systems):
    """{(load, where, clients): {way: reports}}"""
    results = {}
    for load in chosen.loads:
        for where, numbers in LOADS[load][1].items():
            for clients in numbers:
                if chosen.clients is None or clients in chosen.clients:
                    rounds = run_load(chosen, systems, load, where, clients)
                    results[(load, where, clients)] = rounds
                    print(rows((load, where, clients), rounds), flush=True)
    return results


# ---- the report

def rows(key, rounds):
    load, where, clients = key
    lines = []
    for label, reports in rounds.items():
        spread = sorted(each["per_s"] for each in reports)
        lines.append(f"| {load} | {where} | {clients} | {label} | {median(reports, 'per_s'):,.0f} "
                     f"({spread[0]:,.0f}-{spread[-1]:,.0f}) | {median(reports, 'p50_us') / 1000:.2f} "
                     f"| {median(reports, 'p99_us') / 1000:.2f} | {median(reports, 'server_cpu_us_per_op'):.0f} "
                     f"| {median(reports, 'server_cores'):.2f} | {median(reports, 'generator_cores'):.2f} |")
    return "\n".join(lines)


def best(rounds, begins):
    """The throughput of the better way of asking; None: it was not measured. Weaker read levels do not count."""
    found = [median(reports, "per_s") for label, reports in rounds.items()
             if label.startswith(begins) and "level weak" not in label]
    return max(found) if found else None


FLOORS = [  # load, where, clients, peer, floor
    ("insert", "one", 64, "dqlite", 10), ("insert", "one", 64, "rqlite", 10),
    ("insert", "one", 1, "dqlite", 1.5), ("insert", "one", 1, "rqlite", 1.5),
    ("insert", "many", 64, "dqlite", 5), ("read", "one", 64, "rqlite", 5),
    ("insert", "one", 64, "SQLite in one process, FULL", 1),
]


def verdicts(chosen, results):
    lines = []
    for load, where, clients, peer, floor in FLOORS:
        rounds = results.get((load, where, clients), {})
        ours, theirs = best(rounds, "bindery"), best(rounds, peer)
        if ours is None or not theirs:
            continue
        on = "one database" if where == "one" else f"{chosen.databases} databases"
        level = ", linearizable" if load == "read" else ""
        lines.append(verdict(f"{load}s on {on} at {clients} client{'s' if clients > 1 else ''}{level}, times {peer}'s",
                             ours / theirs, floor, True))
    return "\n".join(lines)


def fill_text(facts):
    return "\n".join(f"- {name}: {each['seconds']:.1f} s" + (f"; resident MiB of each process {each['resident_mib']}"
                                                            if each["resident_mib"] else "") for name, each in facts.items())


def report_text(chosen, facts, filled, results):
    head = ("| load | databases | clients | system | per second, median (range) | p50 ms | p99 ms | server CPU us/op | server cores "
            "| generator cores |\n|---|---|---|---|---|---|---|---|---|---|\n")
    table = "\n".join(rows(key, rounds) for key, rounds in results.items())
    return (f"# d1\n\n{machine_text(facts)}\n\n{chosen.rounds} interleaved rounds of {chosen.seconds:g} s, one request in flight "
            f"per client. One database with a table of {chosen.megabytes} MB ({chosen.megabytes * ROWS_PER_MB:,} rows of about "
            f"110 bytes), and {chosen.databases} with {MANY_ROWS:,} rows each. A "
            f"read is of one row by its key; a scan answers 1,000 rows, a sum one row over 10,000; a batch is 1,000 rows in one "
            f"transaction (D1: 1,000 statements, at most 100 parameters each). Each answer is checked, and after a load that "
            f"writes, that the tables hold what was acknowledged.\n\n"
            f"Three nodes each: Bindery (reads linearizable; 'replica read': a session that begins unconstrained); dqlite "
            f"{harness.command_line(['pkg-config', '--modversion', 'dqlite'])} with go-dqlite's defaults (reads are the leader's "
            f"own); rqlite {RQLITE_VERSION} with its defaults, linearizable unless said otherwise, with its later correction of "
            f"that level (bench/d1.py, build_rqlite). SQLite in one process has no network: its CPU is the generator's.\n\n"
            f"Filling the one table, and memory afterwards:\n{fill_text(filled)}\n\n{head}{table}\n\n{verdicts(chosen, results)}\n")


def main(arguments):
    chosen = options(arguments)
    build("bench_d1_load", "bench_sqlite_load")
    build_peers(chosen)
    with Workspace(chosen.dir) as directory, contextlib.ExitStack() as started:
        facts = machine(directory)
        systems = [SYSTEMS[name](directory, chosen) for name in SYSTEMS if name in chosen.systems]
        for system in systems:
            started.callback(system.stop)  # all of them, even when one does not stop
            system.start()
        filled = fill(chosen, systems)
        results = run_loads(chosen, systems)
    text = report_text(chosen, facts, filled, results)
    print(text)
    if not chosen.no_save:
        save("d1", {"machine": facts, "options": vars(chosen), "filled": filled, "rounds": [
            {"load": load, "databases": where, "clients": clients, "system": label, "rounds": reports}
            for (load, where, clients), rounds in results.items() for label, reports in rounds.items()]}, text)
    return 0
