"""Checks of D1's imports and exports above what one transaction and one answer hold, for the class of `run`: what is
imported is there whole or not at all, and what is exported makes an equal database (Python's SQLite is the judge)."""
import hashlib
import json
import sqlite3
import urllib.error
import urllib.request

LONG = "Currently processing a long-running import."
HEAD = '''PRAGMA defer_foreign_keys=TRUE;
CREATE TABLE child (id INTEGER PRIMARY KEY AUTOINCREMENT, parent TEXT NOT NULL REFERENCES parent (name), note);
CREATE TABLE IF NOT EXISTS "a ""table""" (rowid REAL, b BLOB, c AS (b || 'x') STORED, t TEXT DEFAULT 'd;');
CREATE TABLE pairs (x TEXT COLLATE NOCASE, y INT, z, PRIMARY KEY (y, x COLLATE BINARY)) WITHOUT ROWID;
'''
TAIL = """CREATE TABLE parent (name TEXT PRIMARY KEY);
INSERT INTO parent VALUES ('p1'), ('p2');
CREATE INDEX by_note ON child (note) WHERE note > 'n';
CREATE INDEX "by parent" ON child (parent DESC, note COLLATE NOCASE);
CREATE INDEX by_z ON pairs (z, x);
CREATE UNIQUE INDEX "by z" ON pairs (z DESC);
CREATE VIEW looks AS SELECT id FROM child;
CREATE TRIGGER "to looks" INSTEAD OF INSERT ON looks BEGIN INSERT INTO child (parent) VALUES ('p1'); END;
CREATE TRIGGER g AFTER INSERT ON child BEGIN UPDATE child SET note = 'g;' WHERE id = NEW.id; SELECT 1; END;
"""


def dump_text(rows):
    """A dump of every kind of object, children before their parents."""
    parts = [HEAD]
    for i in range(rows):
        parts.append(f"INSERT INTO child (parent, note) VALUES ('p{i % 2 + 1}', 'n {i} ''; -- ' || '{'x' * 40}');\n")
        if i % 8 == 0:
            parts.append(f"INSERT INTO \"a \"\"table\"\"\" (rowid, b, t) VALUES ({i / 7!r}, X'{i:08x}00ff', 'ü\n/* {i}');\n")
            parts.append(f"INSERT INTO pairs VALUES ('{'aA'[i // 8 % 2]}', {i // 16}, {-i});\n")
    parts.append("INSERT INTO \"a \"\"table\"\"\" (rowid, b, t) VALUES (9e999, CAST(X'41004200' AS TEXT), '');\n")
    parts.append(f"INSERT INTO child (parent, note) VALUES ('p1', X'{'ab' * 20000}'), ('p2', NULL);\n")
    return "".join(parts) + TAIL


def contents(script):
    """What a script makes of an empty database."""
    database = sqlite3.connect(":memory:")
    database.text_factory = bytes
    database.executescript(script)
    schema = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    # a dump writes what it was made from in its own words
    schema = [(kind, name, table, (sql or b"").replace(b"IF NOT EXISTS ", b"")) for kind, name, table, sql in schema]
    rows = {}
    for kind, name, *_ in schema:
        if kind == b"table":
            quoted = name.decode().replace('"', '""')
            rows[name] = sorted(map(repr, database.execute(f'SELECT * FROM "{quoted}"')))
    return schema, rows


class D1FileChecks:
    def import_step(self, database, action, **more):
        return self.d1("POST", f"/{database}/import", json.dumps({"action": action, **more}).encode())

    def import_file(self, database, text, during=None):
        """The last answer of an import that is polled to its end."""
        made = json.loads(self.import_step(database, "init", etag=hashlib.md5(text).hexdigest())[2])["result"]
        put = urllib.request.Request(made["upload_url"], data=text, method="PUT")
        with urllib.request.urlopen(put, timeout=60, context=self.cluster.trust()) as answer:
            assert answer.status == 200
        status, _, body = self.import_step(database, "ingest", filename=made["filename"])
        while True:
            assert status == 200, body
            last = json.loads(body)["result"]
            assert last["success"] is True and last["type"] == "import", last
            if last["status"] != "active":
                return last
            if during is not None:
                during()
            status, _, body = self.import_step(database, "poll", current_bookmark=last["at_bookmark"])

    def export_text(self, database, **options):
        done = self.d1_result("POST", f"/{database}/export", {"output_format": "polling", "dump_options": options})
        assert done["status"] == "complete", done
        with urllib.request.urlopen(done["result"]["signed_url"], timeout=60, context=self.cluster.trust()) as answer:
            return answer.read().decode()

    def bookmark(self, database):
        return self.d1_result("GET", f"/{database}/time_travel/bookmark")["bookmark"]

    def check_d1_large_files(self):
        text = dump_text(70000)
        assert len(text) > 8 << 20, len(text)
        with self.one_node(), self.d1_database("large") as db, self.d1_database("large-back") as back:
            self.d1_rows(db, "CREATE TABLE before (v); INSERT INTO before VALUES (1)")
            before = self.bookmark(db)
            seen = []

            def during():
                status, _, body = self.d1("POST", f"/{db}/query", b'{"sql":"INSERT INTO before VALUES (2)"}')
                seen.append((status, json.loads(body)["errors"]))
                assert self.d1_rows(db, "SELECT v FROM before") == [{"v": 1}]
            done = self.import_file(db, text.encode(), during)
            assert done["status"] == "complete", done
            assert done["result"]["num_queries"] == text.count(";\n"), done
            assert done["result"]["final_bookmark"] == self.bookmark(db), done
            for got in seen:  # none, if the machine was fast
                assert got == (400, [{"code": 7500, "message": LONG}]), got
            self.d1_rows(db, "DROP TABLE before")
            exported = self.export_text(db)
            assert contents(exported) == contents(text), "what was exported is another database"
            done = self.import_file(back, exported.encode())
            assert done["status"] == "complete", done
            assert self.export_text(back) == exported
            self.d1_result("POST", f"/{db}/time_travel/restore?bookmark={before}")
            assert self.d1_rows(db, "SELECT name FROM sqlite_schema") == [{"name": "before"}]

    def check_d1_large_files_are_whole_or_nothing(self):
        text = dump_text(60000)
        with self.one_node(), self.d1_database("whole") as db:
            self.d1_rows(db, "CREATE TABLE before (v)")
            before = self.bookmark(db)
            for wrong, why in ((text + "INSERT INTO nowhere VALUES (1);", "no such table: nowhere"),
                               (text + "INSERT INTO child (parent) VALUES ('nobody');", "FOREIGN KEY constraint failed"),
                               (text + "SELECT '" + "-" * (3 << 20), "statement too long"),
                               ("-- nothing" + "\n" * (6 << 20), "No SQL statements detected.")):
                done = self.import_file(db, wrong.encode())
                assert done["status"] == "error" and done["errors"][0].startswith(why), done
                assert self.bookmark(db) == before
                self.d1_rows(db, "INSERT INTO before VALUES (1)")  # it is free again
                before = self.bookmark(db)
            for _ in range(16):  # a process keeps as many: those whose end was told make room
                assert self.import_file(db, b"\n" * (5 << 20))["status"] == "error"
            assert self.d1_rows(db, "SELECT name FROM sqlite_schema") == [{"name": "before"}]
            made = json.loads(self.import_step(db, "init", etag="0" * 32)[2])["result"]
            put = urllib.request.Request(made["upload_url"], data=text.encode(), method="PUT")
            try:
                urllib.request.urlopen(put, timeout=60, context=self.cluster.trust())
                assert False, "another file was taken"
            except urllib.error.HTTPError as error:
                assert error.code == 400, error.read()
            self.refused_saying(self.import_step(db, "ingest", filename=made["filename"]), 400, 7400,
                                "The file has not been uploaded to this process, or too long ago")

    def check_d1_large_keys(self):
        """An index of which a transaction has no room for many entries."""
        rows = 400
        text = "CREATE TABLE k (v);\n" + "".join(
            f"INSERT INTO k VALUES ('{i * 7919 % 1009:04}{'k' * 45000}');\n" for i in range(rows)) + "CREATE INDEX by_v ON k (v);\n"
        with self.one_node(), self.d1_database("keys") as db:
            done = self.import_file(db, text.encode())
            assert done["status"] == "complete", done
            status, _, got = self.d1("GET", f"/{db}/sqlite")
            assert status == 200, got
            database = sqlite3.connect(":memory:")
            database.deserialize(got)
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("SELECT count(*) FROM k INDEXED BY by_v").fetchone() == (rows,)

    def check_d1_large_files_through_wrangler(self):
        text = dump_text(60000)
        file = self.path("d1-large.sql")
        with self.d1_database("wrangler-large"):
            with open(file, "w", encoding="utf-8") as out:
                out.write(text)
            said = self.wrangler("d1", "execute", "wrangler-large", "--remote", "-y", "--file", file)
            assert f"Executed {text.count(chr(59) + chr(10))} queries" in said, said
            self.wrangler("d1", "export", "wrangler-large", "--remote", "--output", file)
            with open(file, encoding="utf-8") as exported:
                assert contents(exported.read()) == contents(text)
            with open(file, "w", encoding="utf-8") as out:
                out.write("INSERT INTO parent VALUES (NULL);\n" * 150000 + "INSERT INTO nowhere VALUES (1);\n")
            with self.fails("no such table: nowhere"):
                self.wrangler("d1", "execute", "wrangler-large", "--remote", "--json", "-y", "--file", file)
