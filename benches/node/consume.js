// A consumer of the usual kind: the official Node client, mysql2, one INSERT a message. Run by
// benches/src/centre.rs, which ends it. Argument: messages worked at a time of the 16 received.
// The environment is that of examples/central-consumer.
'use strict';
const { MQClient } = require('@aliyunmq/mq-http-sdk');
const mysql = require('mysql2/promise');

const env = process.env;
const atOnce = Number(process.argv[2]);
const client = new MQClient(env.ROCKETMQ_ENDPOINT, env.ALIBABA_ACCESS_KEY, env.ALIBABA_SECRET_KEY);
const { ROCKETMQ_INSTANCE_ID: instance, ROCKETMQ_TOPIC: topic, ROCKETMQ_GROUP_ID: group } = env;
const consumer = client.getConsumer(instance, topic, group);
const [host, port] = env.POLARDB_ENDPOINT.split(':');
const pool = mysql.createPool({
  host,
  port: Number(port),
  user: env.POLARDB_USER,
  password: env.POLARDB_PASSWORD,
  database: env.POLARDB_DATABASE,
  connectionLimit: 10,
  timezone: 'Z',
});
const INSERT =
  'INSERT INTO patient_records (local_record_id, patient_id, notes, device_timestamp) ' +
  'VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE local_record_id = local_record_id';

async function store(message) {
  const { patient_id: patient, notes, device_timestamp: at } = JSON.parse(message.MessageBody);
  await pool.execute(INSERT, [message.MessageKey, patient, notes, new Date(at)]);
}

async function receive() {
  try {
    return (await consumer.consumeMessage(16, 3)).body;
  } catch (error) {
    if (error.Code === 'MessageNotExist') return [];
    throw error;
  }
}

async function main() {
  for (;;) {
    const messages = await receive();
    for (let first = 0; first < messages.length; first += atOnce) {
      await Promise.all(messages.slice(first, first + atOnce).map(store));
    }
    if (messages.length > 0) {
      await consumer.ackMessage(messages.map((message) => message.ReceiptHandle));
    }
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
