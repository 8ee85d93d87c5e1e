// An ordinary Durable Object class: nothing in it knows of Bindery.
import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS increments (id TEXT PRIMARY KEY)");
  }

  // Counts one increment: a key-value put, an SQL row and an alarm, committed together.
  async increment(id) {
    const value = ((await this.ctx.storage.get("value")) ?? 0) + 1;
    this.ctx.storage.sql.exec("INSERT INTO increments (id) VALUES (?)", id);
    await this.ctx.storage.put("value", value);
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now() + 500);
    return value;
  }

  async alarm() {
    await this.ctx.storage.put("alarms", ((await this.ctx.storage.get("alarms")) ?? 0) + 1);
  }

  async read() {
    const ids = [...this.ctx.storage.sql.exec("SELECT id FROM increments ORDER BY id")].map((row) => row.id);
    return {
      value: (await this.ctx.storage.get("value")) ?? 0,
      alarms: (await this.ctx.storage.get("alarms")) ?? 0,
      ids,
    };
  }
}

// GET /<object> reads it; POST /<object>?id=<unique id> increments it.
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const object = env.COUNTER.get(env.COUNTER.idFromName(url.pathname));
    if (request.method === "POST") return Response.json({ value: await object.increment(url.searchParams.get("id")) });
    return Response.json(await object.read());
  },
};
