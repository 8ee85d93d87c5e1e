"""Checks of the REST port and the client commands of `bindery`, for the class of `run`: errors and bounds that wrangler
does not meet, and credentials from their making to their end."""
import contextlib
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from localcluster import BINARY


def read_exposition(text):
    """({metric: type}, {series: value}) of Prometheus' text format, checked as promtool does and a little more."""
    kinds, helped, values = {}, set(), {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, help_text = line.split(" ", 3)[2:]
            assert name not in helped and help_text.strip() and name not in kinds, line
            helped.add(name)
        elif line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            assert name in helped, f"{name} has no HELP line"
            assert re.fullmatch(r"(bindery|process)_[a-z0-9_]+", name) and name not in kinds, line
            assert kind in ("counter", "gauge", "histogram") and (kind == "counter") == name.endswith("_total"), line
            assert not re.search(r"_(ms|us|ns|kb|mb|percent)(_|$)", name), f"{name}: base units are seconds and bytes"
            kinds[name] = kind
        else:
            series, value = re.fullmatch(r"([a-z0-9_]+(?:\{[^}]*\})?) ([-+.eE0-9]+|\+Inf|NaN)", line).groups()
            name = series.split("{")[0]
            family = name if name in kinds else re.sub(r"_(bucket|sum|count)$", "", name)
            assert family in kinds and series not in values, line
            values[series] = float(value)
            assert values[series] >= 0 or kinds[family] == "gauge", line
    check_histograms(kinds, values)
    assert helped == set(kinds)
    return kinds, values


def check_histograms(kinds, values):
    buckets = {}
    for series, value in values.items():
        name, _, labels = series.partition("{")
        if name.endswith("_bucket"):
            le = re.search(r'le="([^"]+)"', labels)[1]
            rest = re.sub(r',?le="[^"]+"', "", labels).rstrip("}")
            buckets.setdefault((name[:-7], rest), []).append((float(le.replace("+Inf", "inf")), value))
    assert {name for name, _ in buckets} <= {name for name, kind in kinds.items() if kind == "histogram"}
    for (name, labels), found in buckets.items():
        suffix = "{" + labels + "}" if labels else ""
        counts = [value for _, value in found]
        assert found == sorted(found) and counts == sorted(counts) and found[-1][0] == float("inf"), (name, labels, found)
        assert counts[-1] == values[f"{name}_count{suffix}"] and f"{name}_sum{suffix}" in values, (name, labels)


class RestChecks:
    def rest(self, method, path, body=None, token=None, headers=()):
        """(status, headers, bytes) of a call to the next node."""
        self.turn += self.step
        node = self.cluster.info["nodes"][self.turn % 3]["rest"]
        request = urllib.request.Request(node + path, data=body, method=method, headers={
            "Authorization": f"Bearer {token or self.cluster.info['token']}", **dict(headers)})
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.cluster.trust()) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    @contextlib.contextmanager
    def one_node(self):
        """Calls within stay on one node, through which they see what they wrote; the others see it a moment later."""
        self.turn += 1
        self.step = 0
        try:
            yield
        finally:
            self.step = 1

    @staticmethod
    def refused_saying(answer, status, code, text):
        got, _, body = answer
        envelope = json.loads(body)
        assert (got, envelope["success"], envelope["errors"]) == (status, False, [{"code": code, "message": text}]), \
            f"{got} {body}"

    def r2(self, method, path="", body=None, **more):
        return self.rest(method, f"/client/v4/accounts/{self.cluster.info['account_id']}/r2/buckets{path}", body, **more)

    def refused_with(self, answer, status, code):
        got, _, text = answer
        envelope = json.loads(text)
        assert got == status and envelope["success"] is False and envelope["result"] is None and \
            envelope["errors"][0]["code"] == code, f"{got} {text}"

    def check_rest_buckets(self):
        bucket = json.dumps({"name": "rest-b"}).encode()
        status, _, text = self.r2("POST", body=bucket)
        assert status == 200 and json.loads(text)["result"]["name"] == "rest-b"
        self.refused_with(self.r2("POST", body=bucket), 409, 10004)
        self.refused_with(self.r2("POST", body=b'{"name":"Not_A_Name"}'), 400, 10005)
        self.refused_with(self.r2("POST", body=b"["), 400, 10001)
        self.refused_with(self.r2("GET", "/rest-none"), 404, 10006)
        self.refused_with(self.r2("DELETE", "/rest-none"), 404, 10006)
        self.refused_with(self.r2("PUT", "/rest-none/objects/k", b"x"), 404, 10006)
        self.refused_with(self.r2("PATCH", "/rest-b", b"{}"), 405, 7001)
        self.refused_with(self.rest("GET", "/client/v4/accounts/" + "f" * 32 + "/r2/buckets"), 403, 9109)
        self.refused_with(self.rest("GET", "/client/v4/accounts/none/r2/buckets"), 404, 7003)
        self.refused_with(self.rest("GET", "/client/v4/none"), 404, 7003)
        self.r2("PUT", "/rest-b/objects/k", b"x")
        self.refused_with(self.r2("DELETE", "/rest-b"), 409, 10008)
        assert self.r2("DELETE", "/rest-b/objects/k")[0] == 200
        assert self.r2("DELETE", "/rest-b")[0] == 200
        self.refused_with(self.r2("GET", "/rest-b/objects/k"), 404, 10006)

    def check_rest_lists_of_buckets_go_on(self):
        names = sorted(f"rest-list-{i}" for i in range(5))
        for name in names:
            self.r2("POST", body=json.dumps({"name": name}).encode())
        seen, cursor = [], ""
        while True:
            page = json.loads(self.r2("GET", f"?per_page=2&cursor={cursor}")[2])
            seen += [b["name"] for b in page["result"]["buckets"]]
            cursor = page["result_info"].get("cursor")
            if not cursor:
                break
        assert [name for name in seen if name.startswith("rest-list-")] == names
        for name in names:
            self.r2("DELETE", "/" + name)

    def check_rest_objects(self):
        self.r2("POST", body=b'{"name":"rest-o"}')
        bodies = {"a/b c/\u00fc": os.urandom(3 << 20), "small": b"hello", "empty": b"", "a//x": os.urandom(70_000)}
        for key, body in bodies.items():
            path = "/rest-o/objects/" + urllib.parse.quote(key)
            status, _, text = self.r2("PUT", path, body, headers={"Content-Type": "a/b",
                                                                  "cf-r2-storage-class": "InfrequentAccess"})
            result = json.loads(text)["result"]
            assert status == 200 and result["key"] == key and result["size"] == len(body), text
            status, headers, got = self.r2("GET", path)
            assert status == 200 and got == body and headers["Content-Type"] == "a/b"
            assert headers["ETag"] == f'"{result["etag"]}"' and headers["cf-r2-storage-class"] == "InfrequentAccess"
            status, headers, got = self.r2("HEAD", path)
            assert status == 200 and got == b"" and int(headers["Content-Length"]) == len(body)
        seen, cursor = [], ""
        while True:
            page = json.loads(self.r2("GET", f"/rest-o/objects?per_page=1&cursor={cursor}")[2])
            seen += [o["key"] for o in page["result"]]
            cursor = page["result_info"]["cursor"]
            if not page["result_info"]["is_truncated"]:
                break
        assert seen == sorted(bodies, key=str.encode), seen
        page = json.loads(self.r2("GET", "/rest-o/objects?delimiter=/")[2])
        assert page["result_info"]["delimited"] == ["a/"] and len(page["result"]) == 2
        self.refused_with(self.r2("GET", "/rest-o/objects/none"), 404, 10007)
        self.refused_with(self.r2("PUT", "/rest-o/objects/%FF", b"x"), 400, 10020)
        self.refused_with(self.r2("PUT", "/rest-o/objects/%00", b"x"), 400, 10020)
        self.refused_with(self.r2("PUT", "/rest-o/objects/" + "k" * 1025, b"x"), 400, 10020)
        self.refused_with(self.r2("GET", "/rest-o/objects?cursor=!"), 400, 10029)
        for key in [*bodies, "none"]:
            assert self.r2("DELETE", "/rest-o/objects/" + urllib.parse.quote(key))[0] == 200
        assert self.r2("DELETE", "/rest-o")[0] == 200

    def check_rest_metrics(self):
        self.turn = 0
        self.r2("GET")  # on node 2, as all that follows
        self.turn = 0
        status, headers, text = self.rest("GET", "/metrics", token="nobody")
        assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        kinds, values = read_exposition(text.decode())
        assert values['bindery_http_requests_total{port="rest"}'] >= 2
        for name in ('bindery_http_connections{port="s3"}', "bindery_raft_applied_total", "bindery_catalog_age_seconds",
                     "process_resident_memory_bytes", "bindery_raft_commit_seconds_count"):
            assert name in values, name
        assert kinds["bindery_http_request_seconds"] == "histogram"

    def check_rest_health(self):
        assert [self.rest("GET", path, token="nobody")[::2] for path in ("/livez", "/readyz")] == [(200, b"ok\n")] * 2
        status, _, text = self.rest("GET", "/readyz?verbose", token="nobody")
        lines = text.decode().splitlines()
        assert status == 200 and len(lines) >= 4 and all(re.fullmatch(r"[a-z_]+: ok", line) for line in lines), text

    # ---- client commands

    def bindery(self, *words, expect=0, token=None):
        self.turn += self.step
        out = self.command(BINARY, *words, expect=expect,
                           BINDERY_URL=self.cluster.info["nodes"][self.turn % 3]["rest"],
                           BINDERY_API_TOKEN=token or self.cluster.info["token"])
        return json.loads(out) if "--json" in words and expect == 0 else out

    def check_cli_tokens(self):
        made = self.bindery("token", "create", "--label", "reader", "--permissions", "object-read", "--json")
        secret = made["token"]
        listed = {t["id"]: t for t in self.bindery("token", "ls", "--json")}
        assert listed[made["id"]]["permissions"] == ["object_read"] and secret not in json.dumps(listed)
        for _ in range(3):  # at once on every node, though it was made on one
            assert self.r2("GET", token=secret)[0] == 200
        self.refused_with(self.r2("POST", body=b'{"name":"rest-t"}', token=secret), 403, 10000)
        self.refused_with(self.rest("GET", "/bindery/v1/tokens", token=secret), 403, 10000)
        self.refused_with(self.rest("GET", "/bindery/v1/tokens", token="nobody"), 401, 10000)
        self.bindery("token", "rm", made["id"])
        deadline = time.monotonic() + 2.5
        while any(self.r2("GET", token=secret)[0] != 401 for _ in range(3)):
            assert time.monotonic() < deadline, "a revoked token is still served"
        self.bindery("token", "rm", made["id"], expect=1)
        own = json.loads(self.rest("GET", "/client/v4/user/tokens/verify")[2])["result"]["id"]
        self.bindery("token", "rm", own, expect=1)

    def check_cli_keys(self):
        self.r2("POST", body=b'{"name":"rest-k"}')
        made = self.bindery("key", "create", "--bucket", "rest-k", "--json")
        as_key = {"AWS_ACCESS_KEY_ID": made["access_key_id"], "AWS_SECRET_ACCESS_KEY": made["secret_access_key"]}
        self.aws("s3", "cp", self.make("key-file", 1000), "s3://rest-k/k", "--quiet", **as_key)
        with self.fails("AccessDenied"):
            self.aws("s3", "mb", "s3://rest-other", **as_key)
        self.bindery("key", "rm", made["access_key_id"])
        assert made["access_key_id"] not in self.bindery("key", "ls")
        self.aws("s3", "rb", "--force", "s3://rest-k")

    def check_cli_looks(self):
        status = self.bindery("status", "--json")
        assert status["settled"] and len(status["nodes"]) == 3 and len(self.bindery("node", "ls", "--json")) == 3
        assert "system" in self.bindery("shard", "ls")
        assert "batch" in self.bindery("inspect", "journal", os.path.join(self.cluster.info["nodes"][0]["data"], "journal"))
        self.bindery("status", expect=1, token="nobody")
        assert "did you mean ls" in subprocess.run([BINARY, "token", "lst"], capture_output=True, text=True,
                                                   check=False).stderr
