"""What the tests of whole processes share: commands against a cluster, a node down and up again, damage in its files, the
logs of a failure, and that nothing stays behind."""
import contextlib
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "tools"), os.path.join(HERE, "..", "clients")]
import localcluster  # noqa: E402
import loopdisk  # noqa: E402

STOP_SECONDS = 30
LOG_LINES = 30


# ---- the cluster as a whole

def end(processes):
    """Asks all processes to stop, which they must do with status 0; those that do not are killed."""
    processes = list(processes)
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    statuses = []
    for process in running:
        try:
            statuses.append(process.wait(STOP_SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            statuses.append("none: it was killed")
    assert not any(statuses), f"at SIGTERM processes ended with the statuses {statuses}"
    ended = [process.returncode for process in processes]
    assert set(ended) <= {0, -signal.SIGKILL, localcluster.EXIT_STOP}, f"a process had ended before: statuses {ended}"


def kill_strays(cluster):
    """A failure can come between a start and its being noted (SIGTERM can come at any time)."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if any(word.startswith(cluster.dir.encode() + b"/") for word in file.read().split(b"\0")):
                os.kill(int(pid), signal.SIGKILL)


def show_logs(cluster):
    for name in sorted(os.listdir(cluster.dir)):
        if name.endswith(".log"):
            with open(os.path.join(cluster.dir, name), encoding="utf-8", errors="replace") as file:
                print(f"--- {name}\n" + "".join(file.readlines()[-LOG_LINES:]))


def on_sigterm(*_):
    """A test that is told to end fails as any other does."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # timeout(1) sends it twice: the second must not end the cleaning up
    sys.exit("SIGTERM")


@contextlib.contextmanager
def ended_after(cluster):
    """Ends the cluster's processes with the block, shows their logs if it fails. SIGTERM (a time limit) is a failure."""
    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield cluster
    except BaseException:
        show_logs(cluster)
        with contextlib.suppress(AssertionError):  # the first failure is the one to be told
            end(cluster.processes.values())
        kill_strays(cluster)
        raise
    end(cluster.processes.values())


@contextlib.contextmanager
def on_disks(cluster, kinds, size_mib=3072):
    """Gives each node a file system of its own for its data; yields these disks by the nodes' ids, removes them at the end."""
    disks = {}
    try:
        with ended_after(cluster):
            for node, kind in zip(cluster.info["nodes"], kinds):
                disk = loopdisk.LoopDisk(cluster.dir, f"disk{node['id']}", kind, size_mib)
                disks[node["id"]] = disk
                node["data"] = os.path.join(disk.path, "data")
            try:
                yield disks
            finally:
                for disk in disks.values():
                    if disk.frozen:
                        disk.freeze(False)
    finally:
        for disk in disks.values():
            disk.remove()


def leader_of_most(cluster, among=None):
    """The node that leads most groups, as told by the first one that answers."""
    for node in cluster.info["nodes"]:
        status, answer = cluster.get(node["id"], "/bindery/v1/status")
        if status == 200:
            leaders = [group["leader"] for group in answer["result"]["groups"]]
            return max(among or set(leaders), key=leaders.count)
    raise AssertionError("no node tells who leads")


def run(cluster, *words, node=1, token=None, stdin=""):
    """A command of the program against a node: the finished process."""
    env = {**os.environ, "BINDERY_URL": cluster.node(node)["rest"],
           "BINDERY_API_TOKEN": token or cluster.info["token"]}
    if cluster.info["ca"]:
        env["BINDERY_CA"] = cluster.info["ca"]
    return subprocess.run([localcluster.BINARY, *words], env=env, input=stdin, capture_output=True, text=True, timeout=120,
                          check=False)


def bindery(cluster, *words, expect=0, **more):
    """What the command printed; its status must be the expected one."""
    result = run(cluster, *words, **more)
    assert result.returncode == expect, f"{words}: status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


# ---- one node

def kill(cluster, number):
    cluster.signal(number, signal.SIGKILL)
    cluster.wait_gone(number)


def wait_missed(cluster, number, by):
    """The node `by` knows that the other is down: before that nobody may take its place."""
    def missed():
        status, answer = cluster.get(by, "/bindery/v1/status")
        return status == 200 and not any(node["up"] for node in answer["result"]["nodes"] if node["id"] == number)
    cluster.wait(missed, 30, f"node {by} to miss node {number}")


def spawn(cluster, number, **join):
    cluster.spawn(number, **join)
    cluster.save()


def log_of(cluster, number):
    with open(cluster.path(number, "log"), encoding="utf-8", errors="replace") as file:
        return file.read()


# ---- files

def files(directory, suffix=""):
    return [os.path.join(path, name) for path, _, names in os.walk(directory) for name in names
            if name.endswith(suffix)]


def biggest(directory, suffix=""):
    return max(files(directory, suffix), key=os.path.getsize)


def flip(path, offset):
    """One bit."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x10]))
