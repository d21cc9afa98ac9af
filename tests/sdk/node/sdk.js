// The official Node SDK against the embedded broker. Run by tests/tests/sdk.rs, which checks what
// the broker has afterwards. Arguments: endpoint, access key, secret, instance, file of cases.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { MQClient, MessageProperties } = require('@aliyunmq/mq-http-sdk');

const [endpoint, accessKey, secret, instance, casesFile] = process.argv.slice(2);
const cases = JSON.parse(fs.readFileSync(casesFile, 'utf8'));
const client = new MQClient(endpoint, accessKey, secret);
const GROUP = 'GID_node';

// No message is an error to this SDK.
async function consume(consumer, count, orderly) {
  try {
    const ask = orderly ? consumer.consumeMessageOrderly : consumer.consumeMessage;
    return (await ask.call(consumer, count, 0)).body;
  } catch (error) {
    if (error.Code === 'MessageNotExist') return [];
    throw error;
  }
}

async function readWhatTheAgentSent() {
  const consumer = client.getConsumer(instance, 'from-agent', GROUP, 'T||Other');
  const seen = new Map();
  for (let batch; (batch = await consume(consumer, 4, false)).length > 0; ) {
    for (const message of batch) seen.set(message.MessageKey, message);
    const acked = await consumer.ackMessage(batch.map((message) => message.ReceiptHandle));
    assert.equal(acked.code, 204);
  }
  assert.equal(seen.size, cases.length);
  for (const { key, body, base64 } of cases) {
    const message = seen.get(key);
    assert.ok(message, `no message with key ${key}`);
    const flags = (message.Properties.sw_flags || '').split(',');
    assert.equal(flags.includes('base64'), base64, key);
    const read = Buffer.from(message.MessageBody, base64 ? 'base64' : 'utf8');
    assert.deepEqual([...read], body, key);
    assert.equal(message.MessageTag, 'T');
    assert.equal(message.ShardingKey, 'bed-12');
    assert.equal(message.Properties.unit, '°C indoor');
  }
}

// This SDK writes CDATA: "]]>" breaks it, and XML turns a bare CR in it into LF.
async function publishCases() {
  const producer = client.getProducer(instance, 'from-node');
  for (const { key, body, base64 } of cases) {
    const text = Buffer.from(body).toString('utf8');
    if (base64 || text.includes(']]>') || text.includes('\r')) continue;
    const properties = new MessageProperties();
    properties.messageKey(key);
    properties.putProperty('unit', '°C indoor');
    const { code, body: answer } = await producer.publishMessage(text, 'T', properties);
    assert.equal(code, 201);
    const md5 = require('node:crypto').createHash('md5').update(text).digest('hex');
    assert.equal(answer.MessageBodyMD5.toLowerCase(), md5);
    assert.ok(answer.MessageId);
  }
}

async function consumeInOrder() {
  const producer = client.getProducer(instance, 'ordered-node');
  for (const [text, key] of [['a1', 'a'], ['a2', 'a'], ['b1', 'b']]) {
    const properties = new MessageProperties();
    properties.shardingKey(key);
    await producer.publishMessage(text, '', properties);
  }
  const consumer = client.getConsumer(instance, 'ordered-node', GROUP);
  const bodies = (batch) => batch.map((message) => message.MessageBody);
  const first = await consume(consumer, 1, true);
  assert.deepEqual(bodies(first), ['a1']);
  assert.deepEqual(bodies(await consume(consumer, 16, true)), ['b1']);
  assert.equal((await consumer.ackMessage([first[0].ReceiptHandle])).code, 204);
  assert.deepEqual(bodies(await consume(consumer, 16, true)), ['a2']);
  const twice = await consumer.ackMessage([first[0].ReceiptHandle]);
  assert.equal(twice.code, 404);
  assert.equal(twice.body[0].ErrorCode, 'ReceiptHandleError');
  assert.equal(twice.body[0].ReceiptHandle, first[0].ReceiptHandle);
}

async function refusals() {
  const stranger = new MQClient(endpoint, accessKey, `${secret}x`);
  const publish = stranger.getProducer(instance, 'from-node').publishMessage('x');
  await assert.rejects(publish, { Code: 'SignatureDoesNotMatch' });
}

async function main() {
  await readWhatTheAgentSent();
  await publishCases();
  await consumeInOrder();
  await refusals();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
