"""Where the CPU of an operation (of objects, or of D1) goes, over all three nodes: perf samples by layer and by symbol, system calls, durable journal
writes, allocations and messages per operation. Needs root and perf; the figures disturb each other little, but each kind
is counted in a run of its own."""
import argparse
import collections
import os
import re
import subprocess
import sys
import urllib.request

import d1
from harness import HERE, Bindery, Workspace, build, machine, machine_text, measure, settle

# A sample belongs to the first layer that one of its frames names, looking from the innermost frame outwards.
LAYERS = [
    ("idle and start of the loop", r"^(uv__io_poll|uv_run|main|__libc_start|_start)$"),
    ("signature and digests", r"^(s3_signature|s3_canonical|s3_signing|find_signing_key|s3_authorize|s3_digest|sha256|SHA256|SHA1|MD5|"
                              r"EVP_|HMAC|CRYPTO_memcmp)"),
    ("SQLite", r"^sqlite3"),
    ("SQL: statements of a connection", r"^(sql_connection|sql_json|sql_authorizer|run_statement|step_)"),
    ("SQL: pages and change sets", r"^(sql_view|view_|vfs_|sql_change_set|sql_history|sql_page|sql_pack|sql_fsm|sql_commit|sql_command|ZSTD_|"
                                   r"page_(get|load|find|new|enter)|publish|add_to_set|unprepare|put_pages|put_version|"
                                   r"change_set_of|check_pages|unpack)"),
    ("SQL: the leader's queue", r"^(sql_|bnd_sql)"),
    ("D1's protocol", r"^(d1_|front_|worker_)"),
    ("HTTP and S3", r"^(http_|bnd_http|s3_|bnd_gateway|conn_|bnd_conn|stream_)"),
    ("peer connections (TLS, frames)", r"^(mesh_|bnd_mesh|link_|tls_|bnd_tls|SSL_|ssl3_|tls13_|BIO_|rpc_|bnd_rpc|bnd_frame|frame_)"),
    ("RocksDB background", r"(BackgroundCompaction|BackgroundFlush|ThreadPoolImpl)"),
    ("state (RocksDB)", r"^(rocksdb|rocks_)"),
    ("request ids", r"^dedupe_"),
    ("objects", r"^(objects_|bnd_objects|fsm_|bnd_object)"),
    ("journal", r"^(bnd_journal|journal_|file_async|uring_|io_uring|blk_|ext4_|iomap_)"),
    ("Raft core (libraft)", r"^(core_|bnd_core|raft_|replication|log[A-Z]|recv[A-Z]|guard_|parked_)"),
    ("Raft host", r"^(apply_|propose_|readindex_|read_frame|transport_|storage_|persist_|host_|pass|group_|bnd_raft|bnd_shard|shard_|"
                  r"entry_|tuple_|bnd_message|member_|export_|import_|leave_)"),
]
D1_OPS = ["read", "scan", "sum", "update", "insert", "batch"]


def options(arguments):
    parser = argparse.ArgumentParser(prog="bench/run cpu_profile", description=__doc__)
    parser.add_argument("--op", default="put", choices=["put", "get", *(f"d1-{op}" for op in D1_OPS)],
                        help="of objects, or of D1 (bench/run d1)")
    parser.add_argument("--many", action="store_true", help="D1: over 64 databases, not on one")
    parser.add_argument("--megabytes", type=int, default=10, help="D1: of the table in the one database")
    parser.add_argument("--memory", help="of each node; default: 1GiB, D1: the program's")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4, help="of each of the runs")
    parser.add_argument("--keys", type=int, default=10000)
    parser.add_argument("--bytes", type=int, default=1024)
    parser.add_argument("--dir", help="where the data goes (default: the temporary directory)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    parser.set_defaults(databases=64)
    return parser.parse_args(arguments)


def is_d1(chosen):
    return chosen.op.startswith("d1-")


def load_command(chosen, bindery, fill=False):
    if is_d1(chosen):
        load = ["--op", "fill", "--clients", "8"] if fill else [
            "--op", chosen.op.removeprefix("d1-"), "--clients", str(chosen.clients), "--seconds", str(chosen.seconds), "--warmup", "0"]
        return [*bindery.words(chosen.many), *load]
    if fill:
        return bindery.load("fill", 32, 0, 0, chosen.keys, chosen.bytes, 0)
    return bindery.load(chosen.op, chosen.clients, chosen.seconds, 0, chosen.keys, chosen.bytes, 0)


def loaded(chosen, bindery):
    return measure(bindery, load_command(chosen, bindery))


def attached(command, chosen, bindery):
    """The load's report, and what a perf command that watches the nodes meanwhile wrote to stderr."""
    pids = ",".join(str(pid) for pid in bindery.pids())
    watcher = subprocess.Popen([*command, "-p", pids, "--", "sleep", str(chosen.seconds)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    report = loaded(chosen, bindery)
    return report, watcher.communicate()[1]


# ---- samples

def stacks(path):
    """[(frames from the innermost outwards, the thread's name)]"""
    text = subprocess.run(["perf", "script", "-i", path, "-F", "comm,ip,sym,dso"], check=True, capture_output=True, text=True).stdout
    for block in text.split("\n\n"):
        lines = block.strip().splitlines()
        if len(lines) > 1:
            frames = []
            for line in lines[1:]:
                match = re.match(r"\s*[0-9a-f]+\s+(.*?)\s+\(([^()]*)\)$", line)
                if match:
                    frames.append((match.group(1).split("+0x")[0], os.path.basename(match.group(2))))
            yield frames, lines[0].strip()


def layer_of(frames, thread):
    if thread.startswith("rocksdb"):
        return "RocksDB background"
    for name, dso in frames:
        if dso.startswith("librocksdb"):
            return "state (RocksDB)"
        if dso.startswith("libraft"):
            return "Raft core (libraft)"
        for layer, pattern in LAYERS:
            if re.search(pattern, name):
                return layer
    return "other"


def kind_of(frames):
    """What the innermost frame does, across layers."""
    name, dso = frames[0]
    if dso in ("[kernel.kallsyms]", "[unknown]") or dso.startswith("["):
        return "kernel"
    if re.match(r"(_int_(malloc|free|realloc)|malloc|cfree|free|calloc|realloc|unlink_chunk|malloc_consolidate|operator (new|delete)|"
                r"__libc_calloc)", name):
        return "allocation"
    if dso.startswith("libcrypto") or dso.startswith("libssl"):
        return "OpenSSL"
    return {"libc.so.6": "libc", "bindery": "our own code"}.get(dso, re.sub(r"\.so.*", "", dso))


def count_samples(path):
    layers, kinds, symbols, total = collections.Counter(), collections.Counter(), collections.Counter(), 0
    for frames, thread in stacks(path):
        if frames:
            total += 1
            layers[layer_of(frames, thread)] += 1
            kinds[kind_of(frames)] += 1
            symbols[f"{frames[0][0][:70]} ({frames[0][1]})"] += 1
    return total, layers, kinds, symbols


# ---- counters

def metrics(bindery):
    """The sum over the nodes of every plain counter of /metrics."""
    out = collections.Counter()
    for node in bindery.cluster.info["nodes"]:
        with urllib.request.urlopen(node["rest"] + "/metrics", timeout=5) as response:
            for line in response.read().decode().splitlines():
                words = line.split()
                if len(words) == 2 and "{" not in line and not line.startswith("#"):
                    out[words[0]] += float(words[1])
    return out


def perf_counts(text):
    """{event: count} of perf stat's report."""
    out = {}
    for line in text.splitlines():
        match = re.match(r"\s*([\d,]+)\s+([\w:]+)", line)
        if match:
            out[match.group(2)] = int(match.group(1).replace(",", ""))
    return out


def system_calls(chosen, bindery):
    done = subprocess.run(["perf", "list", "syscalls:sys_enter_*"], check=True, capture_output=True, text=True).stdout
    wanted = [name for name in ("read", "write", "readv", "writev", "recvmsg", "sendmsg", "recvfrom", "sendto", "epoll_wait", "epoll_pwait",
                                "epoll_ctl", "io_uring_enter", "futex", "madvise", "mmap", "munmap", "pread64", "pwrite64",
                                "fdatasync", "fsync", "sync_file_range", "timerfd_settime", "brk") if f"sys_enter_{name} " in done + " "]
    events = ["raw_syscalls:sys_enter", *(f"syscalls:sys_enter_{name}" for name in wanted)]
    report, text = attached(["perf", "stat", "-e", ",".join(events)], chosen, bindery)
    counts = perf_counts(text)
    rows = sorted(((name.split("sys_enter_")[-1] if "raw" not in name else "all", count / report["ops"])
                   for name, count in counts.items()), key=lambda row: -row[1])
    return [row for row in rows if row[1] >= 0.01]


def allocations(chosen, bindery):
    libc = "/lib/x86_64-linux-gnu/libc.so.6"
    names = ("malloc", "calloc", "realloc")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for name in names:
        subprocess.run(["perf", "probe", "-q", "-x", libc, f"bench_{name}={name}"], check=True, **quiet)
    try:
        report, text = attached(["perf", "stat", "-e", ",".join(f"probe_libc:bench_{name}" for name in names)], chosen, bindery)
    finally:
        subprocess.run(["perf", "probe", "-q", "-d", "probe_libc:bench_*"], check=False, **quiet)
    return sum(perf_counts(text).values()) / report["ops"]


def table(title, counter, total, limit=100):
    rows = [f"| {name} | {100 * count / total:.1f} |" for name, count in counter.most_common(limit) if count * 200 >= total]
    return f"| {title} | % |\n|---|---|\n" + "\n".join(rows) + "\n"


def per_operation(before, after, ops):
    names = {"bindery_raft_entries_total": "entries appended to logs", "bindery_raft_applied_total": "entries applied",
             "bindery_raft_messages_sent_total": "Raft messages", "bindery_raft_read_rounds_total": "read rounds",
             "bindery_journal_batches_total": "durable journal writes", "bindery_journal_written_bytes_total": "journal bytes"}
    return "\n".join(f"| {text} | {(after[name] - before[name]) / ops:.2f} |" for name, text in names.items() if name in after)


def report_text(chosen, facts, quiet, samples, counted, calls, allocated):
    total, layers, kinds, symbols = samples
    cost = quiet["server_cpu_us_per_op"]
    rows = "\n".join(f"| {name} | {count:.2f} |" for name, count in calls)
    one = f"on one database of {chosen.megabytes} MB"
    what = ("over 64 databases" if chosen.many else one) if is_d1(chosen) else f"{chosen.bytes} bytes"
    return (f"# Profile of a {chosen.op.upper()}, {chosen.clients} clients\n\n{machine_text(facts)}\n\n"
            f"{what}, {quiet['per_s']:,.0f} a second, {cost:.0f} us of CPU each on the three nodes together "
            f"(without perf). Counts below are per operation and over the three nodes.\n\n"
            f"{table('CPU by layer', layers, total)}\n{table('CPU by what runs', kinds, total)}\n"
            f"| per operation | |\n|---|---|\n{counted}\n| allocations (malloc, calloc, realloc) | {allocated:.1f} |\n\n"
            f"| system calls per operation | |\n|---|---|\n{rows}\n\n{table('symbols', symbols, total, 40)}")


def main(arguments):
    chosen = options(arguments)
    if os.geteuid() != 0:
        print("bench/run cpu_profile: needs root for perf", file=sys.stderr)
        return 2
    build("bench_s3_load", "bench_d1_load")
    with Workspace(chosen.dir) as directory:
        facts = machine(directory)
        bindery = d1.Bindery(directory, chosen, chosen.memory) if is_d1(chosen) else Bindery(directory, memory=chosen.memory or "1GiB")
        data = os.path.join(directory, "perf.data")
        try:
            bindery.start()
            measure(bindery, load_command(chosen, bindery, fill=True))
            settle(bindery)
            before = metrics(bindery)
            quiet = loaded(chosen, bindery)
            counted = per_operation(before, metrics(bindery), quiet["ops"])
            attached(["perf", "record", "-q", "-F", "1999", "-g", "--call-graph", "fp", "-o", data], chosen, bindery)
            samples = count_samples(data)
            calls = system_calls(chosen, bindery)
            allocated = allocations(chosen, bindery)
        finally:
            bindery.stop()
    text = report_text(chosen, facts, quiet, samples, counted, calls, allocated)
    print(text)
    if not chosen.no_save:
        with open(os.path.join(HERE, "results", f"profile_{chosen.op}{'-many' if chosen.many else ''}.md"), "w", encoding="utf-8") as file:
            file.write(text)
    return 0
