// An ordinary Durable Object class: nothing in it knows of Bindery.
import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS increments (id TEXT PRIMARY KEY)");
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS alarms (due INTEGER, runs INTEGER DEFAULT 0)");
  }

  // Counts one increment: a key-value put, an SQL row and, unless one is waiting, an alarm, committed together.
  async increment(id, alarmInMs) {
    const value = ((await this.ctx.storage.get("value")) ?? 0) + 1;
    this.ctx.storage.sql.exec("INSERT INTO increments (id) VALUES (?)", id);
    await this.ctx.storage.put("value", value);
    if ((await this.ctx.storage.getAlarm()) === null) {
      const due = Date.now() + alarmInMs;
      await this.ctx.storage.setAlarm(due);
      this.ctx.storage.sql.exec("INSERT INTO alarms (due) VALUES (?)", due);
    }
    return value;
  }

  // An alarm runs at least once, not before it is due: after a failure it runs again.
  async alarm() {
    this.ctx.storage.sql.exec("UPDATE alarms SET runs = runs + 1 WHERE due <= ? AND runs = 0", Date.now());
    await this.ctx.storage.put("lastAlarm", Date.now());
  }

  async read() {
    const { sql } = this.ctx.storage;
    return {
      value: (await this.ctx.storage.get("value")) ?? 0,
      alarms: sql.exec("SELECT count(*) AS n FROM alarms").one().n,
      alarmsNotRun: sql.exec("SELECT count(*) AS n FROM alarms WHERE runs = 0").one().n,
      lastAlarm: (await this.ctx.storage.get("lastAlarm")) ?? null,
      ids: [...sql.exec("SELECT id FROM increments ORDER BY id")].map((row) => row.id),
    };
  }
}

// GET /<object> reads it; POST /<object>?id=<unique id>[&alarm=<milliseconds>] increments it.
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const object = env.COUNTER.get(env.COUNTER.idFromName(url.pathname));
    if (request.method !== "POST") return Response.json(await object.read());
    const alarmInMs = Number(url.searchParams.get("alarm") ?? 500);
    return Response.json({ value: await object.increment(url.searchParams.get("id"), alarmInMs) });
  },
};
