// Every call that a KV binding has, as a Worker makes it. GET /<check> runs one and answers "ok", or what went wrong.
// The checks are called by kvchecks.py on every node: env.KV is a namespace of its own for each run.
function equal(got, expected, what) {
  if (JSON.stringify(got) !== JSON.stringify(expected)) {
    throw new Error(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(expected)}`);
  }
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

// A block of a prime length, again and again: no piece of 256 KiB is like another.
function bytes(size, seed) {
  const block = Uint8Array.from({ length: Math.min(size, 65521) }, (_, i) => (i * 31 + seed + (i >> 8)) & 255);
  const all = new Uint8Array(size);
  for (let at = 0; at < size; at += block.length) all.set(block.subarray(0, size - at), at);
  return all;
}

async function same(stream, expected) {
  let at = 0;
  for await (const piece of stream) {
    for (const byte of piece) {
      if (byte !== expected[at++]) throw new Error(`byte ${at - 1} differs`);
    }
  }
  equal(at, expected.length, "length");
}

const checks = {
  async values({ KV }) {
    const key = "a/b c?é%2F.";
    equal(await KV.get(key), null, "missing");
    await KV.put(key, "värde");
    equal(await KV.get(key), "värde", "text");
    equal(await KV.get(key, "text"), "värde", "text");
    equal([...new Uint8Array(await KV.get(key, "arrayBuffer"))], [...new TextEncoder().encode("värde")], "bytes");
    await KV.put(key, JSON.stringify({ a: [1, null] }));
    equal(await KV.get(key, { type: "json", cacheTtl: 60 }), { a: [1, null] }, "json");
    await KV.put(key, "");
    equal(await KV.get(key), "", "empty");
    await KV.delete(key);
    await KV.delete(key);
    equal(await KV.get(key), null, "deleted");
  },

  async metadata({ KV }) {
    const metadata = { "ü": ["€", { n: 1.5e-7 }], e: "\u{1F600}\u2028" };
    await KV.put("m", "v", { metadata });
    equal(await KV.getWithMetadata("m"), { value: "v", metadata, cacheStatus: "HIT" }, "with metadata");
    await KV.put("m", "v");
    equal((await KV.getWithMetadata("m")).metadata, null, "put without");
    equal((await KV.getWithMetadata("none")).value, null, "missing");
    equal((await KV.getWithMetadata("none")).metadata, null, "missing");
  },

  async expiry({ KV }) {
    const now = Math.floor(Date.now() / 1000);
    await KV.put("ttl", "v", { expirationTtl: 60 });
    await KV.put("at", "v", { expiration: now + 3600, metadata: 7 });
    const { keys } = await KV.list();
    const at = keys.find((k) => k.name === "at");
    const ttl = keys.find((k) => k.name === "ttl");
    equal(at, { name: "at", expiration: now + 3600, metadata: 7 }, "absolute");
    if (ttl.expiration < now + 59 || ttl.expiration > now + 90) throw new Error(`ttl: ${ttl.expiration} at ${now}`);
  },

  async large({ KV }) {
    for (const size of [65536, 65537, 262144, 262145, 25 << 20]) {
      const value = bytes(size, size & 255);
      await KV.put("big", value);
      await same(await KV.get("big", "stream"), value);
    }
    const { readable, writable } = new TransformStream(); // without a length: chunked
    const writer = writable.getWriter();
    const put = KV.put("streamed", readable);
    const part = bytes(100_000, 3);
    for (let i = 0; i < 7; i++) await writer.write(part);
    await writer.close();
    await put;
    const got = new Uint8Array(await KV.get("streamed", "arrayBuffer"));
    equal(got.length, 700_000, "streamed");
    await same([got.subarray(600_000)], part);
    await KV.delete("big");
    equal(await KV.get("big"), null, "a large one deleted");
  },

  async bulk({ KV }) {
    await KV.put("j1", '{"x":1}', { metadata: { m: 1 } });
    await KV.put("j2", "[2]");
    const texts = await KV.get(["j2", "none", "j1"]);
    equal([...texts], [["j2", "[2]"], ["none", null], ["j1", '{"x":1}']], "texts, in order");
    equal([...await KV.get(["j1", "j2"], { type: "json", cacheTtl: 60 })], [["j1", { x: 1 }], ["j2", [2]]], "json");
    equal([...await KV.getWithMetadata(["j1", "j2", "none"], "json")],
      [["j1", { value: { x: 1 }, metadata: { m: 1 } }], ["j2", { value: [2], metadata: null }], ["none", null]],
      "with metadata");
    await KV.put("j3", "no json");
    await fails(KV.get(["j1", "j3"], "json"),
      "KV GET_BULK failed: 400 At least one of the requested keys corresponds to a non-json value");
    await fails(KV.get(Array.from({ length: 101 }, (_, i) => `k${i}`)),
      "KV GET_BULK failed: 400 You can request a maximum of 100 keys");
    await KV.put("big1", bytes(14 << 20, 1).map((b) => 97 + (b & 15)));
    await KV.put("big2", bytes(12 << 20, 2).map((b) => 97 + (b & 15)));
    equal((await KV.get(["big1", "j2"])).get("big1").length, 14 << 20, "a large value among others");
    await fails(KV.get(["big1", "big2"]), "KV GET_BULK failed: 413 Total size of request exceeds the limit of 25MB");
  },

  async lists({ KV }) {
    const names = Array.from({ length: 25 }, (_, i) => `l/${String(i).padStart(2, "0")}`);
    await Promise.all([...names, "z", "l0", "é", "\u{1F600}", "\uFF5E"].map((name) => KV.put(name, "v")));
    equal((await KV.list({ prefix: "l/" })).keys.map((k) => k.name), names, "prefix");
    const all = (await KV.list()).keys.map((k) => k.name);
    equal(all, [...names, "l0", "z", "é", "\uFF5E", "\u{1F600}"], "in the order of UTF-8");
    const seen = [];
    let cursor;
    do {
      const page = await KV.list({ prefix: "l/", limit: 10, cursor });
      seen.push(...page.keys.map((k) => k.name));
      cursor = page.cursor;
      equal(page.list_complete, cursor === undefined, "complete");
      if (seen.length === 10) { // keys change meanwhile
        await KV.delete("l/03");
        await KV.delete("l/20");
        await KV.put("l/15a", "new");
        await KV.put("l/00a", "behind the cursor");
      }
    } while (cursor);
    equal(seen, [...names.slice(0, 16), "l/15a", ...names.slice(16, 20), ...names.slice(21)], "pages");
  },

  async refused({ KV }) {
    const soon = Math.floor(Date.now() / 1000) + 30;
    await fails(KV.put("r", "v", { expirationTtl: 59 }),
      "KV PUT failed: 400 Invalid expiration_ttl of 59. Expiration TTL must be at least 60.");
    await fails(KV.put("r", "v", { expiration: 1 }),
      "KV PUT failed: 400 Invalid expiration of 1. Please specify integer greater than the current number of seconds " +
      "since the UNIX epoch.");
    await fails(KV.put("r", "v", { expiration: soon }),
      `KV PUT failed: 400 Invalid expiration of ${soon}. Expiration times must be at least 60 seconds in the future.`);
    await fails(KV.put("r", "v", { metadata: "m".repeat(1023) }),
      "KV PUT failed: 413 Metadata length of 1025 exceeds limit of 1024.");
    await fails(KV.put("r", bytes((25 << 20) + 1, 0)),
      "KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400.");
    await fails(KV.get("r", { cacheTtl: 29 }), "KV GET failed: 400 Invalid cache_ttl of 29. Cache TTL must be at least 30.");
    await fails(KV.list({ limit: 1001 }),
      "KV GET failed: 400 Invalid key_count_limit of 1001. Please specify an integer less than 1000.");
    await fails(KV.list({ cursor: "bm9uZQ" }), 'KV GET failed: 400 Invalid "list keys" cursor');
    await fails(KV.list({ prefix: "p".repeat(513) }),
      "KV GET failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.");
    equal(await KV.get("r"), null, "something was stored");
    await KV.put("k".repeat(512), "v", { metadata: "m".repeat(1022) });
    equal((await KV.getWithMetadata("k".repeat(512))).metadata.length, 1022, "the longest");
  },

  async clean({ KV }) {
    let cursor;
    do {
      const page = await KV.list({ cursor });
      await Promise.all(page.keys.map((k) => KV.delete(k.name)));
      cursor = page.cursor;
    } while (cursor);
    equal((await KV.list()).keys, [], "left over");
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
      return new Response(error.stack, { status: 500 });
    }
  },
};
