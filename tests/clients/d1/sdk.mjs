// The `cloudflare` npm SDK's d1 family. Arguments: base URL, account id. The token comes from CLOUDFLARE_API_TOKEN.
// Prints one line per check; exits 1 on the first failure.
import assert from "node:assert/strict";
import Cloudflare from "cloudflare";

const [baseURL, account_id] = process.argv.slice(2);
const d1 = new Cloudflare({ baseURL, maxRetries: 0 }).d1.database;
const account = { account_id };
let database;
const all = async (pages) => { const items = []; for await (const item of pages) items.push(item); return items; };
const refused = (promise, status, code, message) => assert.rejects(promise, (error) => {
  assert.equal(error.status, status);
  assert.deepEqual(error.errors, [{ code, message }]);
  return true;
});

const checks = {
  async "databases are made, listed and found"() {
    const names = ["sdk-c", "sdk-a", "sdk-b"];
    const made = [];
    for (const name of names) made.push(await d1.create({ ...account, name, primary_location_hint: "weur" }));
    assert.match(made[0].uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(made[0].version, "production");
    for (const per_page of [1, 2, 1000]) { // the pager asks until it sees an empty page
      const listed = (await all(d1.list({ ...account, per_page, name: "sdk-" }))).map((item) => item.name);
      assert.deepEqual(listed, ["sdk-a", "sdk-b", "sdk-c"]);
    }
    await refused(d1.create({ ...account, name: "sdk-a" }), 400, 7502, "Database with that name already exists");
    const found = await d1.get(made[1].uuid, account);
    assert.deepEqual([found.uuid, found.name, found.num_tables], [made[1].uuid, "sdk-a", 0]);
    assert.equal((await d1.get("sdk-a", account)).uuid, made[1].uuid);
    for (const change of [d1.update, d1.edit]) {
      const set = (mode) => change.call(d1, made[1].uuid, { ...account, read_replication: { mode } });
      assert.equal((await set("auto")).read_replication.mode, "auto");
      await refused(set("disabled"), 400, 7400,
        'read_replication.mode can only be "auto": each session says where it may be read');
    }
    for (const { uuid } of made.slice(1)) await d1.delete(uuid, account);
    await refused(d1.get(made[1].uuid, account), 404, 7404, `The database ${made[1].uuid} could not be found`);
    await refused(d1.get("sdk-a", account), 404, 7404, "The database sdk-a could not be found");
    database = made[0].uuid;
  },
  async "queries"() {
    const query = async (body) => all(d1.query(database, { ...account, ...body }));
    const made = await query({ sql: "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t (v) VALUES ('a;b'); " +
      "SELECT * FROM t" });
    assert.deepEqual(made.map((r) => r.results), [[], [], [{ id: 1, v: "a;b" }]]);
    assert.deepEqual(made.map((r) => [r.success, r.meta.changes]), [[true, 0], [true, 1], [true, 0]]);
    const [one] = await query({ sql: "INSERT INTO t (v) VALUES (?), (?)", params: ["x", 7] });
    assert.deepEqual([one.meta.changes, one.meta.last_row_id, one.meta.rows_written], [2, 3, 2]);
    const batch = await query({ batch: [{ sql: "SELECT count(*) AS n FROM t" }, { sql: "SELECT v FROM t WHERE id = ?",
      params: [3] }] });
    assert.deepEqual(batch.map((r) => r.results), [[{ n: 3 }], [{ v: 7 }]]);
    const raw = await all(d1.raw(database, { ...account, sql: "SELECT id, v FROM t WHERE id < 3 ORDER BY id" }));
    assert.deepEqual(raw[0].results, { columns: ["id", "v"], rows: [[1, "a;b"], [2, "x"]] });
    await refused(query({ sql: "INSERT INTO t VALUES (9, 9); SELECT * FROM none" }), 400, 7500,
      "no such table: none: SQLITE_ERROR");
    assert.deepEqual((await query({ sql: "SELECT count(*) AS n FROM t" }))[0].results, [{ n: 3 }]);
    assert.equal((await d1.get(database, account)).num_tables, 1);
  },
  async "time travel"() {
    const { bookmark } = await d1.timeTravel.getBookmark(database, account);
    assert.match(bookmark, /^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}$/);
    await all(d1.query(database, { ...account, sql: "DELETE FROM t" }));
    const restored = await d1.timeTravel.restore(database, { ...account, bookmark });
    assert.ok(restored.previous_bookmark.localeCompare(bookmark) > 0);
    const count = async () => (await all(d1.query(database, { ...account, sql: "SELECT count(*) AS n FROM t" })))[0].results;
    assert.deepEqual(await count(), [{ n: 3 }]);
    await d1.timeTravel.restore(database, { ...account, bookmark: restored.previous_bookmark });
    assert.deepEqual(await count(), [{ n: 0 }]);
  },
  async "the end"() {
    await d1.delete(database, account);
    await refused(d1.get(database, account), 404, 7404, `The database ${database} could not be found`);
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok ${name}`);
}
