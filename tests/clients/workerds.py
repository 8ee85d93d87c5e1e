"""Released workerds in cluster mode on a Bindery bucket: what the demo and its test share.

Worker N listens on 127.0.0.1:<port + N> for HTTP and on <port + 100 + N> for its peers. Beside it runs `bindery gateway`
on 127.0.0.<101 + N>, so that the death of a node is a slower answer to it and not an error. If the cluster speaks TLS,
so does the gateway, and workerd trusts the cluster's CA by SSL_CERT_FILE."""
import hashlib
import os
import signal
import subprocess
import urllib.error
import urllib.request

import localcluster

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = os.path.join(HERE, "node_modules")
WORKERD = os.path.join(MODULES, ".bin", "workerd")
BUCKET = "durable-objects"

CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "app", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-04-01",
      durableObjectNamespaces = [(className = "Counter", uniqueKey = "demo-Counter", enableSql = true)],
      durableObjectStorage = (localDisk = "do-storage"),
      bindings = [(name = "COUNTER", durableObjectNamespace = "Counter")])),
    (name = "do-storage", disk = (path = "{disk}", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:{http}", http = (), service = "app")],
  cluster = (bucket = "s3://{bucket}/c1",
    bucketOptions = ["aws_endpoint={endpoint}", "aws_region=auto", "aws_access_key_id={access_key}",
      "aws_secret_access_key={secret_key}"],
    address = "127.0.0.1:{peers}", key = "{key}"),
);
"""


def install():
    """The npm clients of package-lock.json, once per lock. (Not `npm ci`: npm 11 finds a lock without registry addresses
    incomplete for packages of other platforms.)"""
    stamp = os.path.join(MODULES, ".lock-digest")
    with open(os.path.join(HERE, "package-lock.json"), "rb") as file:
        wanted = hashlib.sha256(file.read()).hexdigest()
    if os.path.exists(stamp) and open(stamp, encoding="ascii").read() == wanted:
        return
    subprocess.run(["npm", "install", "--no-save", "--no-audit", "--no-fund"], cwd=HERE, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    with open(stamp, "w", encoding="ascii") as file:
        file.write(wanted)


class Workerds:
    def __init__(self, cluster, directory, count=2, port=18080):
        self.cluster, self.dir, self.port = cluster, directory, port
        self.processes, self.gateways = [None] * count, [None] * count
        self.key = "demo-key-" * 5

    def url(self, number):
        return f"http://127.0.0.1:{self.port + number}"

    def start_gateway(self, number):
        """Starts the gateway beside a workerd; returns when it is ready."""
        host, port = f"127.0.0.{101 + number}", self.cluster.base_port
        home = os.path.join(self.dir, f"gateway{number}")
        command = [localcluster.BINARY, "gateway", "--data", home, "--listen", host, "--base-port", str(port),
                   *self.cluster.client_ports(), "--memory", "128MiB"]
        if not os.path.exists(os.path.join(home, "node.toml")):
            command += ["--join", f"127.0.0.1:{port + 3}", "--token", self.cluster.join_token()]
        with open(home + ".log", "ab") as log:
            self.gateways[number] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                     start_new_session=True)
        localcluster.wait(lambda: self.gateway_ready(number), 30, "the gateway to be ready")

    def gateway_url(self, number, port):
        """Of a port of the gateway beside a workerd: 0 REST, 2 S3."""
        return f"{self.cluster.scheme()}://127.0.0.{101 + number}:{self.cluster.base_port + port}"

    def gateway_ready(self, number):
        try:
            with urllib.request.urlopen(self.gateway_url(number, 0) + "/readyz", timeout=5,
                                        context=self.cluster.trust()) as response:
                return response.status == 200
        except OSError:
            return False

    def make_bucket(self, client):
        """Objects of one Durable Object share a shard: keys are placed by their first five segments."""
        client.meta.events.register("before-sign.s3.CreateBucket",
                                    lambda request, **_: request.headers.add_header("x-bindery-path-segments", "5"))
        client.create_bucket(Bucket=BUCKET)

    def start(self, number):
        home = os.path.join(self.dir, f"workerd{number}")
        disk = os.path.join(home, "disk")
        os.makedirs(disk, exist_ok=True)
        s3 = self.cluster.info["s3"]
        if self.gateways[number] is None:
            self.start_gateway(number)
        config = CONFIG.format(disk=disk, http=self.port + number, peers=self.port + 100 + number, bucket=BUCKET,
                               endpoint=self.gateway_url(number, 2), access_key=s3["access_key_id"],
                               secret_key=s3["secret_access_key"], key=self.key)
        with open(os.path.join(HERE, "demo", "worker.js"), encoding="utf-8") as source, \
                open(os.path.join(home, "worker.js"), "w", encoding="utf-8") as copy:
            copy.write(source.read())
        with open(os.path.join(home, "config.capnp"), "w", encoding="utf-8") as file:
            file.write(config)
        trust = {"SSL_CERT_FILE": self.cluster.info["ca"]} if self.cluster.info.get("ca") else {}
        with open(os.path.join(home, "log"), "ab") as log:
            self.processes[number] = subprocess.Popen(
                [WORKERD, "serve", "--experimental", os.path.join(home, "config.capnp")], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, env={**os.environ, **trust})

    def call(self, number, path, method="GET", timeout=30):
        """The body of the answer; raises OSError for anything but a 200."""
        request = urllib.request.Request(self.url(number) + path, method=method)
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.read()

    def answers(self, number):
        try:
            self.call(number, "/warm-up", timeout=5)
            return True
        except OSError:
            return False

    def kill(self, number, what=signal.SIGKILL):
        process = self.processes[number]
        if process is not None and process.poll() is None:
            os.killpg(process.pid, what)
            process.wait(30)
        self.processes[number] = None

    def stop(self):
        for number in range(len(self.processes)):
            self.kill(number)
            if self.gateways[number] is not None:
                self.gateways[number].terminate()
                self.gateways[number].wait(30)
