"""S3 clients that know what must be readable: content comes from a seed, each key belongs to one client thread.

A key's history is the last acknowledged write and the writes after it whose outcome nobody told. After any fault a read
must give one of these, whole; an acknowledged write without later ones must be there. A refusal (status 4xx) is certain:
it changes nothing."""
import datetime
import hashlib
import hmac
import http.client
import random
import re
import threading
import urllib.parse

BUCKET = "load"
SMALL_MAX = 3000
BODY_MIN, BODY_MAX = 66_000, 1_500_000
PART_BYTES = 5 << 20
TIMEOUT_SECONDS = 40


class S3:
    """One connection, to one node at a time; signs with SigV4 and an unsigned payload."""

    def __init__(self, cluster, node):
        self.cluster, self.node, self.connection = cluster, node, None

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def turn(self):
        """To the next node."""
        self.close()
        self.node = (self.node + 1) % len(self.cluster.info["nodes"])

    def headers(self, method, host, path, query):
        keys = self.cluster.info["s3"]
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/auto/s3/aws4_request"
        signed = "host;x-amz-content-sha256;x-amz-date"
        canonical = "\n".join([method, path, query, f"host:{host}", "x-amz-content-sha256:UNSIGNED-PAYLOAD",
                               f"x-amz-date:{now}", "", signed, "UNSIGNED-PAYLOAD"])
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = ("AWS4" + keys["secret_access_key"]).encode()
        for word in (now[:8], "auto", "s3", "aws4_request"):
            key = hmac.digest(key, word.encode(), "sha256")
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        return {"Host": host, "x-amz-date": now, "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
                "Authorization": f"AWS4-HMAC-SHA256 Credential={keys['access_key_id']}/{scope}, "
                                 f"SignedHeaders={signed}, Signature={signature}"}

    def call(self, method, path, query=None, body=b""):
        """(status, body, headers); status 0 if the connection broke or nobody listens."""
        host = self.cluster.info["nodes"][self.node]["s3"].split("//")[1]
        path = urllib.parse.quote(path)
        query = "&".join(f"{urllib.parse.quote(k, '')}={urllib.parse.quote(v, '')}"
                         for k, v in sorted((query or {}).items()))
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)
            self.connection.request(method, f"{path}?{query}" if query else path, body,
                                    self.headers(method, host, path, query))
            answer = self.connection.getresponse()
            return answer.status, answer.read(), answer.headers
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, b"", {}


class Key:
    """What may be read of one key: values are (salt, size), None for absent."""

    def __init__(self):
        self.sure, self.unsure = None, []

    def outcome(self, value, status):
        if 200 <= status < 300:
            self.sure, self.unsure = value, []
        elif not 400 <= status < 500:
            self.unsure.append(value)

    def allowed(self):
        return [self.sure, *self.unsure]


def content(key, value):
    salt, size = value
    return random.Random(f"{key} {salt}").randbytes(size)


class Load:
    """Client threads, from start() to stop(); then verify()."""

    def __init__(self, cluster, seed, threads=8, parts=True):
        self.cluster, self.seed, self.parts = cluster, seed, parts
        self.changed = threading.Condition()
        self.acknowledged, self.unknown, self.refused = 0, 0, 0
        self.by_status = {}
        self.stopping, self.failure = False, None
        self.keys = [{} for _ in range(threads)]
        self.salt = 0
        self.threads = []

    def start(self):
        self.stopping = False
        self.threads = [threading.Thread(target=self.client, args=(number,), daemon=True)
                        for number in range(len(self.keys))]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(4 * TIMEOUT_SECONDS)
            assert not thread.is_alive(), "a client still waits for an answer"
        if self.failure is not None:
            raise self.failure

    def wait_acknowledged(self, more, seconds):
        """Until `more` further writes were acknowledged."""
        with self.changed:
            goal = self.acknowledged + more
            reached = self.changed.wait_for(lambda: self.acknowledged >= goal or self.failure, seconds)
        assert reached, f"{self.acknowledged - goal + more} of {more} writes acknowledged within {seconds} s"
        if self.failure is not None:
            raise self.failure

    def count(self, status):
        with self.changed:
            self.by_status[status] = self.by_status.get(status, 0) + 1
            if 200 <= status < 300:
                self.acknowledged += 1
            elif 400 <= status < 500:
                self.refused += 1
            else:
                self.unknown += 1
            self.changed.notify_all()

    # ---- one client

    def client(self, number):
        chance = random.Random(f"{self.seed} {number} {self.salt}")
        s3 = S3(self.cluster, number % len(self.cluster.info["nodes"]))
        try:
            while not self.stopping:
                status = self.step(number, chance, s3)
                self.count(status)
                if status in (0, 500, 503):
                    s3.turn()
        except Exception as failure:  # told to the test's own thread
            self.failure = failure
        finally:
            s3.close()

    def step(self, number, chance, s3):
        """One write, remembered with what was answered."""
        keys = self.keys[number]
        if keys and chance.random() < 0.3:
            name = chance.choice(list(keys))
        else:
            name = f"c{number}/{len(keys)}"
            keys[name] = Key()
        kind = chance.choices(["small", "body", "parts", "delete"], [70, 20, 1 if self.parts else 0, 9])[0]
        salt = chance.getrandbits(48)
        if kind == "delete":
            value = None
            status = s3.call("DELETE", f"/{BUCKET}/{name}")[0]
        elif kind == "parts":
            value = (salt, PART_BYTES + chance.randrange(1, BODY_MIN))
            status = self.put_parts(s3, name, content(name, value))
        else:
            size = chance.randrange(SMALL_MAX) if kind == "small" else chance.randrange(BODY_MIN, BODY_MAX)
            value = (salt, size)
            status = s3.call("PUT", f"/{BUCKET}/{name}", body=content(name, value))[0]
        keys[name].outcome(value, status)
        return status

    def put_parts(self, s3, name, body):
        """A multipart upload; the status that decides about the object."""
        path = f"/{BUCKET}/{name}"
        status, answer, _ = s3.call("POST", path, {"uploads": ""})
        upload = re.search(rb"<UploadId>([^<]+)", answer)
        if status != 200 or upload is None:
            return status
        upload, etags = upload.group(1).decode(), []
        for index, part in enumerate((body[:PART_BYTES], body[PART_BYTES:]), 1):
            status, _, headers = s3.call("PUT", path, {"partNumber": str(index), "uploadId": upload}, part)
            if status != 200:
                return status
            etags.append(headers["ETag"])
        parts = "".join(f"<Part><PartNumber>{index}</PartNumber><ETag>{etag}</ETag></Part>"
                        for index, etag in enumerate(etags, 1))
        status, answer, _ = s3.call("POST", path, {"uploadId": upload},
                                    f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode())
        # An error can come after the head was sent: then its document says so.
        return 500 if status == 200 and b"<Error>" in answer else status

    # ---- what must be true afterwards

    def verify(self, node):
        """Reads every key through one node (an index), and the list; what is read is then what is sure."""
        problems, present = [], set()
        lock = threading.Lock()

        def check(keys):
            s3 = S3(self.cluster, node)
            for name, key in keys.items():
                status, body, _ = s3.call("GET", f"/{BUCKET}/{name}")
                found = [value for value in key.allowed() if
                         (status == 404 and value is None) or
                         (status == 200 and value is not None and content(name, value) == body)]
                with lock:
                    if found:
                        key.sure, key.unsure = found[-1], []
                        if found[-1] is not None:
                            present.add(name)
                    else:
                        problems.append(f"{name}: status {status}, {len(body)} bytes; allowed: {key.allowed()}")
            s3.close()
        threads = [threading.Thread(target=check, args=(keys,)) for keys in self.keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not problems:
            problems += [f"listed or not: {name}" for name in sorted(self.list(node) ^ present)]
        assert not problems, f"{len(problems)} keys are wrong:\n  " + "\n  ".join(problems[:10])
        return len(present)

    def list(self, node):
        s3, names, after = S3(self.cluster, node), set(), ""
        while True:
            status, body, _ = s3.call("GET", f"/{BUCKET}", {"list-type": "2", "start-after": after})
            assert status == 200, f"list: status {status} {body[:200]}"
            page = re.findall(r"<Key>([^<]+)</Key>", body.decode())
            names.update(page)
            if b"<IsTruncated>true" not in body:
                s3.close()
                return names
            after = page[-1]
