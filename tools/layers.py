"""tools/mutate --layers: which of the changes of tests/mutants/layers.toml a simulator and jepsen/ catch, and after how long.

Each change breaks a promise that users see. It is planted in the private copy of the tree; then the simulator of its layer runs
seeds from 1 upward, and jepsen/run runs with the program so built (root, loop devices; tests/mutants/README.md), each until the
first failure or its bound. A failure counts only if the same seed, or the same run, passes without the change. Each answer is a
line of jepsen/planted.jsonl, which `jepsen/run --summary` reads."""
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

from mutants import CATALOGUE, ROOT, Broken

LIST = os.path.join(CATALOGUE, "layers.toml")
PLANTED = os.path.join(ROOT, "jepsen", "planted.jsonl")
LAYERS = ("raft", "journal", "objects", "kv", "sql")
SIMULATOR, JEPSEN = "simulator", "jepsen"
CHUNK_SEEDS, CHUNK_S = 10, 90  # a seed takes a fraction of a second: more is no end
LOAD_S, RUN_S = 20, 360        # of a jepsen run: its load, and the longest that all of it can take
# What a run says when a promise was broken. A run in which too little was done, or that the judge could not decide, says nothing.
BROKEN = re.compile(r"^(?:ANOMALY|ABORT): (.*)|^UNDECIDED: (.*waited \S+ for the cluster to be whole.*)", re.M)
ABORTED = re.compile(r"^jepsen: (while waiting for .*ended by itself.*)", re.M)  # before there was a load
PLACES = re.compile(r" \(/[^)]*\)|/tmp/\S+")


class Layered:
    """A change of the list: whose promise it breaks, which promise, and where it could be seen."""

    def __init__(self, mutant, entry, simulators):
        self.mutant, self.layer, self.breaks = mutant, entry["layer"], entry["breaks"]
        self.rows = [row.split() for row in entry["jepsen"]]  # workload, faults, nodes
        self.simulator = None if "unseen" in entry else simulators.get(self.layer)
        self.unseen = entry.get("unseen", f"there is no simulator of {self.layer}")


def load(mutants):
    """The list, the layers in turn, so that a part of it says something of each."""
    with open(LIST, "rb") as file:
        content = tomllib.load(file)
    named, out = {mutant.name: mutant for mutant in mutants}, []
    for entry in content["change"]:
        if entry["name"] not in named:
            raise Broken(f"tests/mutants/layers.toml: no change is named {entry['name']}")
        if entry["layer"] not in LAYERS or any(len(row.split()) != 3 for row in entry["jepsen"]):
            raise Broken(f"tests/mutants/layers.toml: {entry['name']}: an unknown layer, or a run that is not WORKLOAD FAULTS NODES")
        out.append(Layered(named[entry["name"]], entry, content["simulator"]))
    places = {layer: [change for change in out if change.layer == layer] for layer in LAYERS}
    return sorted(out, key=lambda change: (places[change.layer].index(change), LAYERS.index(change.layer)))


# ---- the simulators ------------------------------------------------------------------------------------------------

def seeds_fail(program, first, count):
    """(seed, what it says) of the first failing one; None: all pass."""
    command = [program, "--seed", str(first), "--count", str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    try:
        said, _ = process.communicate(timeout=CHUNK_S)
    except subprocess.TimeoutExpired:
        return first, f"seeds {first} to {first + count - 1} do not end"
    finally:
        kill(process)
    found = re.search(r"^seed (\d+): \d+ violations: (.*)$", said, re.M)
    if found:
        return int(found.group(1)), found.group(2)
    return None if process.returncode == 0 else (first, f"status {process.returncode}")


def kill(process):
    """With what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def simulate(change, programs, plain, _):
    """Seeds upward, in pieces; the first failing one ends it."""
    name, bound = change.simulator["program"], change.simulator["seeds"]
    begin = time.monotonic()
    for first in range(1, bound + 1, CHUNK_SEEDS):
        count = min(CHUNK_SEEDS, bound + 1 - first)
        failed = seeds_fail(programs[name], first, count)
        if failed is None:
            continue
        seconds, (seed, said) = time.monotonic() - begin, failed
        if seeds_fail(plain[name], *((first, count) if "do not end" in said else (seed, 1))) is not None:
            raise Broken(f"seed {seed} fails without the change, too")
        return {"caught": True, "seconds": seconds, "seeds": seed, "said": said}
    return {"caught": False, "seconds": time.monotonic() - begin, "seeds": bound, "said": ""}


# ---- jepsen --------------------------------------------------------------------------------------------------------

def run_jepsen(binary, row, seed, page, options):
    """("broken", what), ("passed", what was not enough of) or ("error", why)."""
    workload, faults, nodes = row
    place = os.path.join(options.dir, "jepsen")
    shutil.rmtree(place, ignore_errors=True)
    command = [os.path.join(ROOT, "jepsen/run"), "--binary", binary, "--workload", workload, "--nemesis", faults, "--nodes", nodes,
               "--time", f"{LOAD_S}s", "--seed", str(seed), "--name", options.name, "--dir", place,
               "--report", os.path.join(options.dir, page + ".html")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        said, _ = process.communicate(timeout=RUN_S)
    except subprocess.TimeoutExpired:
        return "error", f"no end after {RUN_S} s"
    finally:
        end(process)
        shutil.rmtree(place, ignore_errors=True)
    found = BROKEN.search(said) or ABORTED.search(said)
    if process.returncode == 1 and found:
        return "broken", PLACES.sub("", next(filter(None, found.groups())))
    if process.returncode == 0 or "TOO LITTLE" in said or "UNDECIDED" in said:
        return "passed", "too little was done" if "TOO LITTLE" in said else "not decided" if "UNDECIDED" in said else ""
    return "error", next((line for line in said.splitlines() if line.startswith("jepsen: ")), f"status {process.returncode}")


def end(process):
    """Tells the harness to end, which takes back its namespaces and disks."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            kill(process)


def hurt(change, programs, plain, options):
    """Runs, each with the next seed, the change's rows in turn; the first that breaks a promise ends it."""
    begin, thin = time.monotonic(), []
    for number in range(1, options.runs + 1):
        row = change.rows[(number - 1) % len(change.rows)]
        what, said = run_jepsen(programs["bindery"], row, number, change.mutant.name, options)
        seconds = time.monotonic() - begin
        if what == "error":
            raise Broken(f"run {number}: {said}")
        if what == "broken":
            without, why = run_jepsen(plain["bindery"], row, number, "plain", options)
            if without != "passed" or why:
                raise Broken(f"run {number} ({said}) is not passed without the change either: {without}: {why}")
            return {"caught": True, "seconds": seconds, "runs": number, "run": " ".join(row), "said": said}
        thin += [f"run {number}: {said}"] if said else []
    return {"caught": False, "seconds": time.monotonic() - begin, "runs": options.runs, "said": "; ".join(thin)}


# ---- the whole -----------------------------------------------------------------------------------------------------

CATCHERS = {SIMULATOR: simulate, JEPSEN: hurt}


def paths(copy, change, by):
    """The programs that a catcher needs: name -> path below the build."""
    return {"bindery": "bin/bindery"} if by == JEPSEN else {change.simulator["program"]: f"tests/{change.simulator['program']}"}


def keep_plain(copy, changes, place):
    """The programs without any change; all of them, so that what a change needs is there before it is planted."""
    wanted = {"bindery": "bin/bindery"}
    for change in changes:
        if change.simulator:
            wanted |= paths(copy, change, SIMULATOR)
    copy.make(*wanted.values())
    os.makedirs(place, exist_ok=True)
    return {name: shutil.copy2(os.path.join(copy.build, path), os.path.join(place, name)) for name, path in wanted.items()}


def commit():
    """With + where the tree differs from it, not counting what is written here."""
    git = ["git", "-C", ROOT]
    name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", ":!jepsen/*.jsonl", ":!jepsen/RESULTS.md"], check=False)
    return name + ("+" if changed.returncode != 0 else "")


def answered():
    """(change, by) of the answers that are there."""
    if not os.path.exists(PLANTED):
        return set()
    with open(PLANTED, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return {(line["change"], line["by"]) for line in lines if "error" not in line}


def answer(change, by, result):
    line = {"change": change.mutant.name, "class": change.mutant.kind, "layer": change.layer, "breaks": change.breaks, "by": by, **result,
            "day": datetime.date.today().isoformat(), "commit": commit()}
    if "seconds" in line:
        line["seconds"] = round(line["seconds"], 1)
    with open(PLANTED, "a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    state = "ERROR" if "error" in line else "unseen" if line.get("absent") else "caught" if line["caught"] else "SURVIVES"
    print(f"{state:<8} {by:<9} {line['layer']:<8} {line['change']:<28} {line.get('seconds', 0):>6} s  "
          f"{line.get('error') or line['said']}", flush=True)
    return "error" not in line


def ask(copy, change, by, plain, options):
    """One answer. The change is planted already."""
    if by == SIMULATOR and change.simulator is None:
        return answer(change, by, {"caught": False, "absent": True, "said": change.unseen})
    try:
        wanted = paths(copy, change, by)
        copy.make(*wanted.values())
        built = {name: os.path.join(copy.build, path) for name, path in wanted.items()}
        return answer(change, by, CATCHERS[by](change, built, plain, options))
    except Broken as problem:
        return answer(change, by, {"caught": False, "error": str(problem), "said": ""})


def run(copy, mutants, chosen, options):
    """0: each has its answer, 1: an error among them."""
    changes = [change for change in load(mutants) if change.mutant in chosen]
    if not changes:
        raise Broken("none of these is in tests/mutants/layers.toml")
    done, catchers = answered() if options.resume else set(), [options.by] if options.by else list(CATCHERS)
    wanted = [(change, by) for change in changes for by in catchers if (change.mutant.name, by) not in done]
    options.dir = os.path.abspath(options.dir)  # jepsen/run works elsewhere
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of every `finally`: the harness gives back what it has
    copy.sync()
    copy.configure()
    plain = keep_plain(copy, changes, os.path.join(options.dir, "plain"))
    print(f"mutate: {len(wanted)} answers wanted, of {len(changes)} changes", flush=True)
    whole = True
    for change in changes:
        mine = [by for of, by in wanted if of is change]
        if not mine:
            continue
        try:
            copy.apply(change.mutant)
            for by in mine:
                whole = ask(copy, change, by, plain, options) and whole
        finally:
            copy.restore(change.mutant.path)
    return 0 if whole else 1
