#!/usr/bin/python3
"""Who may not, and what comes of it, on three node processes: tokens and keys without the scope, revoked ones, a peer
with a certificate of another CA, a join token redeemed twice, two thousand connections that trickle their heads. Each
is refused or shed and written down, and nobody else notices."""
import json
import os
import resource
import selectors
import signal
import socket
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
import boto3  # noqa: E402
import botocore.config  # noqa: E402
import botocore.exceptions  # noqa: E402

PORT = 19600
SLOW, SLOW_MAX, SLOW_FROM = 2000, 1500, "127.0.0.9"
REVOKED_SECONDS = 5
FLAGS = ("--head-timeout-ms", "2000", "--connections-per-address", str(SLOW_MAX))


def rest(cluster, node, path, token=None, body=None, method=None):
    """(status, code of the first error or None)."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(cluster.node(node)["rest"] + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, None
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["errors"][0]["code"]


def s3(cluster, node, key, secret):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=cluster.node(node)["s3"], region_name="auto", config=config,
                        aws_access_key_id=key, aws_secret_access_key=secret)


def s3_error(call, **arguments):
    try:
        call(**arguments)
        return None
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]


def log_has(cluster, node, *words):
    return any(all(word in line for word in words) for line in rig.log_of(cluster, node).splitlines())


def metric(cluster, node, name):
    _, text = cluster.get(node, "/metrics")
    for line in text.splitlines():
        if line.startswith(f"bindery_{name} "):
            return int(line.split()[1])
    raise AssertionError(f"no metric {name}")


# ---- who asks

def check_tokens(cluster):
    buckets = f"/client/v4/accounts/{cluster.info['account_id']}/r2/buckets"
    reader = json.loads(rig.bindery(cluster, "token", "create", "--permissions", "Workers R2 Storage Read", "--json"))
    assert reader["permissions"] == ["object_read"], reader
    secret = reader["token"]
    assert rest(cluster, 2, buckets, secret) == (200, None)
    assert rest(cluster, 2, buckets, secret, {"name": "never"}) == (403, 10000)
    assert rest(cluster, 2, "/bindery/v1/tokens", secret) == (403, 10000)
    assert rest(cluster, 2, buckets) == (400, 9106)
    assert rest(cluster, 2, buckets.replace(cluster.info["account_id"], "f" * 32), secret) == (403, 9109)
    assert rest(cluster, 2, "/client/v4/user/tokens/verify", "nobody") == (401, 1000)
    wait(lambda: log_has(cluster, 2, "component=audit", f"who={reader['id']}", "call=POST", "status=403",
                         f"path={buckets}"), 10, "the refusal in node 2's log")
    assert log_has(cluster, 2, "component=audit", "who=-", "status=400")
    assert not log_has(cluster, 2, secret), "a secret is in a log"
    assert metric(cluster, 2, "audit_refusals_total") >= 5
    rig.bindery(cluster, "token", "rm", reader["id"], node=3)
    began = time.monotonic()
    wait(lambda: all(rest(cluster, node, buckets, secret) == (401, 10000) for node in (1, 2, 3)), REVOKED_SECONDS,
         "the token to be refused by every node")
    print(f"  a revoked token was refused everywhere after {time.monotonic() - began:.1f} s")
    wait(lambda: log_has(cluster, 3, "component=audit", "call=DELETE", "status=200", "path=/bindery/v1/tokens/"), 10,
         "the revocation in node 3's log")


def check_tokens_of_a_bucket(cluster):
    """Object routes of its own bucket, by its permissions, on every node; nothing beside it."""
    account = f"/client/v4/accounts/{cluster.info['account_id']}"
    buckets = f"{account}/r2/buckets"
    made = {name: json.loads(rig.bindery(cluster, "token", "create", "--bucket", "mine", "--permissions", permissions, "--json"))
            for name, permissions in (("reader", "object_read"), ("writer", "object_read,object_write,bucket_admin"))}
    listed = {token["id"]: token for token in json.loads(rig.bindery(cluster, "token", "ls", "--json", node=2))}
    assert [listed[token["id"]]["bucket"] for token in made.values()] == ["mine", "mine"], listed
    reader, writer = (made[name]["token"] for name in ("reader", "writer"))
    for node in (1, 2, 3):
        assert rest(cluster, node, f"{buckets}/mine/objects/new", writer, {"a": node}, "PUT") == (200, None)
        for secret in (reader, writer):
            for path in ("/mine", "/mine/objects", "/mine/objects/k", "/mine/objects/new"):
                assert rest(cluster, node, buckets + path, secret) == (200, None), path
            for path in ("/other", "/other/objects", "/other/objects/k", "/other/objects/mine", "/none/objects/k"):
                assert rest(cluster, node, buckets + path, secret) == (403, 10000), path
            assert rest(cluster, node, f"{account}/tokens/verify", secret) == (200, None)
            assert rest(cluster, node, buckets, secret) == (403, 10000)
            assert rest(cluster, node, "/bindery/v1/status", secret) == (403, 10000)
        for path in ("/other/objects/k", "/other%2fobjects%2fk"):
            assert rest(cluster, node, buckets + path, writer, {}, "PUT") == (403, 10000), path
        assert rest(cluster, node, f"{buckets}/mine/../other/objects/k", writer, {}, "PUT") == (404, 7003)
        assert rest(cluster, node, f"{buckets}/other", writer, method="DELETE") == (403, 10000)
        assert rest(cluster, node, buckets, writer, {"name": "third"}) == (403, 10000)
        assert rest(cluster, node, f"{buckets}/mine/objects/new", reader, {}, "PUT") == (403, 10000)
        assert rest(cluster, node, f"{buckets}/mine/objects/new", reader, method="DELETE") == (403, 10000)
    assert rest(cluster, 1, f"{buckets}/mine", writer, method="DELETE") == (409, 10008), "its own bucket, which is not empty"
    said = rig.bindery(cluster, "token", "create", "--bucket", "mine", "--permissions", "all", expect=1)
    assert "cluster_admin" in said, said
    assert "bucket's name" in rig.bindery(cluster, "token", "create", "--bucket", "Not A Name", expect=1)
    assert rest(cluster, 1, f"{buckets}/mine/objects/new", writer, method="DELETE") == (200, None)
    for token in made.values():
        rig.bindery(cluster, "token", "rm", token["id"])


def check_keys(cluster):
    admin = s3(cluster, 1, cluster.info["s3"]["access_key_id"], cluster.info["s3"]["secret_access_key"])
    for bucket in ("mine", "other"):
        admin.create_bucket(Bucket=bucket)
        admin.put_object(Bucket=bucket, Key="k", Body=b"v")
    wait(lambda: log_has(cluster, 1, "component=audit", "port=s3", "call=PUT", "status=200", "path=/mine"), 10,
         "the bucket's making in node 1's log")
    made = {}
    for flag in ("--read-only", "--write"):
        made[flag] = json.loads(rig.bindery(cluster, "key", "create", "--bucket", "mine", flag, "--json"))
    clients = {flag: [s3(cluster, node, key["access_key_id"], key["secret_access_key"]) for node in (1, 2, 3)]
               for flag, key in made.items()}
    for flag, nodes in clients.items():
        for client in nodes:
            assert client.get_object(Bucket="mine", Key="k")["Body"].read() == b"v"
            expected = "AccessDenied" if flag == "--read-only" else None
            assert s3_error(client.put_object, Bucket="mine", Key=flag, Body=b"x") == expected, flag
            assert s3_error(client.get_object, Bucket="other", Key="k") == "AccessDenied"
            assert s3_error(client.delete_bucket, Bucket="mine") == "AccessDenied"
            assert [b["Name"] for b in client.list_buckets()["Buckets"]] in ([], ["mine"]), "other buckets are seen"
    rig.bindery(cluster, "key", "rm", made["--write"]["access_key_id"])
    began = time.monotonic()
    wait(lambda: all(s3_error(client.get_object, Bucket="mine", Key="k") == "InvalidAccessKeyId"
                     for client in clients["--write"]), REVOKED_SECONDS, "the key to be refused by every node")
    print(f"  a revoked key was refused everywhere after {time.monotonic() - began:.1f} s")
    for client in clients["--read-only"]:
        assert s3_error(client.get_object, Bucket="mine", Key="k") is None
    wait(lambda: log_has(cluster, 3, "component=audit", "port=s3", f"who={made['--write']['access_key_id']}",
                         "status=403"), 10, "the refusal in node 3's log")


# ---- peers

def check_foreign_certificate(cluster, directory):
    """A certificate that says it is node 2, of a CA that is not the cluster's."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=directory, timeout=30)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Bindery CA", "-days", "9")
    openssl("req", "-x509", *key, "-keyout", "node.key", "-out", "node.pem", "-subj", "/CN=node", "-days", "9", "-CA",
            "ca.pem", "-CAkey", "ca.key", "-addext",
            f"subjectAltName=URI:bindery://{cluster.info['account_id']}/node/2", "-addext",
            "extendedKeyUsage=clientAuth,serverAuth")
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(os.path.join(directory, "node.pem"), os.path.join(directory, "node.key"))
    before = metric(cluster, 1, "peers_refused_total")
    with socket.create_connection(("127.0.0.1", PORT + 3), timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as peer:
                peer.sendall(b"\0" * 64)
                answer = peer.recv(1)
        except (ssl.SSLError, ConnectionError):
            answer = b""
    assert answer == b"", "node 1 answered a stranger"
    wait(lambda: metric(cluster, 1, "peers_refused_total") > before, 10, "the refusal to be counted")
    assert log_has(cluster, 1, "component=mesh", "connection from 127.0.0.1", "failed"), cluster.tail(1)
    assert all(node["up"] for node in cluster.get(1, "/bindery/v1/status")[1]["result"]["nodes"])


def check_join_token(cluster, directory):
    token = cluster.join_token()

    def join(name, listen):
        return subprocess.Popen([localcluster.BINARY, "gateway", "--data", os.path.join(directory, name), "--listen", listen,
                                 "--base-port", str(PORT), "--insecure", "--memory", "128MiB", "--join",
                                 f"127.0.0.1:{PORT + 3}", "--token", token], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with join("first", "127.0.0.7") as first:
        try:  # a gateway: it moves no data, and its death costs nobody anything
            member = os.path.join(directory, "first", "node.toml")
            wait(lambda: os.path.exists(member), 30, "the first to be admitted")
            with join("second", "127.0.0.8") as second:
                _, said = second.communicate(timeout=60)
            assert second.returncode == 1 and "redeemed by another" in said, said
            assert not os.path.exists(os.path.join(directory, "second", "node.toml"))
        finally:
            first.send_signal(signal.SIGKILL)
            first.communicate()
    identity = token.split(".")[1]
    wait(lambda: log_has(cluster, 1, "component=audit", f"who={identity}", "call=JOIN", "status=DENIED"), 10,
         "the refusal in node 1's log")
    assert log_has(cluster, 1, "component=audit", f"who={identity}", "call=JOIN", "status=OK")
    forged = token.rsplit(".", 1)[0] + "." + "A" * 43
    token = forged
    with join("third", "127.0.0.8") as third:
        _, said = third.communicate(timeout=60)
    assert third.returncode == 1 and "unknown" in said, said


# ---- slow heads

class Other(threading.Thread):
    """A client like any other, each request on a new connection, while the port is under attack."""

    def __init__(self, cluster):
        super().__init__()
        keys = cluster.info["s3"]
        client = s3(cluster, 1, keys["access_key_id"], keys["secret_access_key"])
        self.urls = [(method, client.generate_presigned_url(operation, Params={"Bucket": "mine", "Key": "under"}))
                     for method, operation in (("PUT", "put_object"), ("GET", "get_object"))]
        self.over, self.served, self.slowest, self.failure = threading.Event(), 0, 0.0, None

    def run(self):
        try:
            while not self.over.is_set():
                for method, url in self.urls:
                    began = time.monotonic()
                    request = urllib.request.Request(url, data=b"x" * 100 if method == "PUT" else None, method=method)
                    with urllib.request.urlopen(request, timeout=20) as response:
                        assert response.status == 200
                    self.served += 1
                    self.slowest = max(self.slowest, time.monotonic() - began)
        except Exception as failure:  # noqa: BLE001: told by the main thread
            self.failure = failure


class Slow:
    """Connections that send a byte of a head now and then, until the server ends them."""

    def __init__(self, count, address):
        self.selector, self.open = selectors.DefaultSelector(), set()
        for _ in range(count):
            client = socket.socket()
            client.bind((SLOW_FROM, 0))
            client.settimeout(10)
            client.connect(address)
            client.setblocking(False)
            self.selector.register(client, selectors.EVENT_READ)
            self.open.add(client)
            self.say(client, b"GET /mine/slow HTTP/1.1\r\nHost: h\r\nX-")

    def drop(self, client):
        if client in self.open:
            self.open.discard(client)
            self.selector.unregister(client)
            client.close()

    def say(self, client, data):
        try:
            client.send(data)
        except BlockingIOError:
            pass
        except OSError:
            self.drop(client)

    def trickle(self):
        """True when none is left."""
        for key, _ in self.selector.select(0.05):
            try:
                ended = key.fileobj.recv(4096) == b""
            except BlockingIOError:
                ended = False
            except OSError:
                ended = True
            if ended:
                self.drop(key.fileobj)
        for client in list(self.open):
            self.say(client, b"a")
        return not self.open


def check_slow_heads(cluster):
    def counted(name):
        return metric(cluster, 1, f'http_{name}_total{{port="s3"}}')
    other = Other(cluster)
    other.start()
    try:
        slow = Slow(SLOW, ("127.0.0.1", PORT + 2))
        wait(slow.trickle, 25, "every slow connection to be shed")
    finally:
        other.over.set()
        other.join()
    assert other.failure is None, f"another client after {other.served} requests: {other.failure!r}"
    assert other.served >= 10, other.served
    refused, shed = counted("connections_refused_address"), counted("timeouts_head")
    assert refused >= SLOW - SLOW_MAX and refused + shed >= SLOW, (refused, shed)
    wait(lambda: log_has(cluster, 1, "component=http", "slow heads", SLOW_FROM), 15, "the slow heads in node 1's log")
    print(f"  of {SLOW} slow connections {refused} were refused, {shed} shed; another client's {other.served} requests were "
          f"served, the slowest in {other.slowest:.2f} s")


# ---- the certificate of the client ports

def serial(address):
    pem = ssl.get_server_certificate(address, timeout=10)
    shown = subprocess.run(["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True, check=True)
    return shown.stdout.strip()


def check_reload(directory):
    """SIGHUP: the user's new certificate is shown from then on; one that cannot be read changes nothing."""
    certificate, key, log = (os.path.join(directory, name) for name in ("user.pem", "user.key", "tls.log"))

    def issue():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                        key, "-out", certificate, "-subj", "/CN=localhost", "-days", "9"], check=True, capture_output=True)

    def says(text):
        with open(log, encoding="utf-8") as file:
            return text in file.read()
    issue()
    address = ("127.0.0.11", PORT)
    with open(log, "wb") as sink, subprocess.Popen(
            [localcluster.BINARY, "start", "--data", os.path.join(directory, "tls"), "--listen", address[0], "--base-port",
             str(PORT), "--memory", "128MiB", "--shards", "1", "--tls-cert", certificate, "--tls-key", key],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=sink) as process:
        try:
            wait(lambda: says("serves: REST"), 30, "the node to serve")
            first = serial(address)
            issue()
            process.send_signal(signal.SIGHUP)
            wait(lambda: serial(address) != first, 10, "the new certificate")
            second = serial(address)
            with open(certificate, "w", encoding="ascii") as file:
                file.write("no certificate\n")
            process.send_signal(signal.SIGHUP)
            wait(lambda: says("keep their old certificate"), 10, "the refusal")
            assert serial(address) == second
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def run(directory):
    cluster = Cluster(os.path.join(directory, "cluster"), base_port=PORT, memory="256MiB", flags=FLAGS)
    with rig.ended_after(cluster):
        cluster.start()
        check_tokens(cluster)
        check_keys(cluster)
        check_tokens_of_a_bucket(cluster)
        check_foreign_certificate(cluster, directory)
        check_slow_heads(cluster)
        check_join_token(cluster, directory)
        check_reload(directory)


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="bindery-security-") as directory:
        run(directory)
    print("security: all as promised")


main()
