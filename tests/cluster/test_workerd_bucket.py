#!/usr/bin/python3
"""What workerd's cluster mode needs of its bucket, asked by the requests it sends: PUT of a log record, GET of own.json,
conditional PUT of own.json, single DELETEs, over keep-alive connections to a gateway. While leaders are killed and paused,
and while 1,500 connections ask at once, a request may be late, and it may be answered 503 with Retry-After. It must not be
answered 500, 502, 504, or with a 404 or 412 that is not true, and its connection must not be cut: workerd retries none of
these, and takes a false 404 or 412 for the loss of the object."""
import asyncio
import contextlib
import hashlib
import os
import resource
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402
from localcluster import Cluster, wait  # noqa: E402
from s3clients import boto  # noqa: E402
from workerds import BUCKET, Workerds  # noqa: E402
from botocore.auth import S3SigV4Auth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402

PORT = 18500
OBJECTS, CONNECTIONS, LATE_MAX_S = 20, 1500, 19
ELECTION_S = 4  # a killed or paused node stays so at least that long
LOG_RECORD = os.urandom(400)


class Signer(S3SigV4Auth):
    def payload(self, request):
        return "UNSIGNED-PAYLOAD"


class Bucket:
    """One keep-alive connection, as workerd's client uses it: one request at a time."""

    def __init__(self, test):
        self.test, self.streams = test, None

    async def call(self, method, key, body=b"", condition=()):
        """(status, body, etag) of an answer that may be given; anything else is noted as wrong."""
        head = self.test.sign(method, key, body, condition)
        begun = time.monotonic()
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection(self.test.host, self.test.port)
            reader, writer = self.streams
            writer.write(head + body)
            status, headers, answer = await self.read(reader, method)
        except (OSError, EOFError, ValueError) as error:
            self.streams = None
            self.test.wrong.append(f"{method} {key}: {type(error).__name__} {error} after {time.monotonic() - begun:.2f} s")
            return 0, b"", ""
        took = time.monotonic() - begun
        self.test.count(status, took)
        if took > LATE_MAX_S or status not in (200, 204, 404, 412, 503) or \
                (status == 503 and headers.get("retry-after") is None):
            self.test.wrong.append(f"{method} {key}: {status} after {took:.2f} s: {answer[:200]}")
        if headers.get("connection") == "close":
            self.streams[1].close()
            self.streams = None
        return status, answer, headers.get("etag", "")

    @staticmethod
    async def read(reader, method):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
        return int(head[0].split()[1]), headers, await reader.readexactly(length)

    def close(self):
        if self.streams is not None:
            self.streams[1].close()


class Test:
    def __init__(self, cluster, host, port):
        s3 = cluster.info["s3"]
        self.cluster, self.host, self.port = cluster, host, port
        self.signer = Signer(Credentials(s3["access_key_id"], s3["secret_access_key"]), "s3", "auto")
        self.wrong, self.statuses, self.slowest, self.running = [], {}, 0, True

    def sign(self, method, key, body, condition):
        request = AWSRequest(method, f"http://{self.host}:{self.port}/{BUCKET}/{key}", data=body, headers=dict(condition))
        self.signer.add_auth(request)
        lines = [f"{method} /{BUCKET}/{key} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Content-Length: {len(body)}",
                 *(f"{name}: {value}" for name, value in request.headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def count(self, status, took):
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.slowest = max(self.slowest, took)

    def check(self, condition, what):
        if not condition:
            self.wrong.append(what)

    async def durable_object(self, number):
        """Commits as an owner does until told to stop. An outcome of 503 is unknown: what follows it may be either."""
        prefix = f"c1/v1/do/ns/object{number}"
        bucket, etags, epoch = Bucket(self), set(), 0
        while self.running:
            epoch += 1
            own = b'{"epoch":%d}' % epoch
            condition = [("If-Match", sorted(etags)[0])] if len(etags) == 1 else [("If-None-Match", "*")] if not etags else []
            status, _, etag = await bucket.call("PUT", f"{prefix}/own.json", own, condition)
            self.check(status != 412 or len(etags) > 1 or epoch == 1, f"{prefix}: a false 412 at epoch {epoch}")
            etags = {etag} if status == 200 else etags | {'"%s"' % hashlib.md5(own).hexdigest()}
            await self.commits(bucket, prefix, epoch, etags)
        bucket.close()

    async def commits(self, bucket, prefix, epoch, etags):
        acknowledged = []
        for number in range(8):
            status, _, _ = await bucket.call("PUT", f"{prefix}/log/{epoch}/{number}", LOG_RECORD)
            self.check(status in (0, 200, 503), f"{prefix}: PUT of a log record: {status}")
            acknowledged += [number] if status == 200 else []
            status, answer, etag = await bucket.call("GET", f"{prefix}/own.json")
            self.check(status in (0, 200, 503) or (status == 404 and epoch == 1), f"{prefix}: GET of own.json: {status}")
            if status == 200:
                self.check(etag in etags, f"{prefix}: own.json is {answer}, which nobody wrote last")
                etags.clear()
                etags.add(etag)
        for number in acknowledged:
            status, answer, _ = await bucket.call("GET", f"{prefix}/log/{epoch}/{number}")
            self.check(status in (0, 503) or answer == LOG_RECORD, f"{prefix}: log record {epoch}/{number} is lost: {status}")
        deletes = [Bucket(self) for _ in acknowledged]
        await asyncio.gather(*(each.call("DELETE", f"{prefix}/log/{epoch}/{number}")
                               for each, number in zip(deletes, acknowledged)))
        for each in deletes:
            each.close()

    async def goes_on(self, after):
        """As long as it may take, each object can be answered 200 ten times more."""
        goal = self.statuses.get(200, 0) + 10 * OBJECTS
        await asyncio.to_thread(wait, lambda: self.statuses.get(200, 0) >= goal, LATE_MAX_S, f"commits after {after}")

    async def elections(self):
        """Leaders killed, paused, started again."""
        objects = [asyncio.create_task(self.durable_object(number)) for number in range(OBJECTS)]
        await self.goes_on("the start")
        for what in (signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL):
            leader = await asyncio.to_thread(rig.leader_of_most, self.cluster)
            self.cluster.signal(leader, what)
            await asyncio.sleep(ELECTION_S)
            await self.goes_on(f"signal {what} to node {leader}")
            if what == signal.SIGSTOP:
                self.cluster.signal(leader, signal.SIGCONT)
            await asyncio.to_thread(self.cluster.start)
        self.running = False
        await asyncio.gather(*objects)

    async def flood(self):
        """Many connections, each with a request at the same time, again and again; then all idle but one."""
        buckets = [Bucket(self) for _ in range(CONNECTIONS)]

        async def ask(number, bucket, turn):
            key = f"c1/v1/do/ns/flood{number % 64}/log/{turn}/{number}"
            status, _, _ = await bucket.call("PUT", key, LOG_RECORD)
            self.check(status in (0, 200, 503), f"{key}: {status}")
            status, answer, _ = await bucket.call("GET", f"c1/v1/do/ns/object{number % OBJECTS}/own.json")
            self.check(status in (0, 503) or answer.startswith(b'{"epoch"'), f"own.json: {status} {answer}")
        for turn in range(3):
            await asyncio.gather(*(ask(number, bucket, turn) for number, bucket in enumerate(buckets)))
        self.check(all(bucket.streams for bucket in buckets), "a keep-alive connection was closed")
        for bucket in buckets:
            bucket.close()

    def report(self, what):
        for line in self.wrong[:20]:
            print(f"WRONG: {line}")
        assert not self.wrong, f"{what}: {len(self.wrong)} answers that workerd cannot take"
        print(f"  {what}: answers {dict(sorted(self.statuses.items()))}, the slowest after {self.slowest:.2f} s", flush=True)
        self.statuses, self.slowest = {}, 0


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 16384)), hard))
    with tempfile.TemporaryDirectory(prefix="bindery-bucket-") as directory:
        cluster = Cluster(os.path.join(directory, "cluster"), 3, PORT, "256MiB")
        workerds = Workerds(cluster, directory, count=1)
        with rig.ended_after(cluster), contextlib.ExitStack() as stack:
            stack.callback(workerds.stop)
            cluster.start()
            workerds.make_bucket(boto(cluster, 0))
            workerds.start_gateway(0)
            test = Test(cluster, "127.0.0.101", PORT + 2)
            asyncio.run(test.elections())
            test.report("elections")
            wait(cluster.settled, 60, "every group to have its voters")
            asyncio.run(test.flood())
            test.report(f"{CONNECTIONS} connections")
    print("workerd's bucket: held, or 503, and nothing else")


main()
