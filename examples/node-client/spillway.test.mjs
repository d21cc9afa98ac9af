/**
 * Against real agents: SPILLWAY_SOCKET, and SPILLWAY_SLOW_SOCKET with a rate and a full disk.
 *
 * tests/tests/languages.rs starts them: `cargo test -p spillway-tests --test languages`.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";

import { Client, Record, Refused, SpillwayError, TryLater, Unanswered } from "./spillway.mjs";

const { SPILLWAY_SOCKET: SOCKET, SPILLWAY_SLOW_SOCKET: SLOW_SOCKET } = process.env;
const CONNECTIONS_MAX = 256;

function clientOf(t, path, options) {
  const client = new Client(path, options);
  t.after(() => client.close());
  return client;
}

/** What a promise fails with. */
async function failure(promise, kind) {
  const error = await promise.then(
    () => assert.fail(`no ${kind.name}`),
    (error) => error,
  );
  assert.ok(error instanceof kind, error);
  return error;
}

const kinds = (results) => results.map((found) => (found instanceof SpillwayError ? found.name : "Receipt"));

describe("with an agent", () => {
  test("every field arrives", async (t) => {
    const client = clientOf(t, SOCKET);
    const record = new Record(Buffer.from([0, 0xff, 0x33, 0x36]), {
      id: "node-fields",
      key: "bed-7",
      lane: "ordered",
      topic: "own-topic",
      tag: "Temp",
      orderKey: "Bett 7 süd",
      properties: { unit: "°C", Path: "a\\b = c" },
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    const { seq, ...receipt } = await client.send(record);
    assert.deepEqual(receipt, { id: "node-fields", key: "bed-7", lane: "ordered", level: "disk" });
    assert.ok(seq >= 1);
    const text = 'one "line"\n\tand \\ another, 36.6 °C 🌡\r\n';
    await client.send(new Record(text, { id: "node-text" }));
  });

  test("the same record again is the same one", async (t) => {
    const client = clientOf(t, SOCKET);
    const record = new Record("once");
    const [first, again] = [await client.send(record), await client.send(record)];
    assert.deepEqual([again.seq, again.duplicate], [first.seq, true]);
    const other = new Record("another body", { id: record.id });
    const refused = await failure(client.send(other), Refused);
    assert.deepEqual([refused.code, refused.field, refused.retryAfterMs], ["id_reused", "id", null]);
  });

  test("a record can be followed to the broker", async (t) => {
    const client = clientOf(t, SOCKET);
    const id = "node/b%?é";
    const receipt = await client.send(new Record("to the broker", { id, level: "broker" }));
    assert.equal(receipt.level, "broker");
    const state = await client.state(id);
    assert.deepEqual([state.state, state.lane, state.seq], ["delivered", "readings", receipt.seq]);
    assert.deepEqual(await client.stateOf("readings", receipt.seq), state);
    assert.deepEqual(await client.stateOf("readings", receipt.seq, state.stream), state);
    assert.equal((await client.state("never-sent")).state, "unknown");
  });

  test("what is wrong is refused for good and named", async (t) => {
    const client = clientOf(t, SOCKET);
    const refused = (body, fields) => failure(client.send(new Record(body, fields)), Refused);
    const lane = await refused("x", { lane: "nowhere" });
    assert.deepEqual([lane.code, lane.field], ["unknown_lane", "lane"]);
    assert.match(lane.reason, /readings, ordered/);
    assert.equal((await refused("x", { id: "a b" })).field, "id");
    assert.equal((await refused("x", { colour: "red" })).field, "colour");
    assert.equal((await refused(Buffer.alloc(5_000_000))).code, "too_large");
  });

  test("each of many has its own result", async (t) => {
    const client = clientOf(t, SOCKET);
    const records = [
      new Record("1", { lane: "ordered", orderKey: "n-a" }),
      new Record("2", { lane: "nowhere", orderKey: "n-a" }),
      new Record("3", { lane: "ordered", orderKey: "n-a" }),
      new Record(Buffer.from("4"), { lane: "ordered", orderKey: "n-b" }),
    ];
    const found = await client.sendMany(records);
    assert.deepEqual(kinds(found), ["Receipt", "Refused", "TryLater", "Receipt"]);
    assert.deepEqual([found[1].code, found[2].code], ["unknown_lane", "not_attempted"]);
    const again = await client.sendAllUntilStored(records);
    assert.deepEqual(kinds(again), ["Receipt", "Refused", "TryLater", "Receipt"]);
    assert.ok(again[0].duplicate && again[3].duplicate);
    assert.deepEqual(await client.sendMany([]), []);
  });

  test("only what is behind a refused one is left", async (t) => {
    const client = clientOf(t, SOCKET);
    const records = [
      // So long that its order key is not read: the agent holds up all that keeps an order.
      new Record("x".repeat(8_000_000), { lane: "readings", orderKey: "n-a" }),
      new Record("1", { lane: "ordered", orderKey: "n-b" }),
      new Record("2", { lane: "ordered", orderKey: "n-a" }),
      new Record("3", { lane: "whole", orderKey: "n-a" }),
      new Record("4", { lane: "whole", orderKey: "n-b" }),
    ];
    const codes = (results) => results.map((found) => found.code ?? "stored");
    const left = Array(3).fill("not_attempted");
    assert.deepEqual(codes(await client.sendMany(records)), ["too_large", "not_attempted", ...left]);
    assert.deepEqual(codes(await client.sendAllUntilStored(records)), ["too_large", "stored", ...left]);
  });

  test("a lane may be one order, whatever keys it has", async (t) => {
    const found = await clientOf(t, SOCKET).sendAllUntilStored([
      new Record("1", { lane: "whole", orderKey: "n-c", topic: "a b" }),
      new Record("2", { lane: "whole", orderKey: "n-d" }),
      new Record("3", { lane: "whole", orderKey: "n-e" }),
    ]);
    assert.deepEqual(kinds(found), ["Refused", "TryLater", "TryLater"]);
    assert.deepEqual([found[1].code, found[2].code], Array(2).fill("not_attempted"));
  });

  test("the status names the lanes", async (t) => {
    const status = await clientOf(t, SOCKET).status();
    assert.deepEqual(status.lanes.map((lane) => lane.name), ["readings", "ordered", "whole"]);
  });

  test("many calls at a time share a client", async (t) => {
    const client = clientOf(t, SOCKET);
    const calls = Array.from({ length: 160 }, (_, n) => client.send(new Record(String(n))));
    const numbers = (await Promise.all(calls)).map((receipt) => receipt.seq);
    assert.equal(new Set(numbers).size, 160);
  });

  test("too many connections are told to come later, whatever they bring", async (t) => {
    const others = Array.from({ length: CONNECTIONS_MAX }, () => connect(SOCKET));
    await Promise.all(others.map((other) => once(other, "connect")));
    for (const body of ["x", "x".repeat(1_000_000)]) {
      const later = await failure(clientOf(t, SOCKET).send(new Record(body)), TryLater);
      assert.deepEqual([later.code, later.retryAfterMs], ["overloaded", 1000]);
    }
    for (const other of others) other.destroy();
    await clientOf(t, SOCKET).sendUntilStored(new Record("they are gone"));
  });
});

describe("with a slow agent", () => {
  test("what is over the rate is stored later", async (t) => {
    const waits = [];
    const onWait = (error, ms) => waits.push([error.code, ms >= 1000]);
    const client = clientOf(t, SLOW_SOCKET, { onWait });
    const records = Array.from({ length: 30 }, (_, n) => new Record(`fast ${n}`));
    const over = (await client.sendMany(records)).filter((found) => found instanceof TryLater);
    assert.ok(over.length > 0);
    for (const { code, retryAfterMs } of over) {
      assert.deepEqual([code, retryAfterMs], ["over_rate", 1000]);
    }
    const found = await client.sendAllUntilStored(records);
    assert.deepEqual(kinds(found), Array(30).fill("Receipt"));
    assert.equal(new Set(found.map((receipt) => receipt.seq)).size, 30);
    assert.ok(waits.length > 0);
    for (const wait of waits) assert.deepEqual(wait, ["over_rate", true]);
  });

  test("one order waits for the rate while another is refused for good", async (t) => {
    const waits = [];
    const client = clientOf(t, SLOW_SOCKET, { onWait: (error) => waits.push(error.code) });
    const fast = (_, n) => new Record(`fast ${n}`, { orderKey: "bed-2" });
    const found = await client.sendAllUntilStored([
      new Record("1", { id: "a b", orderKey: "bed-1" }),
      new Record("2", { orderKey: "bed-1" }),
      ...Array.from({ length: 30 }, fast),
    ]);
    assert.deepEqual(kinds(found), ["Refused", "TryLater", ...Array(30).fill("Receipt")]);
    assert.equal(found[1].code, "not_attempted");
    const numbers = found.slice(2).map((receipt) => receipt.seq);
    assert.deepEqual(numbers, [...numbers].sort((one, other) => one - other));
    assert.ok(waits.includes("over_rate"), waits.join());
  });

  test("a full lane asks to come later, and the app may give up", async (t) => {
    const client = clientOf(t, SLOW_SOCKET);
    const fill = async () => {
      for (let n = 0; n < 1000; n++) {
        const record = new Record(Buffer.alloc(300_000), { lane: "small" });
        await client.sendUntilStored(record, { giveUpAfterMs: 20_000 });
      }
    };
    const later = await failure(fill(), TryLater);
    assert.deepEqual([later.code, later.retryAfterMs], ["disk_full", 30_000]);
    assert.match(later.reason, /its quota/);
    const record = new Record(Buffer.alloc(300_000), { lane: "small" });
    const signal = AbortSignal.timeout(100);
    await assert.rejects(client.sendUntilStored(record, { signal }), { name: "AbortError" });
  });
});

describe("without an agent", () => {
  /** Another server: gives each connection the next answer; null: keeps silent. */
  async function answering(t, answers) {
    const folder = mkdtempSync(join(tmpdir(), "spillway-"));
    const path = join(folder, "socket");
    const kept = new Set();
    const server = createServer((connection) => {
      kept.add(connection);
      const answer = answers.shift();
      connection.once("data", () => answer !== null && connection.end(answer));
      connection.on("error", () => {});
    });
    t.after(() => {
      for (const connection of kept) connection.destroy();
      server.close();
      rmSync(folder, { recursive: true });
    });
    await new Promise((listening) => server.listen(path, listening));
    return path;
  }

  test("nobody is there", async (t) => {
    const waits = [];
    const path = join(tmpdir(), "spillway-nobody");
    const client = clientOf(t, path, { onWait: (...wait) => waits.push(wait) });
    const sending = client.sendUntilStored(new Record("x"), { giveUpAfterMs: 500 });
    assert.ok((await failure(sending, Unanswered)).message.includes(path));
    assert.ok(waits.length > 0);
  });

  test("silence ends", async (t) => {
    const client = clientOf(t, await answering(t, [null]), { timeoutMs: 200 });
    await failure(client.send(new Record("x")), Unanswered);
  });

  test("an answer that breaks off is none", async (t) => {
    const record = new Record("x");
    const line = `{"id":"${record.id}","key":"k","lane":"l","seq":1,"level":"disk"}\n`;
    const head = "HTTP/1.1 200 OK\r\n";
    const answers = [
      `${head}transfer-encoding: chunked\r\n\r\n${line.length.toString(16)}\r\n${line}\r\n`,
      `${head}content-length: ${line.length}\r\n\r\n${line}`,
      `${head}content-length: 3\r\n\r\n{}\n`,
      "SSH-2.0\r\n",
      "",
    ];
    const path = await answering(t, [...answers]);
    for (const _ of answers) {
      await failure(clientOf(t, path).sendMany([record, new Record("y")]), Unanswered);
    }
  });

  test("an answer to another record is none", async (t) => {
    const line = '{"id":"other","key":"k","lane":"l","seq":1,"level":"disk"}\n';
    const answer = `HTTP/1.1 201 Created\r\ncontent-length: ${line.length}\r\n\r\n${line}`;
    await failure(clientOf(t, await answering(t, [answer])).send(new Record("x")), Unanswered);
  });
});
