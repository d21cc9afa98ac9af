// An app as its users write it with the official Node SDK: it publishes, or consumes until it has
// all. tests/tests/front.rs runs it, publishing at the agent and consuming at the broker.
// Arguments: publish or consume, endpoint, access key, secret, instance, file of messages.
'use strict';
const fs = require('node:fs');
const { MQClient, MessageProperties } = require('@aliyunmq/mq-http-sdk');

const [task, endpoint, accessKey, secret, instance, file] = process.argv.slice(2);
const messages = JSON.parse(fs.readFileSync(file, 'utf8'));
const client = new MQClient(endpoint, accessKey, secret);

async function publish() {
  for (const { topic, tag, key, shardingKey, properties, body } of messages) {
    const props = new MessageProperties();
    props.messageKey(key);
    if (shardingKey) props.shardingKey(shardingKey);
    for (const [name, value] of Object.entries(properties)) props.putProperty(name, value);
    const res = await client.getProducer(instance, topic).publishMessage(body, tag, props);
    if (res.code !== 201) throw new Error(`${key}: ${res.code}`);
    say({ messageId: res.body.MessageId, md5: res.body.MessageBodyMD5 });
  }
}

async function consume() {
  for (const topic of new Set(messages.map((message) => message.topic))) {
    const consumer = client.getConsumer(instance, topic, 'GID_app');
    let missing = messages.filter((message) => message.topic === topic).length;
    while (missing > 0) {
      const { body: batch } = await consumer.consumeMessage(3, 3);
      for (const message of batch) {
        const { MessageBody: body, MessageTag: tag, MessageKey: key, ShardingKey } = message;
        const shardingKey = ShardingKey || '';
        say({ topic, tag, key, shardingKey, properties: message.Properties, body });
      }
      await consumer.ackMessage(batch.map((message) => message.ReceiptHandle));
      missing -= batch.length;
    }
  }
}

// Whoever consumes or acknowledges at the agent is told why it cannot.
async function strays() {
  const consumer = client.getConsumer(instance, messages[0].topic, 'GID_app');
  for (const ask of [() => consumer.consumeMessage(3, 3), () => consumer.ackMessage(['x'])]) {
    await ask().catch((error) => say({ code: error.Code, message: error.message }));
  }
}

function say(value) {
  console.log(JSON.stringify(value));
}

({ publish, consume, strays })[task]().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
