#!/usr/bin/python3
"""`bindery gateway` beside a cluster of three node processes: it joins without holding anything, serves S3, hides the
death of a node from its client, and goes on after a restart without a token."""
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))
import localcluster  # noqa: E402
from localcluster import Cluster, wait  # noqa: E402
import boto3  # noqa: E402
import botocore.config  # noqa: E402
import botocore.exceptions  # noqa: E402

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

    def s3(self):
        keys = self.cluster.info["s3"]
        # One attempt: an error that the SDK would hide by a retry is an error here.
        config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=40,
                                        s3={"addressing_style": "path"})
        return boto3.client("s3", endpoint_url=f"http://{HOST}:{PORT + 2}", region_name="auto", config=config,
                            aws_access_key_id=keys["access_key_id"], aws_secret_access_key=keys["secret_access_key"])


def refused(command, *words):
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1, f"status {result.returncode}: {command}"
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


def check_hides_a_death(cluster, s3):
    """Writes go on over SIGKILL of a node: the client sees 200 or 503, and nothing acknowledged is lost."""
    acknowledged, unavailable, slowest = {}, 0, 0.0
    for number in range(300):
        if number == 100:
            cluster.signal(2, signal.SIGKILL)
        began = time.monotonic()
        try:
            s3.put_object(Bucket="through", Key=f"n{number}", Body=b"%d" % number)
            acknowledged[f"n{number}"] = b"%d" % number
        except botocore.exceptions.ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error
            unavailable += 1
        slowest = max(slowest, time.monotonic() - began)
    assert len(acknowledged) >= 290, f"{unavailable} of 300 writes answered 503"
    for key, body in acknowledged.items():
        assert s3.get_object(Bucket="through", Key=key)["Body"].read() == body, key
    print(f"  {len(acknowledged)} of 300 writes acknowledged, the slowest took {slowest:.2f} s")


def run(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT)
    gateway = Gateway(cluster)
    try:
        cluster.make()
        refused(gateway.command(), "--join")
        token = cluster.join_token()
        gateway.start("--join", f"127.0.0.1:{PORT + 3}", "--token", token)
        check_holds_nothing(cluster, gateway)
        gateway.data, kept = gateway.data + "-other", gateway.data
        refused(gateway.command("--join", f"127.0.0.1:{PORT + 3}", "--token", token), "redeemed by another")
        gateway.data = kept
        check_serves(gateway.s3())
        check_hides_a_death(cluster, gateway.s3())
        gateway.stop()
        refused(gateway.command(word="start"), "gateway")
        gateway.start()
        assert gateway.s3().get_object(Bucket="through", Key="n0")["Body"].read() == b"0"
        gateway.stop()
    except BaseException:
        for name in ("gateway.log", "n1.log"):
            path = os.path.join(cluster.dir, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    print(f"--- {name}\n" + "".join(file.readlines()[-25:]))
        raise
    finally:
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.process.kill()
        cluster.stop()


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-gateway-") as directory:
        run(directory)
    print("gateway: all as promised")


main()
