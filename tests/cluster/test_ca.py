#!/usr/bin/python3
"""The change of the cluster's CA on three node processes whose client ports speak TLS (ADR 0091): a client that trusts what
its operator gave it is served all the time; the node that was down meanwhile comes back by itself; the old CA does not go
while a member lacks a certificate of the new one; join tokens of before are good until it goes, and then void."""
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
import rig  # noqa: E402
import localcluster  # noqa: E402
from localcluster import Cluster, wait  # noqa: E402

PORT = 19800


class Client(threading.Thread):
    """Writes and reads one object after the other, each over a new connection, with the certificates of a file of its own."""

    def __init__(self, cluster, trusted):
        super().__init__()
        self.cluster, self.trusted = cluster, trusted
        self.over, self.served, self.failure = threading.Event(), 0, None

    def call(self, node, key, body=None):
        """Asks the other node, and again, while one restarts; a certificate that it does not trust is a failure at once."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.ask(node, key, body)
            except (urllib.error.URLError, ConnectionError) as error:
                reason = getattr(error, "reason", error)
                busy = isinstance(error, urllib.error.HTTPError) and error.code == 503
                closed = isinstance(reason, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError))
                if time.monotonic() > deadline or not (busy or closed):
                    raise
                node = 3 - node
                time.sleep(0.05)

    def ask(self, node, key, body):
        path = f"/client/v4/accounts/{self.cluster.info['account_id']}/r2/buckets/certs/objects/{key}"
        request = urllib.request.Request(self.cluster.node(node)["rest"] + path, data=body, method="PUT" if body else "GET",
                                         headers={"Authorization": f"Bearer {self.cluster.info['token']}"})
        context = ssl.create_default_context(cafile=self.trusted)
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.read()

    def run(self):
        try:
            while not self.over.is_set():
                node, body = 1 + self.served % 2, f"{self.served}".encode()
                self.call(node, f"k{self.served % 5}", body)
                assert self.call(3 - node, f"k{self.served % 5}") == body
                self.served += 1
                time.sleep(0.02)
        except Exception as failure:  # noqa: BLE001: told by the main thread
            self.failure = failure

    def check(self, more=3):
        """It goes on: `more` rounds from now."""
        served = self.served
        wait(lambda: self.failure or self.served >= served + more, 20, "the client to be served")
        assert self.failure is None, f"after {self.served} rounds: {self.failure!r}"


def picture(cluster, node=1):
    return json.loads(rig.bindery(cluster, "ca", "--json", node=node))


def lacking(cluster):
    return [member["id"] for member in picture(cluster)["members"] if not member["ready"]]


def serves_for(cluster, node, trusted):
    """Does the node's REST port show a certificate of these CAs?"""
    try:
        context = ssl.create_default_context(cafile=trusted)
        with urllib.request.urlopen(cluster.node(node)["rest"] + "/livez", timeout=10, context=context) as answer:
            return answer.status == 200
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            return False
        raise


def peer_ca(cluster, node):
    """The keys that signed the certificate on the node's disk, and what it trusts."""
    certs = os.path.join(cluster.node(node)["data"], "certs")
    with open(os.path.join(certs, "ca.pem"), encoding="ascii") as file:
        trusted = file.read()
    return trusted.count("BEGIN"), trusted


def join_gateway(cluster, name, address, token):
    """A gateway that joins with the token: its process."""
    with open(os.path.join(cluster.dir, f"{name}.log"), "wb") as log:
        return subprocess.Popen([localcluster.BINARY, "gateway", "--data", os.path.join(cluster.dir, name), "--listen", address,
                                 "--base-port", str(PORT), "--memory", "128MiB", "--join", f"127.0.0.1:{PORT + 3}",
                                 "--token", token], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)


def end(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def rotate(cluster, client):
    """The first step, with node 3 down. The client knows the old CA alone all the time."""
    old_token, spare_token = cluster.join_token(), cluster.join_token()
    assert "not being changed" in rig.bindery(cluster, "ca", "finish", expect=1)
    rig.kill(cluster, 3)
    rig.bindery(cluster, "ca", "rotate")
    assert "being changed already" in rig.bindery(cluster, "ca", "rotate", node=2, expect=1)
    wait(lambda: lacking(cluster) == [3], 20, "nodes 1 and 2 to have new certificates")
    assert "bindery ca" in rig.bindery(cluster, "ca", "finish", expect=1)
    assert "has no certificate" in rig.bindery(cluster, "ca", node=2)
    assert [peer_ca(cluster, node)[0] for node in (1, 2, 3)] == [2, 2, 1]
    client.check()
    rig.spawn(cluster, 3)  # it knows nothing of the new CA, and meets nobody but those who have certificates of it
    cluster.wait(lambda: cluster.ready(3), 30, "node 3 to be back")
    wait(lambda: lacking(cluster) == [], 20, "node 3 to have a new certificate")
    cluster.signal(2, signal.SIGTERM)  # new certificates on both sides
    cluster.wait_gone(2)
    rig.spawn(cluster, 2)
    cluster.wait(lambda: cluster.ready(2), 30, "node 2 to be back")
    client.check()
    gateway = join_gateway(cluster, "gateway", "127.0.0.7", old_token)
    wait(lambda: len(picture(cluster)["members"]) == 4 and lacking(cluster) == [], 30, "a joiner with an old token")
    return gateway, spare_token


def finish(cluster, client, directory, gateway, spare_token):
    """The second step, once the client has been given both."""
    old_only = os.path.join(directory, "old.pem")
    shutil.copy(client.trusted, old_only)
    both = rig.bindery(cluster, "ca", "pem")
    assert both.count("BEGIN CERTIFICATE") == 2
    with open(client.trusted + ".new", "w", encoding="ascii") as file:
        file.write(both)
    os.replace(client.trusted + ".new", client.trusted)
    client.check()
    rig.bindery(cluster, "ca", "finish", node=2)
    wait(lambda: not any(serves_for(cluster, node, old_only) for node in (1, 2, 3)), 20, "the ports to show the new CA")
    assert all(serves_for(cluster, node, client.trusted) for node in (1, 2, 3))
    client.check()
    now = picture(cluster)
    assert now["rotating"] is False and now["old"] is None and now["generation"] == 2
    wait(lambda: all(peer_ca(cluster, node) == (1, now["ca"]["pem"]) for node in (1, 2, 3)), 20, "the old CA to be dropped")
    end(gateway)
    late = join_gateway(cluster, "late", "127.0.0.8", spare_token)
    assert late.wait(30) == 1
    with open(os.path.join(cluster.dir, "late.log"), encoding="utf-8") as file:
        said = file.read()
    assert "not the one of the join token" in said and "bindery token join" in said, said


def run(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="256MiB", flags=("--shards", "4"), tls=True)
    with rig.ended_after(cluster):
        cluster.start()
        assert cluster.get(1, f"/client/v4/accounts/{cluster.info['account_id']}/r2/buckets", body={"name": "certs"})[0] == 200
        client = Client(cluster, os.path.join(directory, "client.pem"))
        shutil.copy(cluster.info["ca"], client.trusted)
        client.start()
        try:
            client.check()
            gateway, spare_token = rotate(cluster, client)
            finish(cluster, client, directory, gateway, spare_token)
        finally:
            client.over.set()
            client.join()
        for node in (1, 2, 3):  # and from the files alone
            cluster.signal(node, signal.SIGTERM)
            cluster.wait_gone(node)
        cluster.start()
        print(f"ca: changed under a client that was served {client.served} times; a node that was down is back")


def main():
    with tempfile.TemporaryDirectory(prefix="bindery-ca-") as directory:
        run(directory)


main()
