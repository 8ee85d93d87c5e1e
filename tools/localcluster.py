"""A cluster of node processes on this machine's loopback addresses: what tools/up, tools/down, tools/cluster and the
tests with real clients share.

Directory D of a cluster: cluster.json (what a client needs), nN/ (data directory of node N), nN.log (its log),
nN.pid (pid of its process). Node N listens on 127.0.0.N with the ports P..P+3. Each node process runs in a group of
its own (gid 40000 + N) when we are root, so that `partition` can name its packets."""
import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.environ.get("BND_BINARY", os.path.join(ROOT, "build", "release", "bin", "bindery"))
GID_BASE = 40000
EXIT_STOP = 75


class ClusterError(Exception):
    pass


class Cluster:
    """tls: the client ports of a new cluster speak TLS with certificates of the cluster's own CA, whose file is
    info["ca"]; an existing cluster stays as it was made. memory: None for the program's default."""
    binary = BINARY  # the program that the nodes run

    def __init__(self, directory, nodes=3, base_port=7700, memory="1GiB", flags=(), tls=False):
        self.dir = os.path.abspath(directory)
        self.file = os.path.join(self.dir, "cluster.json")
        self.memory = memory
        self.flags = list(flags)
        self.processes = {}
        if os.path.exists(self.file):
            with open(self.file, encoding="utf-8") as file:
                self.info = json.load(file)
            self.base_port = self.info["base_port"]
            if tls and not self.info.get("ca"):
                raise ClusterError(f"the cluster in {self.dir} was made without TLS")
        else:
            self.base_port = base_port
            self.info = {"account_id": None, "token": None, "s3": None, "base_port": base_port,
                         "ca": os.path.join(self.dir, "n1", "certs", "ca.pem") if tls else None}
            self.info["nodes"] = [self.describe(number) for number in range(1, nodes + 1)]

    def describe(self, number):
        at, port = f"{self.scheme()}://127.0.0.{number}", self.base_port
        return {"id": number, "pid": None, "rest": f"{at}:{port}", "bindings": f"{at}:{port + 1}",
                "s3": f"{at}:{port + 2}", "data": os.path.join(self.dir, f"n{number}")}

    def scheme(self):
        return "https" if self.info.get("ca") else "http"

    def trust(self):
        """What urllib's https trusts: the cluster's CA and nothing else; None for http."""
        return ssl.create_default_context(cafile=self.info["ca"]) if self.info.get("ca") else None

    def path(self, number, suffix):
        return os.path.join(self.dir, f"n{number}.{suffix}")

    def save(self):
        temporary = self.file + ".new"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(self.info, file, indent=2)
            file.write("\n")
        os.replace(temporary, self.file)

    # ---- processes

    def node(self, number):
        for node in self.info["nodes"]:
            if node["id"] == number:
                return node
        raise ClusterError(f"no node {number}: this cluster has {[n['id'] for n in self.info['nodes']]}")

    def running(self, number):
        """The pid of the node's process, or None."""
        pid = self.node(number)["pid"]
        process = self.processes.get(number)
        if process is not None and process.pid == pid:  # its lock is free once its last thread is gone, not its first
            return pid if process.poll() is None else None
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return None
        return pid if self.node(number)["data"].encode() in words and state != "Z" else None

    def command(self, number, join=None, token=None):
        node = self.node(number)
        command = [self.binary, "start", "--data", node["data"], "--listen", f"127.0.0.{number}", "--base-port",
                   str(self.base_port), *(["--memory", self.memory] if self.memory else []), *self.client_ports(),
                   *self.flags]
        if join:
            command += ["--join", join, "--token", token]
        if os.geteuid() == 0:
            command = ["setpriv", "--regid", str(GID_BASE + number), "--clear-groups", *command]
        return command

    def client_ports(self):
        return [] if self.info.get("ca") else ["--insecure"]

    def spawn(self, number, join=None, token=None):
        """Starts a node's process; its log goes to nN.log, what it prints once to nN.out."""
        with open(self.path(number, "log"), "ab") as log, open(self.path(number, "out"), "wb") as out:
            process = subprocess.Popen(self.command(number, join, token), stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=log, start_new_session=True)
        self.processes[number] = process
        self.node(number)["pid"] = process.pid
        with open(self.path(number, "pid"), "w", encoding="ascii") as file:
            file.write(f"{process.pid}\n")

    def signal(self, number, what):
        pid = self.running(number)
        if pid is None:
            raise ClusterError(f"node {number} is not running")
        os.kill(pid, what)
        return pid

    def wait_gone(self, number, seconds=30):
        wait(lambda: self.running(number) is None, seconds, f"node {number} to stop")

    def reload(self):
        """Takes over what another process wrote: it may have started nodes again."""
        if os.path.exists(self.file):
            with open(self.file, encoding="utf-8") as file:
                self.info = json.load(file)

    def stop(self):
        self.reload()
        for node in self.info["nodes"]:
            if self.running(node["id"]):
                os.kill(node["pid"], signal.SIGCONT)
                os.kill(node["pid"], signal.SIGTERM)
        for node in self.info["nodes"]:
            self.wait_gone(node["id"])

    # ---- what clients see

    def get(self, number, path, body=None, method=None):
        """(status, parsed JSON or text) of a REST call to a node; status 0 if it does not answer."""
        headers = {"Authorization": f"Bearer {self.info['token']}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.node(number)["rest"] + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.trust()) as response:
                status, text = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode(errors="replace")
        except (OSError, TimeoutError):
            return 0, None
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def ready(self, number):
        return self.get(number, "/readyz")[0] == 200

    def settled(self, number=1):
        """True when every group has a leader and all the voters it should have, and every shard of KV its replicas."""
        status, answer = self.get(number, "/bindery/v1/status")
        return status == 200 and answer["result"]["settled"] and \
            sum(node["role"] == "storage" and node["state"] != "gone"
                for node in answer["result"]["nodes"]) == len(self.info["nodes"])

    def joined(self, number):
        status, answer = self.get(1, "/bindery/v1/status")
        return status == 200 and any(node["id"] == number and node["address"] == f"127.0.0.{number}:{self.base_port + 3}"
                                     for node in answer["result"]["nodes"])

    def join_token(self):
        status, answer = self.get(1, "/bindery/v1/join-tokens", body={}, method="POST")
        if status != 200:
            raise ClusterError(f"no join token from node 1: {status} {answer}")
        return answer["result"]["token"]

    # ---- making one

    def check_alive(self):
        for number, process in self.processes.items():
            status = process.poll()
            if status == EXIT_STOP:
                self.spawn(number)
                self.save()
            elif status is not None and status != -signal.SIGKILL:
                raise ClusterError(f"node {number} ended with status {status}:\n{self.tail(number)}")

    def tail(self, number, lines=15):
        with open(self.path(number, "log"), encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])

    def wait(self, condition, seconds, what):
        def checked():
            self.check_alive()
            return condition()
        wait(checked, seconds, what)

    def take_secrets(self):
        """What node 1 printed at the first start of a new cluster, or None before it did."""
        with open(self.path(1, "out"), encoding="utf-8") as file:
            lines = [line.split() for line in file if line.startswith("  ")]
        found = {" ".join(words[:-1]): words[-1] for words in lines}
        if "join token" not in found:
            return None
        os.unlink(self.path(1, "out"))
        return found

    def make(self):
        """A new cluster: node 1 makes it, the others join."""
        os.makedirs(self.dir, exist_ok=True)
        self.spawn(1)
        secrets = {}

        def told():
            secrets.update(self.take_secrets() or {})
            return bool(secrets)
        self.wait(told, 60, "node 1 to make the cluster")
        with open(os.path.join(self.node(1)["data"], "node.toml"), encoding="utf-8") as file:
            self.info["account_id"] = next(line.split('"')[1] for line in file if line.startswith("cluster"))
        self.info["token"] = secrets["admin token"]
        self.info["s3"] = {"access_key_id": secrets["S3 access key"], "secret_access_key": secrets["S3 secret key"],
                           "region": "auto"}
        self.save()
        self.wait(lambda: self.ready(1), 60, "node 1 to be ready")
        token = secrets["join token"]
        for node in self.info["nodes"][1:]:
            self.spawn(node["id"], join=f"127.0.0.1:{self.base_port + 3}", token=token or self.join_token())
            self.save()
            token = None
            # One after the other: ids are issued in the order of joining, and node N is to be at 127.0.0.N.
            self.wait(lambda number=node["id"]: self.joined(number), 60, f"node {node['id']} to join")

    def start(self):
        """Makes the cluster, or starts again what is not running of it; returns when all is ready and settled."""
        if self.info["token"] is None:
            self.make()
        else:
            for node in self.info["nodes"]:
                if not self.running(node["id"]):
                    self.spawn(node["id"])
            self.save()
        for node in self.info["nodes"]:
            self.wait(lambda number=node["id"]: self.ready(number), 120, f"node {node['id']} to be ready")
        self.wait(self.settled, 120, "every group to have its voters")


def wait(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {seconds} s for {what}")
        time.sleep(0.1)
