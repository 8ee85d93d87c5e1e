"""Checks of D1, for the class of `run`: a Worker in released workerd with a generated configuration, wrangler, the
`cloudflare` SDK, `bindery d1`, tokens, and what must be refused and leave nothing behind."""
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import localcluster
from workerds import Workerds

BOOKMARK = "x-cf-d1-session-commit-token"


class D1Checks:
    def d1(self, method, path="", body=None, **more):
        return self.rest(method, f"/client/v4/accounts/{self.cluster.info['account_id']}/d1/database{path}", body, **more)

    def d1_result(self, method, path="", body=None, **more):
        body = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        status, _, text = self.d1(method, path, body, **more)
        assert status == 200, f"{method} {path}: {status} {text[:300]}"
        return json.loads(text)["result"]

    def d1_rows(self, database, sql, params=(), **more):
        """The rows of the last statement, as objects."""
        return self.d1_result("POST", f"/{database}/query", {"sql": sql, "params": list(params)}, **more)[-1]["results"]

    @contextlib.contextmanager
    def d1_database(self, name):
        made = self.d1_result("POST", body={"name": name})
        yield made["uuid"]
        self.d1_result("DELETE", "/" + made["uuid"])

    # ---- a Worker

    def d1_workerd(self, bound, node):
        return self.workerd("d1", {"d1_databases": [{"binding": "DB", **bound}]}, node)

    def check_d1_worker_in_released_workerd(self):
        for node in self.cluster.info["nodes"]:
            name = f"worker-{node['id']}"
            with self.d1_database(name) as uuid:
                # by uuid, or without one by name
                bound = {"database_name": name, **({"database_id": uuid} if node["id"] != 2 else {})}
                with self.d1_workerd(bound, node):
                    self.worker_does(self.worker("")[1].split(), node)

    def check_d1_over_https_worker(self):
        """As the Worker above, on one node: workerd verifies the cluster's CA."""
        node = self.cluster.info["nodes"][1]
        with self.d1_database("https-worker") as uuid, self.d1_workerd({"database_id": uuid}, node):
            self.worker_does(("prepared", "batch"), node)

    # ---- the binding by hand

    def d1_binding(self, bound, path, body, **more):
        """(status, headers, JSON) of a call as workerd makes it; more: as of bound."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, headers, answer = self.bound(f"d1:{bound}", "POST", path, body, **more)
        return status, headers, json.loads(answer)

    def check_d1_binding_refusals(self):
        with self.d1_database("binding") as db:
            def refused(answer, status, text):
                assert (answer[0], answer[2]) == (status, {"success": False, "error": text}), answer
            query = {"sql": "SELECT 1 AS one"}
            refused(self.d1_binding(db, "/query", b"{"), 400, "the body is not valid JSON")
            refused(self.d1_binding(db, "/query", []), 400, "No SQL statements detected.")
            refused(self.d1_binding(db, "/query", {"params": []}), 400, 'a statement has no "sql"')
            refused(self.d1_binding(db, "/query", {"sql": "SELECT ?", "params": [{}]}), 400,
                    "parameter 1 is an object, which SQL does not have")
            refused(self.d1_binding(db, "/query", {"sql": "-" * (5 << 20)}), 413,
                    "the statements and their parameters are larger than 4 MiB")
            refused(self.d1_binding(db, "/query", query, headers={BOOKMARK: "later"}), 400,
                    "D1_SESSION_ERROR: invalid bookmark or constraint")
            refused(self.d1_binding(db, "/nothing", query), 404, "Not found")
            refused(self.d1_binding(db, "/query", query, token="nobody"), 401, "The bearer token is not valid")
            refused(self.d1_binding("none", "/query", query), 404, "The database none could not be found")
            gone = "00000000-0000-4000-8000-000000000000"
            refused(self.d1_binding(gone, "/query", query), 404, f"The database {gone} could not be found")
            for node in range(3):
                for bound in (db, db.upper(), "binding"):
                    for path, results in (("/query?resultsFormat=ROWS_AND_COLUMNS", {"columns": ["one"], "rows": [[1]]}),
                                          ("/query", [{"one": 1}]), ("/execute?resultsFormat=NONE", [{"one": 1}])):
                        status, headers, answer = self.d1_binding(bound, path, query, node=node)
                        assert status == 200 and answer[0]["results"] == results, (bound, path, answer)
                        assert len(headers[BOOKMARK]) == 59, headers[BOOKMARK]

    def check_d1_through_a_gateway(self):
        """A process without a store answers as a node does, and reads what it has written."""
        beside = Workerds(self.cluster, self.dir, 1)
        try:
            beside.start_gateway(0)
            at = beside.gateway_url(0, 1)
            with self.d1_database("gateway") as db:
                done = self.d1_binding(db, "/query", [{"sql": "CREATE TABLE t (v)"},
                                                      {"sql": "INSERT INTO t VALUES (?)", "params": [[0, 255]]}], node=at)
                assert done[0] == 200 and done[2][1]["meta"]["changes"] == 1, done
                for node in (at, 0, 1, 2):
                    _, _, answer = self.d1_binding(db, "/query", {"sql": "SELECT v FROM t"}, node=node)
                    assert answer[0]["results"] == [{"v": [0, 255]}], answer
        finally:
            beside.stop()

    def check_d1_tokens_do_what_they_say(self):
        with self.d1_database("tokens") as db:
            self.d1_rows(db, "CREATE TABLE t (v)")
            made = self.bindery("token", "create", "--permissions", "D1 Read", "--json")
            reader = made["token"]
            assert made["permissions"] == ["d1_read"], made
            for node in range(3):  # at once on every node, though it was made on one
                _, _, answer = self.d1_binding(db, "/query", {"sql": "SELECT count(*) AS n FROM t"}, node=node, token=reader)
                assert answer[0]["results"] == [{"n": 0}], answer
                for sql in ("INSERT INTO t VALUES (1)", "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "DROP TABLE t"):
                    _, _, answer = self.d1_binding(db, "/query", {"sql": sql}, node=node, token=reader)
                    assert isinstance(answer, dict) and not answer["success"], answer
            assert self.d1_rows(db, "SELECT count(*) AS n FROM t", token=reader) == [{"n": 0}]
            status, _, text = self.d1("POST", f"/{db}/query", b'{"sql":"DELETE FROM t"}', token=reader)
            assert status == 400 and json.loads(text)["errors"][0]["code"] == 7500, text
            self.refused_with(self.d1("POST", body=b'{"name":"x"}', token=reader), 403, 10000)
            self.refused_with(self.d1("DELETE", f"/{db}", token=reader), 403, 10000)
            self.refused_with(self.d1("POST", f"/{db}/time_travel/restore?bookmark=x", token=reader), 403, 10000)
            nothing = self.bindery("token", "create", "--permissions", "kv_read", "--json")["token"]
            self.refused_with(self.d1("GET", token=nothing), 403, 10000)
            assert self.d1_binding(db, "/query", {"sql": "SELECT 1"}, token=nothing)[0] == 403
            self.bindery("token", "rm", made["id"])
            localcluster.wait(lambda: self.d1_binding(db, "/query", {"sql": "SELECT 1"}, token=reader)[0] == 401, 3,
                              "a revocation")

    # ---- REST

    def check_d1_bad_input_leaves_nothing(self):
        with self.d1_database("bad") as db:
            self.d1_rows(db, "CREATE TABLE t (v)")
            refused = self.refused_saying

            def query(body):
                return self.d1("POST", f"/{db}/query", body)
            refused(query(b""), 400, 7400, "the body is not valid JSON")
            refused(query(b"[]"), 400, 7400, "the body must be a JSON object")
            refused(query(b'{"sql":7}'), 400, 7400, '"sql" must be a string')
            refused(query(b'{"sql":"SELECT 1","params":{}}'), 400, 7400, '"params" must be an array')
            refused(query(b'{"sql":"INSERT INTO t VALUES (1); INSERT INTO none VALUES (1)"}'), 400, 7500,
                    "no such table: none: SQLITE_ERROR")
            refused(query(b'{"sql":"INSERT INTO t VALUES (1); SELEC"}'), 400, 7500,
                    'near "SELEC": syntax error at offset 0: SQLITE_ERROR')
            many = json.dumps({"sql": f"SELECT {','.join('?' * 101)}", "params": [1] * 101}).encode()
            status, _, text = query(many)
            assert status == 400 and "too many SQL variables" in text.decode(), text
            status, _, text = query(json.dumps({"sql": "INSERT INTO t VALUES (?)", "params": ["v" * 2_100_000]}).encode())
            assert status == 400 and "SQLITE_TOOBIG" in text.decode(), text
            status, _, text = query(json.dumps({"sql": f"SELECT '{'s' * 100_000}'"}).encode())
            assert status == 400 and "SQLITE_TOOBIG" in text.decode(), text
            assert self.d1_rows(db, "SELECT count(*) AS n FROM t") == [{"n": 0}]
            for name in ("", "a b", "-a", "n" * 65, "01234567-89ab-cdef-0123-456789abcdef", 7):
                status, _, text = self.d1("POST", body=json.dumps({"name": name}).encode())
                assert status == 400 and json.loads(text)["errors"][0]["code"] == 7400, (name, text)
            refused(self.d1("POST", body=b"{}"), 400, 7400, "name is missing")
            refused(self.d1("POST", body=b'{"name":"bad"}'), 400, 7502, "Database with that name already exists")
            refused(self.d1("GET", "/nothing"), 404, 7404, "The database nothing could not be found")
            refused(self.d1("DELETE", "/nothing"), 404, 7404, "The database nothing could not be found")
            refused(self.d1("GET", "?per_page=x"), 400, 7400, "per_page must be a number from 1")
            refused(self.d1("POST", f"/{db}/time_travel/restore?bookmark=x"), 400, 7400, "bookmark has another form")
            refused(self.d1("POST", f"/{db}/time_travel/restore"), 400, 7400, "bookmark or timestamp is missing")
            refused(self.d1("GET", f"/{db}/time_travel/bookmark?timestamp=tomorrow"), 400, 7400,
                    "timestamp must be a time as 2009-10-12T17:50:30Z or a number of seconds")
            refused(self.d1("GET", f"/{db}/time_travel/bookmark?timestamp=1000000000"), 400, 7400,
                    "There is no bookmark of that time: the database is younger, or its history is not kept for so long")
            refused(self.d1("POST", f"/{db}/time_travel/restore?bookmark=000000ff-00000000-00010000-{'0' * 32}"), 400, 7400,
                    "The bookmark is not one of this database, or its history is not kept for so long")
            assert self.d1_result("GET", f"/{db}?fields=uuid,name") == {"uuid": db, "name": "bad"}

    def check_d1_a_deleted_database_is_gone_everywhere(self):
        made = self.d1_result("POST", body={"name": "again"})
        for node in range(3):
            assert self.d1_binding("again", "/query", {"sql": "SELECT 1 AS one"}, node=node)[0] == 200
        self.d1_result("DELETE", "/again")
        for node in range(3):
            for bound in ("again", made["uuid"]):
                assert self.d1_binding(bound, "/query", {"sql": "SELECT 1"}, node=node)[0] == 404
        with self.d1_database("again") as uuid:
            assert uuid != made["uuid"]
            self.d1_rows(uuid, "CREATE TABLE fresh (v)")
            for node in range(3):  # the name is the new one's on every node
                answer = self.d1_binding("again", "/query", {"sql": "SELECT count(*) AS n FROM fresh"}, node=node)
                assert answer[2][0]["results"] == [{"n": 0}], answer
                assert self.d1_binding(made["uuid"], "/query", {"sql": "SELECT 1"}, node=node)[0] == 404

    @contextlib.contextmanager
    def uploading(self, url):
        """An upload that the process has begun to read, and that its client gives up."""
        parts = urllib.parse.urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), 30) as plain:
            trust = self.cluster.trust()
            stream = plain if trust is None else trust.wrap_socket(plain, server_hostname=parts.hostname)
            stream.sendall(f"PUT {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 9\r\n"
                           "Expect: 100-continue\r\n\r\n".encode())
            assert stream.recv(100).startswith(b"HTTP/1.1 100 ")
            yield

    def check_d1_files(self):
        """Import and export step by step: what is left out, put twice, or not what was announced."""
        with self.one_node(), self.d1_database("files") as db:  # a file stays with the process that was asked
            def step(action, **more):
                return self.d1("POST", f"/{db}/import", json.dumps({"action": action, **more}).encode())
            def put(url, body):
                request = urllib.request.Request(url, data=body, method="PUT")
                try:
                    with urllib.request.urlopen(request, timeout=30, context=self.cluster.trust()) as answer:
                        return answer.status, answer.headers.get("etag"), answer.read()
                except urllib.error.HTTPError as error:
                    return error.code, None, error.read()
            text = b"CREATE TABLE t (v);\nINSERT INTO t VALUES (1);\nINSERT INTO t VALUES ('\xc3\xbc;')"
            etag = hashlib.md5(text).hexdigest()
            self.refused_saying(step("init"), 400, 7400, "etag must be the MD5 of the file, 32 hex digits")
            self.refused_saying(step("poll"), 400, 7400, "Not currently importing anything")
            self.refused_saying(step("ingest", filename="0" * 32), 400, 7400,
                            "The file has not been uploaded to this process, or too long ago")
            made = json.loads(step("init", etag=etag)[2])["result"]
            self.refused_saying(step("ingest", filename=made["filename"]), 400, 7400,
                            "The file has not been uploaded to this process, or too long ago")
            assert put(made["upload_url"][:-1] + "x", text)[0] == 404
            with self.uploading(made["upload_url"]):
                assert put(made["upload_url"], text)[0] == 503
                assert step("ingest", filename=made["filename"])[0] == 503
            localcluster.wait(lambda: put(made["upload_url"], text + b" ")[0] == 400, 30, "the end of the upload")
            assert put(made["upload_url"], b"-" * (5 << 20))[0] == 400
            assert put(made["upload_url"], text)[:2] == (200, f'"{etag}"')
            with self.d1_database("files-other") as other:
                self.refused_saying(self.d1("POST", f"/{other}/import",
                                        json.dumps({"action": "ingest", "filename": made["filename"]}).encode()),
                                400, 7400, "The file was uploaded for another database")
            done = json.loads(step("ingest", filename=made["filename"], etag=etag)[2])["result"]
            assert (done["status"], done["result"]["num_queries"], done["result"]["meta"]["changes"]) == ("complete", 3, 2), done
            self.refused_saying(step("ingest", filename=made["filename"]), 400, 7400,
                            "The file has not been uploaded to this process, or too long ago")
            done = self.d1_result("POST", f"/{db}/export", {"output_format": "polling"})
            assert done["at_bookmark"] == self.d1_result("GET", f"/{db}/time_travel/bookmark")["bookmark"], done
            with urllib.request.urlopen(done["result"]["signed_url"], timeout=30, context=self.cluster.trust()) as answer:
                assert answer.read().decode() == 'PRAGMA defer_foreign_keys=TRUE;\nCREATE TABLE t (v);\n' \
                    'INSERT INTO "t" ("v") VALUES(1);\nINSERT INTO "t" ("v") VALUES(\'ü;\');\n'
            assert put(done["result"]["signed_url"], text)[0] == 404
            self.d1_rows(db, "CREATE TABLE other (v); INSERT INTO other VALUES (1)")
            done = self.d1_result("POST", f"/{db}/export", {"dump_options": {"no_data": True, "tables": ["other"]}})
            with urllib.request.urlopen(done["result"]["signed_url"], timeout=30, context=self.cluster.trust()) as answer:
                assert answer.read() == b"PRAGMA defer_foreign_keys=TRUE;\nCREATE TABLE other (v);\n"
            for _ in range(20):  # more than a process keeps: those that were got make room
                done = self.d1_result("POST", f"/{db}/export", {})
                with urllib.request.urlopen(done["result"]["signed_url"], timeout=30, context=self.cluster.trust()) as answer:
                    assert answer.read().startswith(b"PRAGMA"), done
            self.d1_rows(db, "CREATE VIRTUAL TABLE f USING fts5(v)")
            self.refused_saying(self.d1("POST", f"/{db}/export", b"{}"), 400, 7500,
                            "D1 Export error: cannot export databases with Virtual Tables (fts5)")

    # ---- wrangler, the SDK, bindery d1

    def d1_project(self, name, database, uuid):
        home = self.path(name)
        os.makedirs(home, exist_ok=True)
        with open(os.path.join(home, "wrangler.jsonc"), "w", encoding="utf-8") as file:
            json.dump({"name": name, "compatibility_date": "2026-04-01", "main": "index.js",
                       "d1_databases": [{"binding": "DB", "database_name": database, "database_id": uuid}]}, file)
        return home

    def check_d1_wrangler(self):
        self.wrangler("d1", "create", "wrangler-db")
        listed = {item["name"]: item["uuid"] for item in json.loads(self.wrangler("d1", "list", "--json"))}
        uuid = listed["wrangler-db"]
        at = ("wrangler-db", "--remote", "--json")
        info = json.loads(self.wrangler("d1", "info", "wrangler-db", "--json"))
        assert (info["uuid"], info["name"], info["num_tables"]) == (uuid, "wrangler-db", 0), info
        done = json.loads(self.wrangler("d1", "execute", *at, "--command",
                                        "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t (v) VALUES ('a;b'), (2); "
                                        "SELECT * FROM t"))
        assert done[-1]["results"] == [{"id": 1, "v": "a;b"}, {"id": 2, "v": 2}], done
        file = self.path("d1-wrangler.sql")
        with open(file, "w", encoding="utf-8") as out:
            out.write("-- a file\nINSERT INTO t (v) VALUES ('of the file;');\n")
            out.write("CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET v = v; SELECT 1; END;\n")
        self.wrangler("d1", "execute", *at, "--file", file, "-y")
        assert self.d1_rows("wrangler-db", "SELECT count(*) AS n FROM t") == [{"n": 3}]
        with open(file, "w", encoding="utf-8") as out:
            out.write("INSERT INTO t (v) VALUES (9);\nINSERT INTO none VALUES (1);\n")
        with self.fails("no such table: none"):
            self.wrangler("d1", "execute", *at, "--file", file, "-y")
        assert self.d1_rows("wrangler-db", "SELECT count(*) AS n FROM t") == [{"n": 3}]
        self.d1_wrangler_export()
        self.d1_wrangler_migrations(uuid)
        self.d1_wrangler_time_travel()
        self.wrangler("d1", "delete", "wrangler-db", "-y")
        self.refused_saying(self.d1("GET", "/wrangler-db"), 404, 7404, "The database wrangler-db could not be found")

    def d1_wrangler_export(self):
        """What is exported makes an equal database."""
        self.d1_rows("wrangler-db", "CREATE TABLE types (id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE INDEX iv ON types (v);"
                     "CREATE VIEW w AS SELECT v FROM types; "
                     "INSERT INTO types (v) VALUES (1), (1.5), ('it''s\n;'), (x'00ff'), (NULL), (9007199254740993)")
        file = self.path("d1-export.sql")
        self.wrangler("d1", "export", "wrangler-db", "--remote", "--output", file)
        with self.d1_database("export-back") as back:
            self.wrangler("d1", "execute", "export-back", "--remote", "--json", "-y", "--file", file)
            for sql in ("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name", "SELECT id, quote(v) AS v FROM types",
                        "SELECT quote(v) AS v FROM t ORDER BY id", "SELECT * FROM sqlite_sequence"):
                assert self.d1_rows("wrangler-db", sql) == self.d1_rows(back, sql), sql

    def d1_wrangler_migrations(self, uuid):
        home = self.d1_project("d1-project", "wrangler-db", uuid)
        config = ("--config", os.path.join(home, "wrangler.jsonc"))
        self.wrangler("d1", "migrations", "create", "wrangler-db", "first", *config)
        files = os.listdir(os.path.join(home, "migrations"))
        assert len(files) == 1 and files[0].endswith("first.sql"), files
        with open(os.path.join(home, "migrations", files[0]), "w", encoding="utf-8") as out:
            out.write("CREATE TABLE m (v);\nINSERT INTO m VALUES ('migrated');\n")
        assert "first" in self.wrangler("d1", "migrations", "list", "wrangler-db", "--remote", *config)
        self.wrangler("d1", "migrations", "apply", "wrangler-db", "--remote", *config)
        assert "No migrations" in self.wrangler("d1", "migrations", "list", "wrangler-db", "--remote", *config)
        assert self.d1_rows("wrangler-db", "SELECT v FROM m") == [{"v": "migrated"}]

    def d1_wrangler_time_travel(self):
        bookmark = json.loads(self.wrangler("d1", "time-travel", "info", "wrangler-db", "--json"))["bookmark"]
        time.sleep(1.1)  # wrangler's times are whole seconds here
        then = int(time.time())
        time.sleep(1.1)
        self.d1_rows("wrangler-db", "DELETE FROM m")
        at_time = json.loads(self.wrangler("d1", "time-travel", "info", "wrangler-db", "--timestamp", str(then), "--json"))
        assert at_time["bookmark"] == bookmark, (at_time, bookmark)
        done = json.loads(self.wrangler("d1", "time-travel", "restore", "wrangler-db", "--timestamp", str(then), "--json"))
        assert self.d1_rows("wrangler-db", "SELECT v FROM m") == [{"v": "migrated"}]
        self.wrangler("d1", "time-travel", "restore", "wrangler-db", "--bookmark", done["previous_bookmark"], "--json")
        assert self.d1_rows("wrangler-db", "SELECT v FROM m") == []

    def check_d1_cloudflare_sdk(self):
        self.sdk("d1")

    def check_d1_forks(self):
        """A fork is what its source was then, and each goes its own way, also when the source is gone."""
        with self.d1_database("source") as db:
            self.d1_rows(db, "CREATE TABLE t (v); INSERT INTO t VALUES ('kept')")
            kept = self.d1_result("GET", f"/{db}/time_travel/bookmark")["bookmark"]
            self.d1_rows(db, "INSERT INTO t VALUES ('later')")
            old = self.d1_result("POST", f"/{db}/time_travel/fork?name=fork-old&bookmark={kept}")
            new = self.bindery("d1", "time-travel", "fork", "source", "fork-new", "--json")
            assert (old["name"], new["name"]) == ("fork-old", "fork-new") and old["uuid"] != new["uuid"], (old, new)
            self.d1_rows("fork-old", "INSERT INTO t VALUES ('own')")
            self.d1_rows(db, "DELETE FROM t")
            self.refused_saying(self.d1("POST", f"/{db}/time_travel/fork?name=fork-old"), 400, 7502,
                            "Database with that name already exists")
            self.refused_saying(self.d1("POST", f"/{db}/time_travel/fork?name="), 400, 7400,
                            "name must be the new database's: 1 to 64 letters, digits, - and _")
            self.refused_saying(self.d1("POST", f"/{db}/time_travel/fork?name=x&timestamp=1000000000"), 400, 7400,
                            "There is no bookmark of that time: the database is younger, or its history is not kept for so long")
            self.refused_saying(self.d1("POST", "/nothing/time_travel/fork?name=x"), 404, 7404,
                            "The database nothing could not be found")
        for _ in range(3):  # on every node, and the source is deleted
            assert self.d1_rows("fork-old", "SELECT v FROM t") == [{"v": "kept"}, {"v": "own"}]
            assert self.d1_rows("fork-new", "SELECT v FROM t") == [{"v": "kept"}, {"v": "later"}]
        for name in ("fork-old", "fork-new"):
            self.d1_result("DELETE", "/" + name)
        self.refused_saying(self.d1("GET", "/x"), 404, 7404, "The database x could not be found")

    def d1_shell(self):
        def shell(text, status=0):
            done = subprocess.run([localcluster.BINARY, "d1", "shell", "cli-db"], input=text, capture_output=True, text=True,
                                  timeout=60, check=False, env={**self.environment, "BINDERY_URL": self.cluster.info["nodes"][2][
                                      "rest"], "BINDERY_API_TOKEN": self.cluster.info["token"]})
            assert done.returncode == status, (done.stdout, done.stderr)
            return done.stdout, done.stderr
        out, _ = shell("-- a script\nCREATE TABLE s (\n  v -- ; not the end\n);\n.tables\n.schema s\n.mode csv\n"
                       "INSERT INTO s VALUES ('a;b'); SELECT v FROM s;\n.timer on\nSELECT 1 AS one")
        assert out == "s\nt\nCREATE TABLE s (\n  v -- ; not the end\n);\nv\na;b\none\n1\n", repr(out)
        out, error = shell("SELECT 1;\nSELEC 1;\nSELECT 2;\n", 1)
        assert "SELEC" in error and "2" not in out, (out, error)
        assert "shell command .nothing" in shell(".nothing\n", 1)[1]
        assert shell("SELECT 1;\n.quit\nSELEC\n")[0].count("1") == 2

    def check_d1_cli(self):
        made = self.bindery("d1", "create", "cli-db", "--json")
        assert made["name"] == "cli-db", made
        with self.fails("already exists"):
            self.bindery("d1", "create", "cli-db")
        assert made["uuid"] in [item["uuid"] for item in self.bindery("d1", "list", "--filter", "cli", "--json")]
        done = self.bindery("d1", "execute", "cli-db", "--command",
                            "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t (v) VALUES ('x'); SELECT * FROM t",
                            "--json")
        assert done[2]["results"] == {"columns": ["id", "v"], "rows": [[1, "x"]]}, done
        text = self.bindery("d1", "execute", made["uuid"], "--command", "SELECT id, v, NULL AS n, x'00ff' AS b FROM t")
        assert text == "id  v  n     b\n--  -  ----  -------\n1   x  NULL  X'00FF'\n", repr(text)
        text = self.bindery("d1", "execute", "cli-db", "--mode", "csv", "--command", "SELECT 'a,\"b' AS c, 1.5 AS d")
        assert text == 'c,d\n"a,""b",1.5\n', repr(text)  # universal newlines
        file = self.path("d1-cli.sql")
        with open(file, "w", encoding="utf-8") as out:
            out.writelines(f"INSERT INTO t (v) VALUES ('line {i}');\n" for i in range(500))
        self.bindery("d1", "execute", "cli-db", "--file", file)
        before = self.bindery("d1", "time-travel", "info", "cli-db", "--json")["bookmark"]
        with self.fails("no such table"):
            self.bindery("d1", "execute", "cli-db", "--command", "DELETE FROM t; SELECT * FROM none")
        assert self.bindery("d1", "time-travel", "info", "cli-db", "--json")["bookmark"] == before
        self.bindery("d1", "execute", "cli-db", "--command", "DELETE FROM t")
        assert self.bindery("d1", "info", "cli-db", "--json")["num_tables"] == 1
        self.bindery("d1", "time-travel", "restore", "cli-db", "--bookmark", before)
        assert self.d1_rows("cli-db", "SELECT count(*) AS n FROM t") == [{"n": 501}]
        self.d1_shell()
        self.bindery("d1", "delete", "cli-db")
        with self.fails("could not be found"):
            self.bindery("d1", "info", "cli-db")
