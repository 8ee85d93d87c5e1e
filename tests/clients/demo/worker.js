// An ordinary Durable Object class: nothing in it knows of Bindery.
import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS increments (id TEXT PRIMARY KEY)");
  }

  // Counts one increment: a key-value put, an SQL row and, unless one is waiting, an alarm, committed together.
  async increment(id, alarmInMs) {
    const value = ((await this.ctx.storage.get("value")) ?? 0) + 1;
    this.ctx.storage.sql.exec("INSERT INTO increments (id) VALUES (?)", id);
    await this.ctx.storage.put("value", value);
    if ((await this.ctx.storage.getAlarm()) === null) {
      await this.ctx.storage.setAlarm(Date.now() + alarmInMs);
      await this.ctx.storage.put("alarmsSet", ((await this.ctx.storage.get("alarmsSet")) ?? 0) + 1);
    }
    return value;
  }

  // An alarm runs at least once: after a failure it runs again.
  async alarm() {
    await this.ctx.storage.put("alarms", ((await this.ctx.storage.get("alarms")) ?? 0) + 1);
    await this.ctx.storage.put("lastAlarm", Date.now());
  }

  async read() {
    const [value, alarmsSet, alarms, lastAlarm] = await Promise.all(
      ["value", "alarmsSet", "alarms", "lastAlarm"].map((name) => this.ctx.storage.get(name)));
    return {
      value: value ?? 0,
      alarmsSet: alarmsSet ?? 0,
      alarms: alarms ?? 0,
      lastAlarm: lastAlarm ?? null,
      alarmWaits: (await this.ctx.storage.getAlarm()) !== null,
      ids: [...this.ctx.storage.sql.exec("SELECT id FROM increments ORDER BY id")].map((row) => row.id),
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
