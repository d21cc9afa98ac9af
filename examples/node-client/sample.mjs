/**
 * Stores readings from standard input, such as `bed-7 36.6`, and prints each one's number.
 *
 *     node sample.mjs SOCKET LANE [BATCH] < readings.txt
 *
 * With BATCH, so many go in one request. It goes on through whatever becomes of the agent.
 */
import { createInterface } from "node:readline";

import { Client, Record, SpillwayError } from "./spillway.mjs";

const [path, lane, batch = "1"] = process.argv.slice(2);
const onWait = (error, ms) => console.error(`waits ${(ms / 1000).toFixed(1)} s: ${error.message}`);
const client = new Client(path, { onWait });

function reading(line) {
  const [bed, value] = line.split(" ");
  return new Record(value, { lane, key: bed, orderKey: bed, properties: { unit: "°C" } });
}

async function store(records) {
  const results = await client.sendAllUntilStored(records);
  results.forEach((result, n) => {
    if (result instanceof SpillwayError) throw result;
    console.log(result.seq, result.id, records[n].body);
  });
}

let some = [];
for await (const line of createInterface({ input: process.stdin })) {
  some.push(reading(line));
  if (some.length >= Number(batch)) {
    await store(some);
    some = [];
  }
}
await store(some);
client.close();
