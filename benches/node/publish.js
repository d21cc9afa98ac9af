// The official Node client publishing as fast as it can with so many sends under way. Run by
// benches/src/peer.rs. Arguments: endpoint, access key, secret, instance, topic, records, records
// to warm up with, bytes of a body, sends under way.
'use strict';
const { MQClient, MessageProperties } = require('@aliyunmq/mq-http-sdk');

const [endpoint, accessKey, secret, instance, topic, ...numbers] = process.argv.slice(2);
const [records, warmUp, bodyBytes, concurrency] = numbers.map(Number);
const producer = new MQClient(endpoint, accessKey, secret).getProducer(instance, topic);
const text = 'x'.repeat(bodyBytes);

async function publish(count) {
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const number = next++;
      const properties = new MessageProperties();
      properties.messageKey(`key-${number}`);
      const body = `${number}`.padEnd(bodyBytes, text);
      const { code } = await producer.publishMessage(body, '', properties);
      if (code !== 201) throw new Error(`answer ${code}`);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

async function main() {
  await publish(warmUp);
  const begun = process.hrtime.bigint();
  await publish(records);
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  console.log(JSON.stringify({ records, seconds }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
