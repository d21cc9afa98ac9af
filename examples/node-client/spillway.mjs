// @ts-check
/**
 * Hands records to a Spillway agent over its Unix socket: copy this file, it needs only Node 18.
 *
 *     const client = new Client("/run/spillway/spillway.sock");
 *     const receipt = await client.sendUntilStored(new Record("36.6", { key: "bed-7" }));
 *
 * A record has its id from the start, so sending the same `Record` again, after whatever error,
 * never makes it two. Any number of calls may be under way on one `Client`; those have no order
 * among them.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * @typedef {object} Fields All may be left out.
 * @property {string} [id] default: a UUID
 * @property {string} [key]
 * @property {string} [lane]
 * @property {string} [topic]
 * @property {string} [tag]
 * @property {string} [orderKey]
 * @property {Object<string, string>} [properties]
 * @property {string} [traceparent]
 * @property {"disk" | "broker"} [level] `"broker"`: answered when RocketMQ has it, or after 30 s with the level reached
 *
 * @typedef {object} Receipt The record is stored.
 * @property {string} id
 * @property {string} key
 * @property {string} lane
 * @property {number} seq
 * @property {"disk" | "broker"} level
 * @property {true} [duplicate] it was stored already, as this number
 *
 * @typedef {object} State Where a record is.
 * @property {"waiting" | "delivered" | "dead" | "expired" | "dropped" | "unknown"} state
 * @property {string} [lane]
 * @property {string} [stream]
 * @property {number} [seq]
 *
 * @typedef {Receipt | Refused | TryLater} Result of one of many; `result instanceof SpillwayError`: no receipt.
 *
 * @typedef {object} Answer
 * @property {number} status
 * @property {string | undefined} retryAfter
 * @property {string} text
 */

/** Milliseconds after which a refused line may pass; only whole requests are told by Retry-After. */
const LATER_MS = new Map([
  ["not_attempted", 0],
  ["timeout", 0],
  ["over_rate", 1_000],
  ["overloaded", 1_000],
  ["disk_failed", 5_000],
  ["stopping", 5_000],
  ["disk_full", 30_000],
]);
/** Refused whatever became of those before them in their order, or because of it. */
const UNTRIED = new Set(["not_attempted", "overloaded", "stopping"]);
const BACKOFF_MS = { first: 200, most: 10_000 };
const CONNECTIONS_MAX = 16;
/** A longer body is asked for first: Node drops a refusal that comes while it still writes. */
const UNASKED_BYTES_MAX = 64 * 1024;

/** What is stored: text goes as it is, bytes as base64. */
export class Record {
  /**
   * @param {string | Uint8Array} body
   * @param {Fields} [fields]
   */
  constructor(body, fields = {}) {
    /** @readonly */
    this.body = body;
    /** @readonly */
    this.id = fields.id ?? randomUUID();
    /** @readonly */
    this.fields = fields;
  }

  /** The record as the agent reads it. */
  toJSON() {
    const { orderKey, ...rest } = this.fields;
    const body =
      typeof this.body === "string"
        ? { body: this.body }
        : { body_base64: Buffer.from(this.body).toString("base64") };
    return { ...rest, id: this.id, order_key: orderKey, ...body };
  }
}

/** No receipt. `retryAfterMs`: after how long sending again may help; `null`: never. */
export class SpillwayError extends Error {
  /**
   * @param {string} message
   * @param {number | null} retryAfterMs
   * @param {ErrorOptions} [options]
   */
  constructor(message, retryAfterMs, options) {
    super(message, options);
    this.name = new.target.name;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The agent's words: `code` is for programs, `field` the field to blame, `reason` for people. */
class Refusal extends SpillwayError {
  /**
   * @param {{code: string, field: string | null, message: string}} error
   * @param {number | null} retryAfterMs
   */
  constructor({ code, field, message }, retryAfterMs) {
    super(`${code}: ${field ? `${field} ` : ""}${message}`, retryAfterMs);
    this.code = code;
    this.field = field;
    this.reason = message;
  }
}

/** Refused for good. */
export class Refused extends Refusal {}

/** Refused for now: over the rate, full, or stopping. */
export class TryLater extends Refusal {}

/** No agent, or no answer from it: the record may be stored or not. Send the same one again. */
export class Unanswered extends SpillwayError {
  /**
   * @param {string} message
   * @param {unknown} [cause]
   */
  constructor(message, cause) {
    super(message, 0, { cause });
  }
}

/** An agent's socket. */
export class Client {
  #path;
  #timeoutMs;
  #onWait;
  #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });

  /**
   * @param {string} path
   * @param {object} [options]
   * @param {number} [options.timeoutMs] silence after which the agent counts as gone; the agent itself answers within 30 s
   * @param {(error: SpillwayError, ms: number) => void} [options.onWait] hears of each wait of `...UntilStored`
   */
  constructor(path, { timeoutMs = 60_000, onWait = () => {} } = {}) {
    if (typeof path !== "string") {
      throw new TypeError("the socket's path is missing");
    }
    this.#path = path;
    this.#timeoutMs = timeoutMs;
    this.#onWait = onWait;
  }

  /**
   * Stores one record.
   *
   * @param {Record} record
   * @returns {Promise<Receipt>}
   * @throws {Refused | TryLater | Unanswered}
   */
  async send(record) {
    const text = JSON.stringify(record);
    return receipt(parse((await this.#exchange("POST", "/v1/records", "application/json", text)).text), record);
  }

  /**
   * Stores up to a few thousand records in one request: a result for each, in order. Behind a
   * refused one, those of the same order are refused as `not_attempted`. Throws only where there is
   * no result at all, or not for all: then send all of them again.
   *
   * @param {Record[]} records
   * @returns {Promise<Result[]>}
   */
  async sendMany(records) {
    const lines = records.map((record) => `${JSON.stringify(record)}\n`).join("");
    const answer = await this.#exchange("POST", "/v1/records", "application/x-ndjson", lines);
    const found = answer.text.split("\n").filter((line) => line !== "");
    if (found.length !== records.length) {
      throw new Unanswered(`${found.length} answers to ${records.length} records`);
    }
    return found.map((line, n) => result(parse(line), records[n]));
  }

  /**
   * Stores one record, however often it has to be sent.
   *
   * @param {Record} record
   * @param {{giveUpAfterMs?: number, signal?: AbortSignal}} [options] an abort ends the waiting
   * @returns {Promise<Receipt>}
   * @throws {Refused} or the last error where the next attempt would come too late
   */
  async sendUntilStored(record, options = {}) {
    const patience = new Patience(options, this.#onWait);
    for (;;) {
      try {
        return await this.send(record);
      } catch (error) {
        await patience.wait(error);
      }
    }
  }

  /**
   * The same for many: for each a receipt, or `Refused`, or `TryLater` with the code
   * `not_attempted`: behind a refused one of its order (the same order key, or the same lane where
   * that may be one order), and only the app knows whether it may follow.
   *
   * @param {Record[]} records
   * @param {{giveUpAfterMs?: number, signal?: AbortSignal}} [options]
   * @returns {Promise<Result[]>}
   */
  async sendAllUntilStored(records, options = {}) {
    const patience = new Patience(options, this.#onWait);
    /** @type {Result[]} */
    const results = [];
    const orders = new Orders(records);
    let left = records.map((_, n) => n);
    while (left.length > 0) {
      try {
        const answers = await this.sendMany(left.map((n) => records[n]));
        left.forEach((n, at) => (results[n] = answers[at]));
        left = orders.later(left, results);
      } catch (error) {
        await patience.wait(error);
        continue;
      }
      if (left.length > 0) {
        await patience.wait(latest(left.map((n) => results[n])));
      }
    }
    return results;
  }

  /**
   * Where the record with this id is.
   *
   * @param {string} id
   * @returns {Promise<State>}
   */
  async state(id) {
    return parse((await this.#exchange("GET", `/v1/records/${encodeURIComponent(id)}`)).text);
  }

  /**
   * Where the record with this number is; without `stream`, in the current one.
   *
   * @param {string} lane
   * @param {number} seq
   * @param {string} [stream]
   * @returns {Promise<State>}
   */
  async stateOf(lane, seq, stream) {
    const asked = { lane, seq: String(seq), ...(stream && { stream }) };
    const query = Object.entries(asked).map((pair) => pair.map(encodeURIComponent).join("="));
    return parse((await this.#exchange("GET", `/v1/records?${query.join("&")}`)).text);
  }

  /**
   * The agent's state, as `spillway status --json` prints it.
   *
   * @returns {Promise<any>}
   */
  async status() {
    return parse((await this.#exchange("GET", "/v1/status")).text);
  }

  /** Closes all connections. The client can still be used. */
  close() {
    this.#agent.destroy();
  }

  /**
   * One request; on another connection where a used one died, as all do with their agent.
   *
   * @param {string} method
   * @param {string} path
   * @param {string} [kind]
   * @param {string} [body]
   * @returns {Promise<Answer>}
   */
  async #exchange(method, path, kind, body = "") {
    const length = Buffer.byteLength(body);
    const headers = {
      ...(kind && { "content-type": kind, "content-length": length }),
      ...(length > UNASKED_BYTES_MAX && { expect: "100-continue" }),
    };
    for (;;) {
      const asked = request({
        socketPath: this.#path,
        agent: this.#agent,
        timeout: this.#timeoutMs,
        method,
        path,
        headers,
      });
      try {
        const answer = await ask(asked, body);
        if (answer.status >= 300) {
          throw refusal(parse(answer.text), answer.retryAfter);
        }
        return answer;
      } catch (error) {
        if (error instanceof SpillwayError) {
          throw error;
        }
        if (!asked.reusedSocket || error instanceof Silence) {
          const reason = error instanceof Error ? error.message : error;
          throw new Unanswered(`${this.#path}: ${reason}`, error);
        }
      }
    }
  }
}

class Silence extends Error {}

/**
 * Sends a request and reads its whole answer.
 *
 * @param {import("node:http").ClientRequest} asked
 * @param {string} body
 * @returns {Promise<Answer>}
 */
function ask(asked, body) {
  return new Promise((resolve, reject) => {
    asked.on("timeout", () => asked.destroy(new Silence("no answer in time")));
    asked.on("error", reject);
    asked.on("response", (response) => {
      /** @type {Buffer[]} */
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(parts).toString("utf8");
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers["retry-after"], text });
        if (!asked.writableEnded) {
          asked.destroy();
        }
      });
    });
    if (asked.hasHeader("expect")) {
      asked.on("continue", () => asked.end(body));
    } else {
      asked.end(body);
    }
  });
}

/** How long to wait: what was asked for, and full jitter, so that those who were refused together do not come back together. */
class Patience {
  #end;
  #signal;
  #onWait;
  #boundMs = BACKOFF_MS.first;

  /**
   * @param {{giveUpAfterMs?: number, signal?: AbortSignal}} options
   * @param {(error: SpillwayError, ms: number) => void} onWait
   */
  constructor({ giveUpAfterMs = Infinity, signal }, onWait) {
    this.#end = performance.now() + giveUpAfterMs;
    this.#signal = signal;
    this.#onWait = onWait;
  }

  /** @param {unknown} error */
  async wait(error) {
    if (!(error instanceof SpillwayError) || error.retryAfterMs === null) {
      throw error;
    }
    const ms = error.retryAfterMs + Math.random() * this.#boundMs;
    this.#boundMs = Math.min(2 * this.#boundMs, BACKOFF_MS.most);
    if (performance.now() + ms > this.#end) {
      throw error;
    }
    this.#onWait(error, ms);
    await sleep(ms, undefined, { signal: this.#signal });
  }
}

/**
 * What was refused for good among many, or is left behind such a one: by its order key, and by its
 * lane, which may be one order; both as the records say them. Records by their places.
 */
class Orders {
  #records;
  /** @type {Map<string | undefined, number>} */
  #keys = new Map();
  /** @type {Map<string | undefined, number>} */
  #lanes = new Map();

  /** @param {Record[]} records */
  constructor(records) {
    this.#records = records;
  }

  /**
   * Those that are to be sent again of those that were just sent.
   *
   * @param {number[]} sent
   * @param {Result[]} results
   */
  later(sent, results) {
    const tried = new Map(sent.filter((n) => wasTried(results[n])).map((n) => [this.#records[n].fields.lane, n]));
    return sent.filter((n) => {
      const result = results[n];
      if (result instanceof TryLater && !(result.code === "not_attempted" && this.#isBehind(n))) {
        return true;
      }
      if (result instanceof SpillwayError) {
        // Were the lane one order, none of it would be tried behind this one.
        this.#note(n, (tried.get(this.#records[n].fields.lane) ?? n) <= n);
      }
      return false;
    });
  }

  /** @param {number} n */
  #isBehind(n) {
    const { lane, orderKey } = this.#records[n].fields;
    return (this.#keys.get(orderKey) ?? n) < n || (this.#lanes.get(lane) ?? n) < n;
  }

  /**
   * @param {number} n
   * @param {boolean} isLane
   */
  #note(n, isLane) {
    const { lane, orderKey } = this.#records[n].fields;
    if (orderKey !== undefined) {
      this.#keys.set(orderKey, Math.min(n, this.#keys.get(orderKey) ?? n));
    }
    if (orderKey === undefined || isLane) {
      this.#lanes.set(lane, Math.min(n, this.#lanes.get(lane) ?? n));
    }
  }
}

/** @param {Result} result */
function wasTried(result) {
  return result instanceof TryLater ? !UNTRIED.has(result.code) : !(result instanceof Refused);
}

/** @param {any[]} later */
function latest(later) {
  return later.reduce((one, other) => (other.retryAfterMs > one.retryAfterMs ? other : one));
}

/**
 * @param {string} text
 * @returns {any}
 */
function parse(text) {
  try {
    const found = JSON.parse(text);
    if (found !== null && typeof found === "object") {
      return found;
    }
  } catch {
    // Said below.
  }
  throw new Unanswered(`this is no agent's answer: ${JSON.stringify(text.slice(0, 80))}`);
}

/**
 * @param {any} found
 * @param {Record} record
 * @returns {Result}
 */
function result(found, record) {
  return found.error ? refusal(found) : receipt(found, record);
}

/**
 * @param {any} found
 * @param {Record} record
 * @returns {Receipt}
 */
function receipt(found, record) {
  if (found.id !== record.id) {
    throw new Unanswered(`an answer to ${found.id}, not to ${record.id}`);
  }
  return found;
}

/**
 * @param {any} found
 * @param {string} [retryAfter]
 * @returns {Refused | TryLater}
 */
function refusal(found, retryAfter) {
  const error = { code: "unknown", field: null, message: "no reason given; is this an agent's socket?", ...found.error };
  const laterMs = retryAfter ? Number(retryAfter) * 1000 : LATER_MS.get(error.code);
  return laterMs === undefined ? new Refused(error, null) : new TryLater(error, laterMs);
}
