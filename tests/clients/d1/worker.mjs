// Every call that a D1 binding has, as a Worker makes it. GET /<check> runs one and answers "ok", or what went wrong.
// The checks are called by d1checks.py on every node: env.DB is a database of its own for each run.
function equal(got, expected, what) {
  if (JSON.stringify(got) !== JSON.stringify(expected)) {
    throw new Error(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(expected)}`);
  }
}

function is(condition, what) {
  if (!condition) throw new Error(what);
}

async function fails(promise, message) {
  try {
    await promise;
  } catch (error) {
    equal(error.message, message, "error");
    return;
  }
  throw new Error(`done although "${message}" was expected`);
}

const checks = {
  async prepared({ DB }) {
    const made = await DB.prepare("CREATE TABLE p (id INTEGER PRIMARY KEY, name TEXT, n REAL)").run();
    equal([made.success, made.meta.changed_db], [true, true], "create");
    const put = DB.prepare("INSERT INTO p (name, n) VALUES (?1, ?2)");
    const one = await put.bind("ü € \u{1F600}", 1.5).run();
    equal([one.success, one.results], [true, []], "insert");
    const { meta } = one;
    equal([meta.changes, meta.last_row_id, meta.changed_db, meta.rows_read, meta.rows_written, meta.served_by_primary],
      [1, 1, true, 0, 1, true], "meta of an insert");
    is(meta.size_after >= 8192 && meta.size_after % 4096 === 0, `size ${meta.size_after}`);
    is(typeof meta.duration === "number" && typeof meta.timings.sql_duration_ms === "number", "times");
    is(typeof meta.served_by === "string" && meta.served_by.length > 0, "served_by");
    await put.bind("second", null).run();
    const all = await DB.prepare("SELECT * FROM p ORDER BY id").all();
    equal(all.results, [{ id: 1, name: "ü € \u{1F600}", n: 1.5 }, { id: 2, name: "second", n: null }], "all");
    equal([all.meta.changes, all.meta.changed_db, all.meta.rows_read, all.meta.rows_written], [0, false, 2, 0],
      "meta of a select");
    equal(await DB.prepare("SELECT name FROM p WHERE id = ?").bind(2).first(), { name: "second" }, "first");
    equal(await DB.prepare("SELECT name, id FROM p WHERE id = ?").bind(2).first("id"), 2, "first of a column");
    equal(await DB.prepare("SELECT name FROM p WHERE id = 7").first(), null, "first of none");
    equal(await DB.prepare("SELECT id, n FROM p ORDER BY id").raw(), [[1, 1.5], [2, null]], "raw");
    equal(await DB.prepare("SELECT id AS a, id AS a FROM p WHERE id = 1").raw({ columnNames: true }), [["a", "a"], [1, 1]],
      "raw with names");
    equal(await DB.prepare("SELECT id AS x FROM p WHERE 0").raw({ columnNames: true }), [["x"]], "raw names of no rows");
    equal((await DB.prepare("UPDATE p SET n = 7").run()).meta.changes, 2, "update");
    equal((await DB.prepare("DELETE FROM p WHERE id = 1 RETURNING name").all()).results, [{ name: "ü € \u{1F600}" }],
      "returning");
    await fails(DB.prepare("SELECT id FROM p").first("none"), "D1_COLUMN_NOTFOUND: Column not found (none)");
  },

  async types({ DB }) {
    await DB.exec("CREATE TABLE t (v)");
    const back = async (value) => (await DB.prepare("SELECT ?1 AS v, typeof(?1) AS t").bind(value).first());
    equal(await back(7), { v: 7, t: "real" }, "a whole number, as D1 binds it");
    equal(await back(-0.5), { v: -0.5, t: "real" }, "real");
    equal(await back(1e300), { v: 1e300, t: "real" }, "large");
    equal(await back(9007199254740991), { v: 9007199254740991, t: "real" }, "the largest that is exact");
    equal(await back("t\"\\\n\u0001é"), { v: "t\"\\\n\u0001é", t: "text" }, "text");
    equal(await back(""), { v: "", t: "text" }, "empty text");
    equal(await back(true), { v: 1, t: "real" }, "true");
    equal(await back(false), { v: 0, t: "real" }, "false");
    equal(await back(null), { v: null, t: "null" }, "null");
    const bytes = Uint8Array.from({ length: 300 }, (_, i) => i & 255);
    equal(await back(bytes), { v: [...bytes], t: "blob" }, "a view");
    equal(await back(bytes.buffer), { v: [...bytes], t: "blob" }, "a buffer");
    equal(await back([]), { v: [], t: "blob" }, "no bytes");
    const big = new Uint8Array(1_000_000).map((_, i) => (i * 7 + (i >> 8)) & 255);
    await DB.prepare("INSERT INTO t VALUES (?)").bind(big).run();
    const got = await DB.prepare("SELECT v, length(v) AS n, substr(v, 999999, 2) AS tail FROM t").first();
    equal([got.n, got.v.length, got.tail], [1_000_000, 1_000_000, [...big.subarray(999_998)]], "a megabyte");
    is(got.v.every((byte, i) => byte === big[i]), "a byte differs");
    let refused = null;
    try {
      DB.prepare("SELECT ?").bind(undefined);
    } catch (error) {
      refused = error.message;
    }
    equal(refused, "D1_TYPE_ERROR: Type 'undefined' not supported for value 'undefined'", "undefined");
  },

  async batch({ DB }) {
    await DB.exec("CREATE TABLE b (id INTEGER PRIMARY KEY, v TEXT UNIQUE)");
    const put = DB.prepare("INSERT INTO b (v) VALUES (?)");
    const done = await DB.batch([put.bind("x"), put.bind("y"), DB.prepare("SELECT count(*) AS n FROM b")]);
    equal(done.map((r) => [r.success, r.results, r.meta.changes]), [[true, [], 1], [true, [], 1], [true, [{ n: 2 }], 0]],
      "a batch");
    await fails(DB.batch([put.bind("z"), put.bind("x"), put.bind("w")]),
      "D1_ERROR: UNIQUE constraint failed: b.v: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)");
    equal(await DB.prepare("SELECT group_concat(v) AS all_of FROM b").first("all_of"), "x,y", "nothing of a failed batch");
  },

  async exec({ DB }) {
    const done = await DB.exec("CREATE TABLE e (a, b)\nINSERT INTO e VALUES (1, 'x;y')\nSELECT * FROM e");
    equal(done.count, 3, "count");
    is(typeof done.duration === "number", "duration");
    await fails(DB.exec("INSERT INTO e VALUES (2, 2)\nINSERT INTO nowhere VALUES (1)"),
      "D1_EXEC_ERROR: Error in line 1: INSERT INTO e VALUES (2, 2): no such table: nowhere: SQLITE_ERROR");
    equal(await DB.prepare("SELECT count(*) AS n FROM e").first("n"), 1, "nothing of a failed exec");
  },

  async sessions({ DB }) {
    await DB.exec("CREATE TABLE s (v)");
    const session = DB.withSession("first-primary");
    equal(session.getBookmark(), null, "before the first query");
    await session.prepare("INSERT INTO s VALUES (1)").run();
    const first = session.getBookmark();
    is(/^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}$/.test(first), `bookmark ${first}`);
    await session.prepare("INSERT INTO s VALUES (2)").run();
    const second = session.getBookmark();
    is(first.localeCompare(second) < 0, `${first} is not before ${second}`);
    const other = DB.withSession(second);
    equal((await other.prepare("SELECT count(*) AS n FROM s").first("n")), 2, "a session that goes on");
    is(other.getBookmark().localeCompare(second) >= 0, "bookmarks do not go back");
    for (let i = 0; i < 20; i++) { // what a session wrote it reads, wherever
      await session.prepare("INSERT INTO s VALUES (?)").bind(i).run();
      equal(await session.prepare("SELECT count(*) AS n FROM s").first("n"), 3 + i, "its own write");
    }
    const anywhere = DB.withSession();
    is((await anywhere.batch([anywhere.prepare("SELECT count(*) AS n FROM s")]))[0].results[0].n >= 0, "unconstrained");
    is(anywhere.getBookmark() !== null, "it has a bookmark then");
    await fails(DB.withSession("nonsense").prepare("SELECT 1").run(),
      "D1_ERROR: D1_SESSION_ERROR: invalid bookmark or constraint");
  },

  async errors({ DB }) {
    await DB.exec("CREATE TABLE r (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)");
    const run = (sql, ...values) => DB.prepare(sql).bind(...values).run();
    await fails(run("SELEC 1"), 'D1_ERROR: near "SELEC": syntax error at offset 0: SQLITE_ERROR');
    await fails(run("SELECT * FROM none"), "D1_ERROR: no such table: none: SQLITE_ERROR");
    await fails(run("SELECT ?1, ?2", 1), "D1_ERROR: Wrong number of parameter bindings for SQL query.");
    await fails(run("INSERT INTO r (n) VALUES (NULL)"),
      "D1_ERROR: NOT NULL constraint failed: r.n: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_NOTNULL)");
    await fails(run(""), "D1_ERROR: No SQL statements detected.");
    for (const sql of ["ATTACH 'x' AS y", "PRAGMA journal_mode = WAL", "SELECT * FROM _cf_KV", "BEGIN"]) {
      let message = "";
      try {
        await run(sql);
      } catch (error) {
        message = error.message;
      }
      is(message.startsWith("D1_ERROR: "), `${sql} was done: ${message}`);
      is(!/Network connection lost|reset because/.test(message), `${sql} could be tried again: ${message}`);
    }
    await fails(DB.dump(), "D1_DUMP_ERROR: Status + 400");
    equal(await DB.prepare("SELECT count(*) AS n FROM r").first("n"), 0, "something was written");
    equal(await DB.prepare("SELECT 1 AS one -- and a comment").first("one"), 1, "a comment");
  },

  async migrated({ DB }) { // foreign keys, triggers, views, indexes, JSON, FTS
    await DB.batch([
      "CREATE TABLE a (id INTEGER PRIMARY KEY)",
      "CREATE TABLE c (a REFERENCES a(id) ON DELETE CASCADE, v TEXT)",
      "CREATE INDEX cv ON c (v)",
      "CREATE VIEW w AS SELECT a.id, c.v FROM a JOIN c ON c.a = a.id",
      "CREATE TRIGGER g AFTER INSERT ON a BEGIN INSERT INTO c VALUES (new.id, 'of the trigger'); END",
      "CREATE VIRTUAL TABLE f USING fts5(text)",
    ].map((sql) => DB.prepare(sql)));
    await DB.prepare("INSERT INTO a VALUES (1), (2)").run();
    equal((await DB.prepare("SELECT * FROM w ORDER BY id").all()).results,
      [{ id: 1, v: "of the trigger" }, { id: 2, v: "of the trigger" }], "view");
    await fails(DB.prepare("INSERT INTO c VALUES (9, 'x')").run(),
      "D1_ERROR: FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)");
    await DB.prepare("DELETE FROM a WHERE id = 1").run();
    equal(await DB.prepare("SELECT count(*) AS n FROM c").first("n"), 1, "cascade");
    await DB.prepare("INSERT INTO f VALUES ('the quick brown fox'), ('lazy dogs')").run();
    equal((await DB.prepare("SELECT rowid FROM f WHERE f MATCH 'quick'").all()).results, [{ rowid: 1 }], "fts5");
    equal(await DB.prepare("SELECT json_extract(?, '$.a[1]') AS v").bind('{"a":[1,2]}').first("v"), 2, "json");
  },

  async clean({ DB }) {
    const drop = async (type, order) => {
      const { results } = await DB.prepare("SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'sqlite_%' " +
        "AND name NOT LIKE 'f_%'").bind(type).all();
      for (const { name } of results) await DB.prepare(`DROP ${order} "${name}"`).run();
    };
    await drop("view", "VIEW");
    for (const table of ["c", "a"]) await DB.prepare(`DROP TABLE IF EXISTS ${table}`).run();
    await drop("table", "TABLE");
  },
};

export default {
  async fetch(request, env) {
    const check = checks[new URL(request.url).pathname.slice(1)];
    if (!check) return new Response(Object.keys(checks).join("\n"), { status: 404 });
    try {
      await check(env);
      return new Response("ok");
    } catch (error) {
      return new Response(error.stack ?? String(error), { status: 500 });
    }
  },
};
