// The Durable Object class of the harness: transactions on lists and a counter, and alarms, in one object. Nothing in it knows
// of Bindery.
import { DurableObject } from "cloudflare:workers";

export class Box extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    const { sql } = ctx.storage;
    sql.exec("CREATE TABLE IF NOT EXISTS element (id INTEGER PRIMARY KEY, list INTEGER NOT NULL, v INTEGER NOT NULL, n INTEGER NOT NULL)");
    sql.exec("CREATE INDEX IF NOT EXISTS element_list ON element (list)");
    sql.exec("CREATE TABLE IF NOT EXISTS due (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, ran INTEGER, times INTEGER NOT NULL DEFAULT 0)");
  }

  // Appends to lists and reads them. The number is a key-value pair, the elements are rows: both are of one commit, as nothing is
  // awaited between them.
  async txn(steps) {
    const { sql } = this.ctx.storage;
    let n = (await this.ctx.storage.get("n")) ?? 1;
    if (steps.some((step) => step.append !== undefined)) this.ctx.storage.put("n", ++n);
    const seen = steps.map(({ list, append }) => {
      if (append === undefined) return [...sql.exec("SELECT v FROM element WHERE list = ? ORDER BY id", list)].map((row) => row.v);
      sql.exec("INSERT INTO element (list, v, n) VALUES (?, ?, ?)", list, append, n);
      return null;
    });
    return { n, seen };
  }

  async rows() {
    return [...this.ctx.storage.sql.exec("SELECT list, v, n FROM element ORDER BY id")].map(({ list, v, n }) => [list, v, n]);
  }

  // Something to be done once, not before a time: one alarm for the earliest of them.
  async plan(id, inMs) {
    this.ctx.storage.sql.exec("INSERT INTO due (id, at) VALUES (?, ?)", id, Date.now() + inMs);
    await this.arm();
    return {};
  }

  async arm() {
    const { at } = this.ctx.storage.sql.exec("SELECT min(at) AS at FROM due WHERE ran IS NULL").one();
    if (at !== null) await this.ctx.storage.setAlarm(at);
  }

  async alarm() {
    const now = Date.now();
    this.ctx.storage.sql.exec("UPDATE due SET ran = ?, times = times + 1 WHERE at <= ? AND ran IS NULL", now, now);
    await this.arm();
  }

  async plans() {
    return [...this.ctx.storage.sql.exec("SELECT id, at, ran, times FROM due ORDER BY id")]
      .map(({ id, at, ran, times }) => [id, at, ran, times]);
  }
}

// POST /<object>/<method> with a list of arguments.
export default {
  async fetch(request, env) {
    const [, object, method] = new URL(request.url).pathname.split("/");
    const box = env.BOX.get(env.BOX.idFromName(object));
    const words = await request.json();
    switch (method) {
      case "txn": return Response.json(await box.txn(...words));
      case "rows": return Response.json(await box.rows());
      case "plan": return Response.json(await box.plan(...words));
      case "plans": return Response.json(await box.plans());
      default: return new Response("no such method", { status: 404 });
    }
  },
};
