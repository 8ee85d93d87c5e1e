// The `cloudflare` npm SDK's whole kv family. Arguments: base URL, account id. The token comes from CLOUDFLARE_API_TOKEN.
// Prints one line per check; exits 1 on the first failure.
import assert from "node:assert/strict";
import Cloudflare from "cloudflare";

const [baseURL, account_id] = process.argv.slice(2);
const kv = new Cloudflare({ baseURL, maxRetries: 0 }).kv.namespaces;
const account = { account_id };
let namespace;
const within = () => ({ account_id, namespace_id: namespace });
const text = async (answer) => (await answer).text();
const all = async (pages) => { const items = []; for await (const item of pages) items.push(item); return items; };
const refused = (promise, status, code, message) => assert.rejects(promise, (error) => {
  assert.equal(error.status, status);
  assert.deepEqual(error.errors, [{ code, message }]);
  return true;
});

const checks = {
  async "namespaces are made, listed, renamed and found"() {
    const titles = ["sdk c", "sdk a", "sdk b"];
    const made = [];
    for (const title of titles) made.push(await kv.create({ ...account, title }));
    assert.match(made[0].id, /^[0-9a-f]{32}$/);
    assert.equal(made[0].supports_url_encoding, true);
    const ours = (list) => list.map((n) => n.title).filter((title) => title.startsWith("sdk "));
    for (const per_page of [1, 2, 1000]) { // the pager asks until it sees an empty page
      assert.deepEqual(ours(await all(kv.list({ ...account, per_page, order: "title", direction: "desc" }))),
        ["sdk c", "sdk b", "sdk a"]);
    }
    assert.equal((await all(kv.list(account))).length >= 3, true);
    await refused(kv.create({ ...account, title: "sdk a" }), 400, 10014,
      "a namespace with this account ID and title already exists");
    await kv.update(made[1].id, { ...account, title: "sdk d" });
    assert.equal((await kv.get(made[1].id, account)).title, "sdk d");
    for (const { id } of made.slice(1)) await kv.delete(id, account);
    await refused(kv.get(made[1].id, account), 404, 10013, "get namespace: 'namespace not found'");
    namespace = made[0].id;
  },
  async "values"() {
    await kv.values.update("a/b c", { ...within(), value: "v\r\n--x", metadata: JSON.stringify({ m: "ü" }) });
    assert.equal(await text(kv.values.get("a/b c", within())), "v\r\n--x");
    assert.deepEqual(await kv.metadata.get("a/b c", within()), { m: "ü" });
    await kv.values.update("plain", { ...within(), value: "", expiration_ttl: 120 });
    const answer = await kv.values.get("plain", within());
    assert.equal(await answer.text(), "");
    assert.ok(Number(answer.headers.get("expiration")) > Date.now() / 1000 + 100);
    await kv.values.delete("plain", within());
    await refused(kv.values.get("plain", within()), 404, 10009, "get: 'key not found'");
    await refused(kv.values.update("a", { ...within(), value: "x", expiration_ttl: 59 }), 400, 10034,
      "put: 'Invalid expiration_ttl of 59. Expiration TTL must be at least 60.'");
  },
  async "bulk"() {
    const body = Array.from({ length: 2500 }, (_, i) => ({ key: `k/${String(i).padStart(4, "0")}`, value: `v${i}` }));
    body[7] = { key: "k/0007", value: Buffer.from("bytes").toString("base64"), base64: true, metadata: { a: [1] } };
    const put = await kv.bulkUpdate(namespace, { ...account, body });
    assert.deepEqual(put, { successful_key_count: 2500, unsuccessful_keys: [] });
    const got = await kv.bulkGet(namespace, { ...account, keys: ["k/0001", "none", "k/0007"] });
    assert.deepEqual(got.values, { "k/0001": "v1", none: null, "k/0007": "bytes" });
    const more = await kv.bulkGet(namespace, { ...account, keys: ["k/0007"], withMetadata: true });
    assert.deepEqual(more.values, { "k/0007": { value: "bytes", metadata: { a: [1] } } });
  },
  async "lists of keys end, whole and in order"() {
    for (const limit of [10, 999, 1000, undefined]) {
      const keys = await all(kv.keys.list(namespace, { ...account, prefix: "k/", limit }));
      assert.deepEqual(keys.map((k) => k.name), Array.from({ length: 2500 }, (_, i) => `k/${String(i).padStart(4, "0")}`));
      assert.deepEqual(keys[7].metadata, { a: [1] });
    }
    assert.deepEqual(await all(kv.keys.list(namespace, { ...account, prefix: "none" })), []);
    await refused(kv.keys.list(namespace, { ...account, limit: 9 }), 400, 10028,
      "list keys: 'Invalid limit of 9. Please specify an integer greater than 9.'");
  },
  async "bulk delete, and the end"() {
    const keys = (await all(kv.keys.list(namespace, account))).map((k) => k.name);
    assert.equal((await kv.bulkDelete(namespace, { ...account, body: keys })).successful_key_count, 2501);
    assert.deepEqual(await all(kv.keys.list(namespace, account)), []);
    await kv.delete(namespace, account);
    await refused(kv.keys.list(namespace, account), 404, 10013, "list keys: 'namespace not found'");
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok ${name}`);
}
