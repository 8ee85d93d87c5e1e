"""What the benchmarks share: clusters of the program and of its peers, the CPU their processes used, the machine."""
import glob
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, "tools"))
from localcluster import BINARY, Cluster, wait  # noqa: E402

BUILD = os.path.join(ROOT, "build", "release")
S3_LOAD = os.path.join(BUILD, "bench", "bench_s3_load")
ETCD_LOAD = os.path.join(BUILD, "bench", "etcd_load")
TICKS = os.sysconf("SC_CLK_TCK")


def build(*targets, go=()):
    """Builds the release program, the named load generators, and Go programs (folders of bench/)."""
    quiet = {"stdout": subprocess.DEVNULL}
    subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True, **quiet)
    subprocess.run(["cmake", "--build", "--preset", "release", "-j", str(os.cpu_count()), "--target", "bindery", *targets],
                   cwd=ROOT, check=True, **quiet)
    for name in go:
        subprocess.run(["go", "build", "-o", os.path.join(BUILD, "bench", name), f"./{name}"], cwd=HERE, check=True)


def cpu_seconds(pids):
    """User and system time of processes with all their threads."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            words = file.read().rsplit(")", 1)[1].split()
        total += int(words[11]) + int(words[12])
    return total / TICKS


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f"no VmRSS of {pid}")


def sync_write_us(directory, count=300):
    """Median and 99th percentile of a durable 4 KiB write in place: what the disk allows at best."""
    path = os.path.join(directory, "probe")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC)
    block, times = os.urandom(4096), []
    os.pwrite(fd, bytes(4096 * 64), 0)
    for number in range(count):
        begun = time.monotonic()
        os.pwrite(fd, block, 4096 * (number % 64))
        times.append((time.monotonic() - begun) * 1e6)
    os.close(fd)
    os.unlink(path)
    times.sort()
    return round(times[count // 2]), round(times[count * 99 // 100])


def command_line(command):
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def machine(directory):
    with open("/proc/cpuinfo", encoding="ascii") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "?")
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) // 1024
    p50, p99 = sync_write_us(directory)
    return {
        "cpu": model, "cores": os.cpu_count(), "memory_mib": memory, "kernel": platform.release(),
        "file_system": command_line(["findmnt", "-no", "FSTYPE", "-T", directory]),
        "sync_write_4k_us": {"p50": p50, "p99": p99}, "load_average": list(os.getloadavg()),
        "commit": command_line(["git", "-C", ROOT, "describe", "--always", "--dirty"]),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def with_children(pid):
    """A process with what it started, and so on: npm's workerd is a script that starts the program."""
    found = [pid]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with open(path, encoding="ascii") as file:
            for word in file.read().split():
                found += with_children(int(word))
    return found


class Process:
    """A peer: its processes with their children, stopped together."""

    def __init__(self, directory, name):
        self.dir, self.processes = os.path.join(directory, name), []

    def run(self, *command):
        os.makedirs(self.dir, exist_ok=True)
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                   start_new_session=True))

    def pids(self):
        return [pid for process in self.processes for pid in with_children(process.pid)]

    def stop(self):
        for process in self.processes:
            os.killpg(process.pid, signal.SIGTERM)  # workerd's starter keeps signals from workerd
        for process in self.processes:
            process.wait(30)

    def check_alive(self):
        if any(process.poll() is not None for process in self.processes):
            raise RuntimeError(f"a process has ended: see {self.dir}/log")


class Bindery:
    """Three nodes of the release build with a bucket."""

    def __init__(self, directory, bucket="bench", nodes=3, base_port=17900, memory="1GiB", flags=(),
                 binary=BINARY):
        self.cluster = Cluster(os.path.join(directory, f"bindery-{base_port}"), nodes, base_port, memory, flags)
        self.cluster.binary = binary
        self.bucket = bucket

    def start(self):
        self.cluster.start()
        path = f"/client/v4/accounts/{self.cluster.info['account_id']}/r2/buckets"
        status, answer = self.cluster.get(1, path, body={"name": self.bucket}, method="POST")
        if status not in (200, 409):
            raise RuntimeError(f"no bucket: {status} {answer}")

    def pids(self):
        return [self.cluster.running(node["id"]) for node in self.cluster.info["nodes"]]

    def stop(self):
        self.cluster.stop()

    def leaders(self):
        """How many groups each node leads, by node id."""
        _, answer = self.cluster.get(1, "/bindery/v1/status")
        led = [group["leader"] for group in answer["result"]["groups"]]
        return {node["id"]: led.count(node["id"]) for node in self.cluster.info["nodes"]}

    def load(self, op, clients, seconds, warmup, keys, size, first):
        s3 = self.cluster.info["s3"]
        command = [S3_LOAD, "--op", op, "--clients", str(clients), "--seconds", str(seconds), "--warmup", str(warmup),
                   "--keys", str(keys), "--bytes", str(size), "--first", str(first), "--bucket", self.bucket,
                   "--access-key", s3["access_key_id"], "--secret", s3["secret_access_key"]]
        for node in self.cluster.info["nodes"]:
            command += ["--endpoint", node["s3"].removeprefix("http://")]
        return command


class Etcd:
    """Three etcd members, set up as etcd's own tuning guide says for one rack: default heartbeat and election time-outs
    (they fit a round trip of up to 100 ms), best-effort disk priority 0, the largest recommended quota (8 GiB), its
    history compacted every few minutes."""

    def __init__(self, directory, base_port=17950):
        self.dir, self.base_port, self.processes = os.path.join(directory, "etcd"), base_port, []

    def address(self, number, port):
        return f"127.0.0.{number}:{self.base_port + port}"

    def start(self):
        os.makedirs(self.dir, exist_ok=True)
        members = ",".join(f"m{number}=http://{self.address(number, 1)}" for number in (1, 2, 3))
        for number in (1, 2, 3):
            command = ["etcd", "--name", f"m{number}", "--data-dir", os.path.join(self.dir, f"m{number}"),
                       "--listen-client-urls", f"http://{self.address(number, 0)}",
                       "--advertise-client-urls", f"http://{self.address(number, 0)}",
                       "--listen-peer-urls", f"http://{self.address(number, 1)}",
                       "--initial-advertise-peer-urls", f"http://{self.address(number, 1)}",
                       "--initial-cluster", members, "--initial-cluster-state", "new",
                       "--quota-backend-bytes", str(8 << 30), "--auto-compaction-mode", "periodic",
                       "--auto-compaction-retention", "5m", "--logger", "zap", "--log-level", "warn"]
            with open(os.path.join(self.dir, f"m{number}.log"), "ab") as log:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            subprocess.run(["ionice", "-c2", "-n0", "-p", str(process.pid)], check=False)
            self.processes.append(process)
        wait(self.healthy, 60, "etcd to be healthy")

    def healthy(self):
        try:
            for number in (1, 2, 3):
                with urllib.request.urlopen(f"http://{self.address(number, 0)}/health", timeout=2) as response:
                    if json.load(response)["health"] != "true":
                        return False
        except (OSError, urllib.error.URLError):
            return False
        return True

    def pids(self):
        return [process.pid for process in self.processes]

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)

    def load(self, op, clients, seconds, warmup, keys, size, first, conns=0):
        return [ETCD_LOAD, "-op", op, "-clients", str(clients), "-conns", str(conns), "-seconds", str(seconds),
                "-warmup", str(warmup), "-keys", str(keys), "-bytes", str(size), "-first", str(first),
                "-endpoints", ",".join(self.address(number, 0) for number in (1, 2, 3))]


def measure(system, command):
    """Runs a load generator; its report, with the CPU that the system's processes used meanwhile."""
    before = cpu_seconds(system.pids())
    begun = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: status {done.returncode}: {done.stderr[-2000:]} {done.stdout[-2000:]}")
    report = json.loads(done.stdout)
    used = cpu_seconds(system.pids()) - before
    report["server_cores"] = used / (time.monotonic() - begun)
    report["generator_cores"] = report["cpu_s"] / report["wall_s"]
    if "answered" in report:  # of the whole run, the warm-up included, as the CPU is
        report["server_cpu_us_per_op"] = used / report["answered"] * 1e6 if report["answered"] else 0
    else:
        report["server_cpu_us_per_op"] = report["server_cores"] / report["per_s"] * 1e6 if report["per_s"] else 0
    report["load_average"] = os.getloadavg()[0]
    return report


def settle(system, cores=0.15, seconds_max=120):
    """Waits until what filling a system has left it to do is done: compactions, checkpoints. Peers are given the same."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        before = cpu_seconds(system.pids())
        time.sleep(1)
        if cpu_seconds(system.pids()) - before < cores:
            return


def median(rounds, field):
    return statistics.median(each[field] for each in rounds)


def verdict(what, value, floor, at_least, unit=""):
    met = value >= floor if at_least else value < floor
    return f"- {what}: {value:.2f}{unit} (floor {'>=' if at_least else '<'} {floor:g}{unit}): {'met' if met else 'MISSED'}"


class Workspace:
    """A temporary directory on the disk that is measured; kept if the run fails."""

    def __init__(self, parent=None):
        self.path = tempfile.mkdtemp(prefix="bindery-bench-", dir=parent)

    def __enter__(self):
        return self.path

    def __exit__(self, kind, value, trace):
        if kind is None:
            shutil.rmtree(self.path)
        else:
            print(f"kept: {self.path}", file=sys.stderr)


def save(name, result, text):
    """Leaves bench/results/<name>.json and .md: the newest figures of a program; git keeps the older ones."""
    base = os.path.join(HERE, "results", name)
    with open(base + ".json", "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    with open(base + ".md", "w", encoding="utf-8") as file:
        file.write(text)


def machine_text(facts):
    return (f"{facts['cores']} cores {facts['cpu']}, {facts['memory_mib']} MiB, Linux {facts['kernel']}, "
            f"{facts['file_system']}; a durable 4 KiB write in place takes {facts['sync_write_4k_us']['p50']} us (p50), "
            f"{facts['sync_write_4k_us']['p99']} us (p99). Load average before: {facts['load_average'][0]:.1f}. "
            f"Commit {facts['commit']}, {facts['date']}.")
