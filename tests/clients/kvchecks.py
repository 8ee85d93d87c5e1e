"""Checks of Workers KV, for the class of `run`: a Worker in released workerd with a generated configuration, wrangler,
the `cloudflare` SDK, `bindery kv`, and what must be refused and leave nothing behind."""
import contextlib
import json
import os

import localcluster
from workerds import Workerds

VALUE_MAX = 25 << 20


class KvChecks:
    def kv(self, method, path="", body=None, **more):
        return self.rest(method, f"/client/v4/accounts/{self.cluster.info['account_id']}/storage/kv/namespaces{path}", body,
                         **more)

    def kv_result(self, method, path="", body=None, **more):
        status, _, text = self.kv(method, path, body, **more)
        assert status == 200, f"{method} {path}: {status} {text[:300]}"
        return json.loads(text)["result"]

    @contextlib.contextmanager
    def kv_namespace(self, title):
        made = self.kv_result("POST", body=json.dumps({"title": title}).encode())
        yield made["id"]
        self.kv_result("DELETE", "/" + made["id"])

    # ---- a Worker

    def kv_workerd(self, namespace, node):
        return self.workerd("kv", {"kv_namespaces": [{"binding": "KV", "id": namespace}]}, node)

    def check_kv_worker_in_released_workerd(self):
        for node in self.cluster.info["nodes"]:
            with self.kv_namespace(f"worker {node['id']}") as namespace, self.kv_workerd(namespace, node):
                self.worker_does(self.worker("")[1].split(), node)

    # ---- the binding by hand

    def kv_binding(self, namespace, method, path, body=None, **more):
        return self.bound(f"kv:{namespace}", method, path, body, **more)

    def check_kv_binding_refusals(self):
        with self.kv_namespace("binding") as ns:
            def refused(answer, status, reason):
                assert answer[:2] == (status, reason), answer[:2]
            metadata = {"CF-KV-Metadata": b"\xff".decode("latin-1")}
            refused(self.kv_binding(ns, "PUT", "/r?urlencoded=true", b"v", headers=metadata), 400,
                    "Metadata must be valid UTF-8")
            refused(self.kv_binding(ns, "PUT", "/r?urlencoded=true", b"v", headers={"CF-KV-Metadata": "{"}), 400,
                    "Metadata must be valid JSON")
            refused(self.kv_binding(ns, "PUT", "/" + "k" * 513 + "?urlencoded=true", b"v"), 414,
                    "UTF-8 encoded length of 513 exceeds key length limit of 512.")
            refused(self.kv_binding(ns, "PUT", "/%ff?urlencoded=true", b"v"), 400, "Key names must be valid UTF-8")
            refused(self.kv_binding(ns, "PUT", "/%zz?urlencoded=true", b"v"), 400, "Could not URL-decode key name")
            refused(self.kv_binding(ns, "PUT", "/..?urlencoded=true", b"v"), 400,
                    'Illegal key name "..". Please use a different name.')
            refused(self.kv_binding(ns, "PUT", "/r?expiration_ttl=abc", b"v"), 400,
                    "Invalid expiration_ttl of abc. Please specify integer greater than 0.")
            refused(self.kv_binding(ns, "POST", "/bulk/get", b"{"), 400, "The body must be a JSON object")
            refused(self.kv_binding(ns, "POST", "/bulk/get", b'{"keys":[]}'), 400, "You must request a minimum of 1 key")
            refused(self.kv_binding(ns, "PATCH", "/r", b"v"), 405, "A KV binding does not have this call")
            refused(self.kv_binding(ns, "GET", "/r", token="nobody"), 401, "The bearer token is not valid")
            refused(self.kv_binding("0" * 32, "GET", "/r"), 400, "The KV namespace does not exist")
            assert json.loads(self.kv_binding(ns, "GET", "/")[3]) == {"keys": [], "list_complete": True}
            assert self.kv_binding(ns, "PUT", "/r?urlencoded=true", b"v")[0] == 200
            for node in range(3):
                status, _, headers, body = self.kv_binding(ns, "GET", "/r", node=node,
                                                           headers={"X-Bindery-Consistency": "newest"})
                assert (status, body) == (200, b"v") and "X-Bindery-Durability" not in headers

    def check_kv_through_a_gateway(self):
        """A process without a store answers as a node does, and reads what it has written."""
        beside = Workerds(self.cluster, self.dir, 1)
        try:
            beside.start_gateway(0)
            at = beside.gateway_url(0, 1)
            with self.kv_namespace("gateway") as ns:
                for size in (0, 10, 262144, 262145, 3 << 20):
                    body = os.urandom(size)
                    for key in (f"k{size}", "same"):
                        answer = self.kv_binding(ns, "PUT", f"/{key}?urlencoded=true", body, node=at,
                                                 headers={"CF-KV-Metadata": "[1]"})
                        assert answer[0] == 200, answer[:2]
                        for node, newest in ((at, "any"), (at, "newest"), (1, "newest")):
                            status, _, headers, got = self.kv_binding(ns, "GET", f"/{key}?urlencoded=true", node=node,
                                                                      headers={"X-Bindery-Consistency": newest})
                            assert status == 200 and got == body and headers["CF-KV-Metadata"] == "[1]", (key, node, newest)
                def listed():
                    keys = json.loads(self.kv_binding(ns, "GET", "/?prefix=k", node=at)[3])["keys"]
                    return [k["name"] for k in keys] == ["k0", "k10", "k262144", "k262145", "k3145728"]
                localcluster.wait(listed, 10, "the replicas that a gateway lists to have every key")
                got = json.loads(self.kv_binding(ns, "POST", "/bulk/get", b'{"keys":["k10","none"]}', node=at)[3])
                assert got["none"] is None and list(got) == ["k10", "none"]
                assert self.kv_binding(ns, "DELETE", "/same?urlencoded=true", node=at)[0] == 200
                assert self.kv_binding(ns, "GET", "/same?urlencoded=true", node=at)[0] == 404
        finally:
            beside.stop()

    def check_kv_tokens_do_what_they_say(self):
        with self.kv_namespace("tokens") as ns:
            made = self.bindery("token", "create", "--permissions", "Workers KV Storage Read", "--json")
            reader = made["token"]
            assert made["permissions"] == ["kv_read"], made
            self.kv_result("PUT", f"/{ns}/values/k", b"v")
            for node in range(3):  # at once on every node, though it was made on one
                assert self.kv_binding(ns, "GET", "/k", node=node, token=reader,
                                       headers={"X-Bindery-Consistency": "newest"})[3] == b"v"
                assert self.kv_binding(ns, "PUT", "/k", b"w", node=node, token=reader)[0] == 403
            self.refused_with(self.kv("PUT", f"/{ns}/values/k", b"w", token=reader), 403, 10000)
            self.refused_with(self.kv("POST", body=b'{"title":"x"}', token=reader), 403, 10000)
            self.refused_with(self.rest("GET", "/bindery/v1/tokens", token=reader), 403, 10000)
            self.bindery("token", "rm", made["id"])
            localcluster.wait(lambda: self.kv_binding(ns, "GET", "/k", token=reader)[0] == 401, 3, "a revocation")

    # ---- REST

    def form(self, *parts, end=b"--b--\r\n"):
        """(body, headers) of form data."""
        body = b"".join(b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part for part in parts) + end
        return body, {"Content-Type": "multipart/form-data; boundary=b"}

    def check_kv_bad_input_leaves_nothing(self):
        with self.one_node(), self.kv_namespace("bad") as ns:
            def put(path, body=b"v", headers=(), method="PUT"):
                return self.kv(method, f"/{ns}/{path}", body, headers=headers)
            refused = self.refused_saying
            refused(put("values/" + "k" * 513), 414, 10030,
                    "put: 'UTF-8 encoded length of 513 exceeds key length limit of 512.'")
            refused(put("values/%ff"), 400, 10042, "put: 'Key names must be valid UTF-8'")
            refused(put("values/a", b"v" * (VALUE_MAX + 1)), 413, 10024,
                    "put: 'Value length of 26214401 exceeds limit of 26214400.'")
            refused(put("values/a?expiration_ttl=59"), 400, 10034,
                    "put: 'Invalid expiration_ttl of 59. Expiration TTL must be at least 60.'")
            refused(put("values/a?expiration=5"), 400, 10033,
                    "put: 'Invalid expiration of 5. Please specify integer greater than the current number of seconds "
                    "since the UNIX epoch.'")
            body, headers = self.form((b"value", b"v"), (b"metadata", b'"' + b"m" * 1023 + b'"'))
            refused(put("values/a", body, headers), 413, 10047, "put: 'Metadata length of 1025 exceeds limit of 1024.'")
            body, headers = self.form((b"value", b"v"), (b"metadata", b"{"))
            refused(put("values/a", body, headers), 400, 10047, "put: 'Metadata must be valid JSON'")
            body, headers = self.form((b"value", b"v"), (b"metadata", b"1 2"))
            refused(put("values/a", body, headers), 400, 10047, "put: 'Metadata must be valid JSON'")
            body, headers = self.form((b"value", b"v"), (b"metadata", b'"\xff"'))
            refused(put("values/a", body, headers), 400, 10047, "put: 'Metadata must be valid UTF-8'")
            body, headers = self.form((b"metadata", b"{}"))
            refused(put("values/a", body, headers), 400, 10029, "put: 'the form has no part \"value\"'")
            body, headers = self.form((b"value", b"v"), end=b"")
            refused(put("values/a", body, headers), 400, 10029,
                    "put: 'the form data ends before its last boundary'")
            body, headers = self.form((b"value", b"v"), end=b"--bx\r\n")
            refused(put("values/a", body, headers), 400, 10029, "put: 'the form data is broken'")
            refused(put("values/a", body, {"Content-Type": "multipart/form-data"}), 400, 10029,
                    "put: 'the form data has no valid boundary'")
            body, headers = self.form((b"value", b"v" * (VALUE_MAX + 1)))
            refused(put("values/a", body, headers), 413, 10024,
                    "put: 'Value length of 26214401 exceeds limit of 26214400.'")
            good = b'[{"key":"a","value":"v"},'
            refused(put("bulk", good), 400, 10029, "put bulk: 'The body is not valid JSON'")
            refused(put("bulk", good + b'{"key":"b"}]'), 400, 10012, "put bulk: 'pair 1 has no value'")
            refused(put("bulk", good + b'{"key":"b","value":"%","base64":true}]'), 400, 10012,
                    "put bulk: 'pair 1: the value is not base64'")
            refused(put("bulk", good + b'{"key":"b","value":"x","expiration_ttl":59}]'), 400, 10034,
                    "put bulk: 'pair 1: Invalid expiration_ttl of 59. Expiration TTL must be at least 60.'")
            refused(put("bulk", b"[" + b",".join([b'{"key":"a","value":"v"}'] * 10001) + b"]"), 400, 10029,
                    "put bulk: 'You can send a maximum of 10000 keys at a time'")
            refused(put("bulk/delete", b'["a",1]', method="POST"), 400, 10029,
                    "remove bulk: 'The body must be a JSON array of keys'")
            refused(self.kv("GET", f"/{ns}/keys?cursor=bm9uZQ"), 400, 10041, "list keys: 'invalid \"list keys\" cursor'")
            refused(self.kv("GET", f"/{ns}/keys?limit=1001"), 400, 10028,
                    "list keys: 'Invalid limit of 1001. Please specify an integer less than 1000.'")
            refused(self.kv("GET", "/nope/keys"), 400, 10011, "list keys: 'malformed namespace ID'")
            refused(self.kv("PUT", "/" + "0" * 32 + "/values/a", b"v"), 404, 10013, "put: 'namespace not found'")
            refused(self.kv("POST", body=b"{}"), 400, 10019, "missing title")
            assert self.kv_result("GET", f"/{ns}/keys") == []
            body, headers = self.form((b"metadata", b' { "a" : [ 1 ] } '), (b"value", b"\r\n--x\r\n"))
            assert put("values/a", body, headers)[0] == 200
            assert self.kv("GET", f"/{ns}/values/a")[2] == b"\r\n--x\r\n"
            assert self.kv_result("GET", f"/{ns}/metadata/a") == {"a": [1]}
            self.refused_saying(self.kv("GET", f"/{ns}/values/b"), 404, 10009, "get: 'key not found'")

    def check_kv_large_bulk(self):
        with self.one_node(), self.kv_namespace("large bulk") as ns:
            small = [{"key": f"s{i:05}", "value": "v" * 3000} for i in range(9990)]
            large = [{"key": f"l{i}", "value": "x" * (6 << 20)} for i in range(10)]
            body = json.dumps(large + small).encode()
            assert 85_000_000 < len(body) < 100_000_000
            stored = self.kv_result("PUT", f"/{ns}/bulk", body)
            assert stored == {"successful_key_count": 10000, "unsuccessful_keys": []}, stored
            for pair in (large[9], small[9989]):
                status, _, got = self.kv("GET", f"/{ns}/values/{pair['key']}")
                assert status == 200 and got == pair["value"].encode(), (pair["key"], status, len(got), got[:200])
            keys = json.dumps([pair["key"] for pair in large + small]).encode()
            gone = self.kv_result("DELETE", f"/{ns}/bulk", keys)
            assert gone["successful_key_count"] == 10000, gone
            left = self.kv_result("GET", f"/{ns}/keys")
            assert left == [], left[:10]

    # ---- wrangler, the SDK, bindery kv

    def check_kv_wrangler(self):
        # each command goes to the next node; to all of them one after the other where there is time
        for node in range(3 if os.environ.get("BND_EVERY_NODE") else 1):
            self.turn = node
            title = f"wrangler-{node}"
            assert title in self.wrangler("kv", "namespace", "create", title)
            listed = {n["title"]: n["id"] for n in json.loads(self.wrangler("kv", "namespace", "list"))}
            at = ("--namespace-id", listed[title], "--remote")
            self.wrangler("kv", "namespace", "rename", "--namespace-id", listed[title], "--new-name", title + "x")
            assert title + "x" in self.wrangler("kv", "namespace", "list")
            file = self.make("kv-wrangler", 300_000)
            self.wrangler("kv", "key", "put", "a/b", "--path", file, "--metadata", '{"m":"ü"}', "--ttl", "600", *at)
            self.wrangler("kv", "key", "put", "plain", "value", *at)
            assert self.wrangler("kv", "key", "get", "plain", "--text", *at).strip() == "value"
            keys = json.loads(self.wrangler("kv", "key", "list", *at))
            assert [k["name"] for k in keys] == ["a/b", "plain"] and keys[0]["metadata"] == {"m": "ü"}, keys
            assert [k["name"] for k in json.loads(self.wrangler("kv", "key", "list", "--prefix", "p", *at))] == ["plain"]
            with open(file, "rb") as expected:
                assert self.kv("GET", f"/{listed[title]}/values/a%2Fb")[2] == expected.read()
            self.wrangler("kv", "key", "delete", "plain", *at)
            pairs, names = self.path("kv-pairs.json"), self.path("kv-names.json")
            with open(pairs, "w", encoding="utf-8") as out:
                json.dump([{"key": f"k{i:04}", "value": "dg==", "base64": True} for i in range(1200)], out)
            with open(names, "w", encoding="utf-8") as out:
                json.dump(["k0000", "k1199", "none"], out)
            self.wrangler("kv", "bulk", "put", pairs, *at)
            got = self.wrangler("kv", "bulk", "get", names, *at)
            assert '"k1199"' in got and '"v"' in got, got
            self.wrangler("kv", "bulk", "delete", names, "--force", *at)
            assert len(json.loads(self.wrangler("kv", "key", "list", *at))) == 1199
            self.wrangler("kv", "namespace", "delete", "--namespace-id", listed[title], "-y")
            assert title not in self.wrangler("kv", "namespace", "list")

    def check_kv_cloudflare_sdk(self):
        self.sdk("kv")

    def kv_shards_filled(self):
        shards = [s for s in self.bindery("shard", "ls", "--json") if s["kind"] == "kv"]
        return shards and all([m["role"] for m in s["members"]] == ["filled"] * 3 for s in shards) \
            and self.bindery("status", "--json")["kv_moves_left"] == 0

    def check_kv_cli(self):
        with self.one_node():
            made = self.bindery("kv", "namespace", "create", "cli", "--json")
            assert made["title"] == "cli" and made["consistency"] == "eventual"
            localcluster.wait(self.kv_shards_filled, 10, "every shard of KV to have three filled replicas")
            assert made in self.bindery("kv", "namespace", "ls", "--json")
            changed = self.bindery("kv", "namespace", "set", "cli", "--consistency", "local", "--json")
            assert changed["consistency"] == "local", changed
            self.bindery("kv", "namespace", "rename", "cli", "cli 2")
            file, back = self.make("kv-cli", 700_000), self.path("kv-cli-back")
            self.bindery("kv", "key", "put", "cli 2", "a b/c", file, "--metadata", '{"x": 1}', "--ttl", "90")
            self.bindery("kv", "key", "get", made["id"], "a b/c", back)
            with open(file, "rb") as one, open(back, "rb") as other:
                assert one.read() == other.read()
            listed = self.bindery("kv", "key", "ls", "cli 2", "--json")
            assert [(k["name"], k["metadata"]) for k in listed] == [("a b/c", {"x": 1})], listed
            pairs, names = self.path("cli-pairs.json"), self.path("cli-names.json")
            with open(pairs, "w", encoding="utf-8") as out:
                json.dump([{"key": f"k{i:04}", "value": f"v{i}"} for i in range(1500)], out)
            with open(names, "w", encoding="utf-8") as out:
                json.dump([f"k{i:04}" for i in range(1500)], out)
            assert self.bindery("kv", "bulk", "put", "cli 2", pairs, "--json")["successful_key_count"] == 1500
            values = self.bindery("kv", "bulk", "get", "cli 2", names, "--json")
            assert values == {f"k{i:04}": f"v{i}" for i in range(1500)}
            assert len(self.bindery("kv", "key", "ls", "cli 2", "--prefix", "k", "--json")) == 1500
            self.bindery("kv", "bulk", "rm", "cli 2", names)
            self.bindery("kv", "key", "rm", "cli 2", "a b/c")
            assert self.bindery("kv", "key", "ls", "cli 2", "--json") == []
            with self.fails("key not found"):
                self.bindery("kv", "key", "get", "cli 2", "a b/c")
            self.bindery("kv", "namespace", "rm", "cli 2")
            with self.fails("there is no KV namespace cli 2"):
                self.bindery("kv", "key", "ls", "cli 2")

    def check_kv_over_https_worker(self):
        """As the Worker above, on one node: workerd verifies the cluster's CA."""
        node = self.cluster.info["nodes"][1]
        with self.kv_namespace("https worker") as namespace, self.kv_workerd(namespace, node):
            self.worker_does(("values", "metadata", "lists"), node)
