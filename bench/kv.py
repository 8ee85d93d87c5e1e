"""KV through the binding protocol, three nodes, against Redis 7 and nginx in the same run, rounds interleaved, closed loops
without pipelining. Claims: GETs of 64 bytes per CPU-second of the servers at least 0.8 of nginx's with a fixed body and
no less than Redis'; PUTs at 64 clients no fewer than Redis' with one replica, both fsyncing always, and WAIT 1; a list of
1,000 keys among 1,000,000 p50 < 10 ms; a write is seen at the other nodes p99 < 1 s. Memory is stated."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time

import harness
from harness import (BUILD, ROOT, Process, Workspace, build, cpu_seconds, machine, machine_text, measure, median, resident_mib,
                     save, verdict, wait)

LOAD, CONVERGE = os.path.join(BUILD, "bench", "bench_kv_load"), os.path.join(BUILD, "bench", "bench_kv_converge")
SMALL_BASE, CONVERGE_BASE = 50_000_000, 60_000_000  # keys of the 64-byte loads and of the convergence, apart from the many
NGINX_BODY = "0123456789abcdef" * 4
QUICK = {"rounds": 2, "seconds": 1, "warmup": 0.3, "keys": 20_000, "small_keys": 5_000, "samples": 300}


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run kv", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="for a try on a busy machine: " + ", ".join(
        f"{name}={value}" for name, value in QUICK.items()) + "; not saved")
    parser.add_argument("--rounds", type=int, default=6, help="of each system and load")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--clients", type=int, default=64, help="of GETs, mixes and the larger PUT load")
    parser.add_argument("--keys", type=int, default=1_000_000, help="of the mixes, the list and the memory; thousands")
    parser.add_argument("--bytes", default="64:4096", help="of their values, log-uniform")
    parser.add_argument("--zipf", type=float, default=0.99, help="theta of the mixes")
    parser.add_argument("--small-keys", type=int, default=10_000, help="of the GETs and PUTs of 64 bytes, before the many")
    parser.add_argument("--samples", type=int, default=2000, help="writes whose convergence is measured")
    parser.add_argument("--systems", nargs="*", default=["bindery", "redis", "nginx", "workerd"])
    parser.add_argument("--loads", nargs="*", default=list(LOADS), help="of: " + " ".join(LOADS))
    parser.add_argument("--dir", help="where the data goes (default: the temporary directory)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        vars(chosen).update(QUICK, no_save=True)
    if chosen.keys % 1000 or chosen.keys <= 0:
        parser.error("--keys must be thousands")
    return chosen


# ---- systems

class Bindery(harness.Bindery):
    """Three nodes with the program's default memory and a KV namespace, asked over the bindings port."""

    def __init__(self, directory):
        super().__init__(directory, base_port=17900, memory=None)

    def start(self):
        self.cluster.start()
        path = f"/client/v4/accounts/{self.cluster.info['account_id']}/storage/kv/namespaces"
        status, answer = self.cluster.get(1, path, body={"title": "bench"}, method="POST")
        if status != 200:
            raise RuntimeError(f"no namespace: {status} {answer}")
        self.binding = "kv:" + answer["result"]["id"]

    def address(self, nodes=(1, 2, 3)):
        words = ["--binding", self.binding, "--token", self.cluster.info["token"]]
        for node in nodes:
            words += ["--endpoint", self.cluster.node(node)["bindings"].split("://")[1]]
        return words


class Redis(Process):
    """One process without persistence (for GETs), or a primary and a replica whose append-only files are fsynced before
    each answer. No snapshots and no rewriting meanwhile."""

    def __init__(self, directory, name, ports, durable):
        super().__init__(directory, name)
        self.ports, self.durable = ports, durable

    def start(self):
        for number, port in enumerate(self.ports):
            home = os.path.join(self.dir, str(port))
            os.makedirs(home)
            command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", home, "--save", "",
                       "--appendonly", "yes" if self.durable else "no", "--appendfsync", "always",
                       "--auto-aof-rewrite-percentage", "0", "--repl-diskless-sync-delay", "0"]
            self.run(*command, *(["--replicaof", "127.0.0.1", str(self.ports[0])] if number else []))
        for port in self.ports:
            wait(lambda port=port: self.ask(port, "ping") == "PONG", 30, "redis to answer")
        if len(self.ports) > 1:
            wait(lambda: "master_link_status:up" in self.ask(self.ports[1], "info", "replication"), 60, "the replica")

    def ask(self, port, *words):
        return harness.command_line(["redis-cli", "-p", str(port), *words])

    def address(self, ports=None):
        words = ["--redis", "1"]
        for port in ports or self.ports[:1]:
            words += ["--endpoint", f"127.0.0.1:{port}"]
        return words


NGINX_CONFIG = """worker_processes 1;
daemon off;
pid {dir}/pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 600;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port};
        default_type application/octet-stream;
        location / {{ return 200 "{body}"; }}
    }}
}}
"""


class Nginx(Process):
    """One worker, which answers whatever is asked with the same 64 bytes from its configuration."""
    port = 17985

    def __init__(self, directory):
        super().__init__(directory, "nginx")

    def start(self):
        os.makedirs(self.dir)
        config = os.path.join(self.dir, "nginx.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(NGINX_CONFIG.format(dir=self.dir, port=self.port, body=NGINX_BODY))
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.run(program or "nginx", "-c", config, "-p", self.dir)
        wait(lambda: harness.command_line(["curl", "-s", f"http://127.0.0.1:{self.port}/"]) == NGINX_BODY, 30, "nginx")

    def address(self):
        return ["--binding", "kv:" + "0" * 32, "--token", "0" * 40, "--endpoint", f"127.0.0.1:{self.port}",
                "--fixed", NGINX_BODY]


WORKERD_CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "kv", worker = (
      modules = [(name = "kv.js", bundled = "/workerd/kv.js")],
      compatibilityDate = "2026-04-01",
      durableObjectNamespaces = [(className = "KVNamespace", uniqueKey = "kv", enableSql = true)],
      durableObjectStorage = (localDisk = "disk"),
      bindings = [(name = "SHARD", durableObjectNamespace = "KVNamespace"), (name = "BLOBS", service = "disk")])),
    (name = "disk", disk = (path = "{dir}/disk", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (),
    service = (name = "kv", props = (json = "{{\\"namespace\\": \\"bench\\"}}")))],
);
"""


class Workerd(Process):
    """The KV service bundled with the released workerd, as its header says to configure it: one process, its namespace one
    Durable Object on the local disk, no replica. Few keys: it is slow to fill."""
    port, keys = 17990, 1000

    def __init__(self, directory):
        super().__init__(directory, "workerd")

    def start(self):
        sys.path.insert(0, os.path.join(ROOT, "tests", "clients"))
        from workerds import WORKERD, install
        install()
        os.makedirs(os.path.join(self.dir, "disk"))
        config = os.path.join(self.dir, "config.capnp")
        with open(config, "w", encoding="ascii") as file:
            file.write(WORKERD_CONFIG.format(dir=self.dir, port=self.port))
        self.run(WORKERD, "serve", "--experimental", config)
        wait(lambda: harness.command_line(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                                           f"http://127.0.0.1:{self.port}/x"]) == "404", 30, "workerd")

    def address(self):
        return ["--binding", "kv:" + "0" * 32, "--token", "0" * 40, "--endpoint", f"127.0.0.1:{self.port}"]


class Systems:
    """What is measured, by name; started together, so that rounds can take turns."""

    def __init__(self, directory, names):
        self.bindery = Bindery(directory) if "bindery" in names else None
        self.redis = Redis(directory, "redis", [17980], durable=False) if "redis" in names else None
        self.pair = Redis(directory, "redis-pair", [17981, 17982], durable=True) if "redis" in names else None
        self.nginx = Nginx(directory) if "nginx" in names else None
        self.workerd = Workerd(directory) if "workerd" in names else None
        self.all = [each for each in (self.bindery, self.redis, self.pair, self.nginx, self.workerd) if each]

    def start(self):
        for system in self.all:
            system.start()
            if isinstance(system, Process):
                system.check_alive()  # and nobody else answers on its port

    def stop(self):
        for system in self.all:
            system.stop()


# ---- loads

ONE_ASKED, ALL_ASKED = "bindery, 1 of 3 nodes asked", "bindery, all 3 nodes asked by as many clients each"

def both_waits(systems):
    """As a client would, one round trip more; and both in one write. The better one counts."""
    return [("redis, WAIT after", systems.pair, systems.pair.address() + ["--wait", "after"]),
            ("redis, WAIT in the same write", systems.pair, systems.pair.address() + ["--wait", "together"])]


def get_systems(systems):
    found = []
    if systems.bindery:
        found += [(ONE_ASKED, systems.bindery, systems.bindery.address([1])),
                  (ALL_ASKED, systems.bindery, systems.bindery.address())]
    if systems.redis:
        found.append(("redis", systems.redis, systems.redis.address()))
    if systems.nginx:
        found.append(("nginx", systems.nginx, systems.nginx.address()))
    return found + workerd_systems(systems)


def workerd_systems(systems):
    return [("workerd's bundled KV", systems.workerd, systems.workerd.address())] if systems.workerd else []


def write_systems(systems):
    found = [("bindery", systems.bindery, systems.bindery.address())] if systems.bindery else []
    return found + (both_waits(systems) if systems.pair else [])


def put_systems(systems):
    return write_systems(systems) + workerd_systems(systems)


def list_systems(systems):
    return [("bindery", systems.bindery, systems.bindery.address())] if systems.bindery else []


def small(chosen):
    return ["--keys", str(chosen.small_keys), "--bytes", "64", "--key-base", str(SMALL_BASE)]


def fewer(system):
    """Takes words back: the last ones count."""
    return ["--keys", str(system.keys)] if isinstance(system, Workerd) else []


def many(chosen):
    return ["--keys", str(chosen.keys), "--bytes", chosen.bytes]


def mix(share):
    return lambda chosen: [*many(chosen), "--op", "mix", "--put-share", str(share), "--zipf", str(chosen.zipf)]


LOADS = {  # name: systems, words for the generator, clients (0: --clients)
    "get": (get_systems, lambda chosen: [*small(chosen), "--op", "get"], 0),
    "mix 95/5": (write_systems, mix(0.05), 0),
    "mix 50/50": (write_systems, mix(0.5), 0),
    "put 1": (put_systems, lambda chosen: [*small(chosen), "--op", "put"], 1),
    "put": (put_systems, lambda chosen: [*small(chosen), "--op", "put"], 0),
    "list": (list_systems, lambda chosen: [*many(chosen), "--op", "list"], 1),
}

# Redis' one process for GETs has the small keys alone; so has everybody while they are asked for.
SMALL, MANY = ["get", "put 1", "put"], ["mix 95/5", "mix 50/50", "list"]


def run_load(chosen, systems, name):
    """{system: [report of each round]}"""
    of, words, clients = LOADS[name]
    rounds = {}
    for number in range(chosen.rounds):
        order = of(systems)
        for label, system, address in order if number % 2 == 0 else reversed(order):
            count = (clients or chosen.clients) * (3 if label == ALL_ASKED else 1)
            report = measure(system, [LOAD, *address, *words(chosen), *fewer(system), "--clients", str(count), "--seconds",
                                      str(chosen.seconds), "--warmup", str(chosen.warmup), "--first", str(number)])
            report["per_cpu_s"] = 1e6 / report["server_cpu_us_per_op"] if report["server_cpu_us_per_op"] else 0
            rounds.setdefault(label, []).append(report)
    return rounds


def run_loads(chosen, systems, names, results):
    for name in names:
        if name in chosen.loads:
            results[name] = run_load(chosen, systems, name)
            print(rows(name, results[name]), flush=True)


def resident(systems):
    """MiB of each process, by system."""
    named = {"bindery": systems.bindery, "redis, one process": systems.redis, "redis, primary and replica": systems.pair}
    return {name: [round(resident_mib(pid)) for pid in system.pids()] for name, system in named.items() if system}


def rest(system, seconds):
    """Cores that its processes use while nobody asks."""
    before, begun = cpu_seconds(system.pids()), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(system.pids()) - before) / (time.monotonic() - begun)


def settle(system, most_s=180):
    """Until what a fill left to do in the background is done."""
    deadline = time.monotonic() + most_s
    while rest(system, 2) > 0.1 and time.monotonic() < deadline:
        pass


def fill_small(chosen, systems):
    for system in systems.all:
        if system is not systems.nginx:
            measure(system, [LOAD, *system.address(), *small(chosen), *fewer(system), "--op", "fill", "--clients", "256"])
            settle(system)


def fill_many(chosen, systems):
    """Resident memory before and after, how long it took, and the CPU at rest afterwards."""
    facts = {"seconds": {}, "cores_at_rest": {}, "before_mib": resident(systems)}
    for name, system in (("bindery", systems.bindery), ("redis, primary and replica", systems.pair)):
        if system:
            report = measure(system, [LOAD, *system.address(), *many(chosen), "--op", "fill", "--clients", "256"])
            facts["seconds"][name] = report["wall_s"]
            settle(system)
            facts["cores_at_rest"][name] = rest(system, 5)
    facts["after_mib"] = resident(systems)
    return facts


def converge(chosen, systems):
    """Of an idle cluster, and of one that serves the 50/50 mix to `clients` clients."""
    command = [CONVERGE, *systems.bindery.address(), "--samples", str(chosen.samples), "--key-base", str(CONVERGE_BASE)]
    idle = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    seconds = max(10, idle["wall_s"] * 20)
    load = subprocess.Popen([LOAD, *systems.bindery.address(), *mix(0.5)(chosen), "--clients", str(chosen.clients),
                             "--seconds", str(seconds)], stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        busy = json.loads(subprocess.run([*command, "--samples", str(chosen.samples // 4)], check=True,
                                         stdout=subprocess.PIPE).stdout)
        if load.poll() is not None:
            raise RuntimeError(f"the load ended before the samples did: status {load.returncode}")
    finally:
        load.terminate()
        load.wait(30)
    return {"idle": idle, f"50/50 mix of {chosen.clients} clients": busy}


# ---- the report

def rows(name, rounds):
    lines = []
    for label, reports in rounds.items():
        spread = sorted(each["per_s"] for each in reports)
        lines.append(f"| {name} | {reports[0]['clients']} | {label} | {median(reports, 'per_s'):,.0f} "
                     f"({spread[0]:,.0f}-{spread[-1]:,.0f}) | {median(reports, 'p50_us') / 1000:.2f} "
                     f"| {median(reports, 'p99_us') / 1000:.2f} | {median(reports, 'server_cpu_us_per_op'):.1f} "
                     f"| {median(reports, 'per_cpu_s'):,.0f} | {median(reports, 'server_cores'):.2f} "
                     f"| {median(reports, 'generator_cores'):.2f} |")
    return "\n".join(lines)


def verdicts(results, convergence):
    lines = []
    gets = results.get("get", {})
    for label in (label for label in gets if label.startswith("bindery")):
        for peer, floor in (("nginx", 0.8), ("redis", 1.0)):
            if peer in gets:
                ratio = median(gets[label], "per_cpu_s") / median(gets[peer], "per_cpu_s")
                lines.append(verdict(f"GETs per CPU-second ({label}), of {peer}'s", ratio, floor, True))
    puts = results.get("put", {})
    peers = [median(reports, "per_s") for label, reports in puts.items() if label.startswith("redis")]
    if peers and "bindery" in puts:
        lines.append(verdict("PUTs per second at many clients, of Redis' better way",
                             median(puts["bindery"], "per_s") / max(peers), 1, True))
    if results.get("list"):
        lines.append(verdict("list of 1,000 keys, p50", median(results["list"]["bindery"], "p50_us") / 1000, 10, False, " ms"))
    for load, report in (convergence or {}).items():
        lines.append(verdict(f"a write seen elsewhere after its acknowledgement, p99 ({load})", report["ack_p99_us"] / 1000,
                             1000, False, " ms"))
    return "\n".join(lines)


def memory_text(chosen, facts):
    lines = [f"Resident MiB of each process, before and after {chosen.keys:,} keys of {chosen.bytes} bytes (log-uniform):"]
    for name, before in facts["before_mib"].items():
        took = facts["seconds"].get(name)
        lines.append(f"- {name}: {before} -> {facts['after_mib'][name]}" + (
            f", filled in {took:.0f} s; at rest afterwards {facts['cores_at_rest'][name]:.3f} cores in sum" if took else ""))
    return "\n".join(lines)


def convergence_text(convergence):
    if not convergence:
        return ""
    lines = ["Time until a write at one node is seen at another, which is polled in a closed loop meanwhile, ms:", "",
             "| load | pairs | after the acknowledgement p50 | p99 | max | after it was sent p50 | p99 | max |",
             "|---|---|---|---|---|---|---|---|"]
    for load, report in convergence.items():
        times = " | ".join(f"{report[f'{since}_{what}_us'] / 1000:.2f}" for since in ("ack", "send")
                           for what in ("p50", "p99", "max"))
        lines.append(f"| {load} | {report['pairs']} | {times} |")
    return "\n".join(lines) + "\n\n"


def report_text(chosen, facts, memory, results, convergence):
    head = ("| load | clients | system | per second, median (range) | p50 ms | p99 ms | server CPU us/op | per server-CPU-s "
            "| server cores | generator cores |\n|---|---|---|---|---|---|---|---|---|---|\n")
    table = "\n".join(rows(name, rounds) for name, rounds in results.items())
    return (f"# kv\n\n{machine_text(facts)}\n\n{chosen.rounds} interleaved rounds of {chosen.seconds:g} s; GETs and PUTs of "
            f"64 bytes over {chosen.small_keys:,} keys, then mixes over {chosen.keys:,} keys of {chosen.bytes} bytes with Zipf's "
            f"distribution ({chosen.zipf:g}), lists of 1,000 of them. One connection per client, one request in flight. Server "
            f"CPU is of all processes of a system: Bindery's three nodes, Redis' one for GETs and two for the rest (its replica "
            f"and its primary fsync always), nginx's one worker with its master. workerd's bundled KV is one "
            f"process without a replica, asked for {Workerd.keys:,} keys.\n\n{head}{table}\n\n"
            f"{memory_text(chosen, memory)}\n\n{convergence_text(convergence)}{verdicts(results, convergence)}\n")


def main(arguments):
    chosen = options(arguments)
    build("bench_kv_load", "bench_kv_converge")
    results, convergence = {}, None
    with Workspace(chosen.dir) as directory:
        facts = machine(directory)
        systems = Systems(directory, chosen.systems)
        try:
            systems.start()
            fill_small(chosen, systems)
            run_loads(chosen, systems, SMALL, results)
            memory = fill_many(chosen, systems)
            run_loads(chosen, systems, MANY, results)
            if systems.bindery:
                convergence = converge(chosen, systems)
        finally:
            systems.stop()
    text = report_text(chosen, facts, memory, results, convergence)
    print(text)
    if not chosen.no_save:
        save("kv", {"machine": facts, "options": vars(chosen), "memory": memory, "convergence": convergence, "rounds": [
            {"load": load, "system": name, "rounds": reports}
            for load, rounds in results.items() for name, reports in rounds.items()]}, text)
    return 0
