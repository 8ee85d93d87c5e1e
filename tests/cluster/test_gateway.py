#!/usr/bin/python3
"""`bindery gateway` beside a cluster of three node processes: it joins without holding anything, serves S3 and D1, hides the
death and the hanging of a node from its client, and goes on after a restart without a token."""
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402
import localcluster  # noqa: E402
from localcluster import Cluster, wait  # noqa: E402
import boto3  # noqa: E402
import botocore.config  # noqa: E402

PORT = 18700
HOST = "127.0.0.9"


class Gateway:
    """A gateway process; its log is D/gateway.log."""

    def __init__(self, cluster):
        self.cluster, self.process = cluster, None
        self.data = os.path.join(cluster.dir, "gateway")

    def command(self, *flags, word="gateway"):
        return [localcluster.BINARY, word, "--data", self.data, "--listen", HOST, "--base-port", str(PORT), "--insecure",
                "--memory", "256MiB", *flags]

    def start(self, *flags):
        with open(os.path.join(self.cluster.dir, "gateway.log"), "ab") as log:
            self.process = subprocess.Popen(self.command(*flags), stdin=subprocess.DEVNULL, stderr=log)
        wait(self.ready, 30, "the gateway to be ready")

    def ready(self):
        assert self.process.poll() is None, f"the gateway ended with status {self.process.returncode}"
        return self.text("/readyz?verbose")[0] == 200

    def text(self, path):
        result = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", f"http://{HOST}:{PORT}{path}"],
                                capture_output=True, text=True, timeout=30, check=False)
        body, _, status = result.stdout.rpartition("\n")
        return int(status or 0), body

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        assert status == 0, f"SIGTERM: status {status}"

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def s3(self):
        keys = self.cluster.info["s3"]
        # One attempt: an error that the SDK would hide by a retry is an error here.
        config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=40,
                                        s3={"addressing_style": "path"})
        return boto3.client("s3", endpoint_url=f"http://{HOST}:{PORT + 2}", region_name="auto", config=config,
                            aws_access_key_id=keys["access_key_id"], aws_secret_access_key=keys["secret_access_key"])


def refused(status, command, *words):
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == status, f"status {result.returncode}: {command}"
    for word in words:
        assert word in result.stderr, result.stderr


def check_holds_nothing(cluster, gateway):
    nodes = cluster.get(1, "/bindery/v1/status")[1]["result"]["nodes"]
    assert [node["role"] for node in nodes] == ["storage"] * 3 + ["gateway"], nodes
    cluster.wait(cluster.settled, 60, "every group to have its voters")
    groups = cluster.get(1, "/bindery/v1/status")[1]["result"]["groups"]
    members = {member["node"] for group in groups for member in group["members"]}
    assert members == {1, 2, 3}, members
    assert not {"journal", "state", "bodies"} & set(os.listdir(gateway.data)), os.listdir(gateway.data)


def check_serves(s3):
    s3.create_bucket(Bucket="through")
    for size in (10, 300_000, 9_000_000):
        body = os.urandom(size)
        s3.put_object(Bucket="through", Key=f"k{size}", Body=body)
        assert s3.get_object(Bucket="through", Key=f"k{size}")["Body"].read() == body
    assert len(s3.list_objects_v2(Bucket="through")["Contents"]) == 3


def start_again(cluster, node):
    cluster.wait_gone(node)
    rig.spawn(cluster, node)
    cluster.wait(cluster.settled, 60, "the killed node to be back")


def only_new(request, **_):
    """Debian's boto3 does not know conditions on PutObject: the header is added before signing."""
    request.headers.add_header("If-None-Match", "*")


def check_hides(s3, prefix, hurt, slowest_s):
    """Writes go on over the loss of a node that leads: no error, nothing lost, nothing done twice (a retry under
    another id would find the key there: 412)."""
    slowest = 0.0
    s3.meta.events.register_first("before-sign.s3.PutObject", only_new)
    for number in range(200):
        if number == 50:
            hurt()
        began = time.monotonic()
        s3.put_object(Bucket="through", Key=f"{prefix}{number}", Body=b"%d" % number)
        slowest = max(slowest, time.monotonic() - began)
    try:
        s3.put_object(Bucket="through", Key=f"{prefix}0", Body=b"again")
        raise AssertionError("a key was written twice: the condition does not reach the gateway")
    except s3.exceptions.ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 412, error
    for number in range(200):
        assert s3.get_object(Bucket="through", Key=f"{prefix}{number}")["Body"].read() == b"%d" % number, number
    assert slowest < slowest_s, f"a write took {slowest:.2f} s"
    print(f"  {prefix}: 200 of 200 writes, the slowest took {slowest:.2f} s")


def check_hides_a_death(cluster, s3):
    node = rig.leader_of_most(cluster, (2, 3))
    check_hides(s3, "killed", lambda: cluster.signal(node, signal.SIGKILL), 10)
    start_again(cluster, node)


def check_hides_a_pause(cluster, s3):
    """A node that hangs with its connections open is as bad as a dead one, and no worse."""
    node = rig.leader_of_most(cluster, (2, 3))
    check_hides(s3, "paused", lambda: cluster.signal(node, signal.SIGSTOP), 20)
    cluster.signal(node, signal.SIGCONT)
    cluster.wait(cluster.settled, 60, "the paused node to be back")


def check_streams_over_a_death(cluster, s3):
    """A body that is being read, and one that is being written, when a node dies: both go on."""
    whole = os.urandom(40_000_000)
    s3.put_object(Bucket="through", Key="stream", Body=whole)
    node = rig.leader_of_most(cluster, (2, 3))
    body = s3.get_object(Bucket="through", Key="stream")["Body"]
    got = body.read(1_000_000)
    cluster.signal(node, signal.SIGKILL)
    got += body.read()
    assert got == whole
    start_again(cluster, node)


def connections(gateway):
    """How often the gateway has connected to the nodes, by its log."""
    with open(os.path.join(gateway.cluster.dir, "gateway.log"), encoding="utf-8") as file:
        return sum(" connected" in line for line in file)


def check_d1_over_a_death(cluster, gateway):
    """Each transaction is executed once, and answered: the row that a retry under another id would insert again is there once."""
    def call(body, *words):
        url = "/".join((f"http://{HOST}:{PORT}/client/v4/accounts", cluster.info["account_id"], "d1/database", *words))
        result = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {cluster.info['token']}",
                                 "-H", "Content-Type: application/json", "-d", json.dumps(body), url],
                                capture_output=True, text=True, timeout=60, check=True)
        answer, _, status = result.stdout.rpartition("\n")
        assert status == "200", f"{status} {answer}"
        return json.loads(answer)["result"]
    database = call({"name": "through"})["uuid"]
    call({"sql": "CREATE TABLE t(n INTEGER)"}, database, "query")
    for number in range(60):
        rows = call({"sql": "INSERT INTO t VALUES(?) RETURNING n", "params": [number]}, database, "query")[0]
        assert rows["results"] == [{"n": number}], rows
        if number == 20:
            leader = int(rows["meta"]["served_by"].rpartition("-")[2])
            cluster.signal(leader, signal.SIGKILL)
    start_again(cluster, leader)
    rows = call({"sql": "SELECT count(*) AS all_of, count(DISTINCT n) AS different FROM t"}, database, "query")[0]["results"]
    assert rows == [{"all_of": 60, "different": 60}], rows


def run(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT)
    gateway = Gateway(cluster)
    with rig.ended_after(cluster), contextlib.closing(gateway):
        cluster.make()
        refused(2, gateway.command(), "--join")
        token = cluster.join_token()
        gateway.start("--join", f"127.0.0.1:{PORT + 3}", "--token", token)
        check_holds_nothing(cluster, gateway)
        gateway.data, kept = gateway.data + "-other", gateway.data
        refused(1, gateway.command("--join", f"127.0.0.1:{PORT + 3}", "--token", token), "redeemed by another")
        gateway.data = kept
        check_serves(gateway.s3())
        made = connections(gateway)
        check_hides(gateway.s3(), "quiet", lambda: None, 10)
        assert connections(gateway) == made, "requests made connections of their own"
        check_hides_a_death(cluster, gateway.s3())
        check_hides_a_pause(cluster, gateway.s3())
        check_streams_over_a_death(cluster, gateway.s3())
        check_d1_over_a_death(cluster, gateway)
        gateway.stop()
        refused(2, gateway.command(word="start"), "gateway")
        gateway.start()
        assert gateway.s3().get_object(Bucket="through", Key="killed0")["Body"].read() == b"0"
        gateway.stop()


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-gateway-") as directory:
        run(directory)
    print("gateway: all as promised")


main()
