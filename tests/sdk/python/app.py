"""An app as its users write it with the official Python SDK: it publishes, or consumes until it has all.

tests/tests/front.rs runs it, publishing at the agent and consuming at the broker.
Arguments: publish or consume, endpoint, access key, secret, instance, file of messages.
"""

import json
import sys

from mq_http_sdk.mq_client import MQClient
from mq_http_sdk.mq_exception import MQExceptionBase
from mq_http_sdk.mq_producer import TopicMessage


def say(**value):
    print(json.dumps(value))


def publish(client, instance, messages):
    for message in messages:
        out = TopicMessage(message["body"], message["tag"])
        out.set_message_key(message["key"])
        if message["shardingKey"]:
            out.set_sharding_key(message["shardingKey"])
        for name, value in message["properties"].items():
            out.put_property(name, value)
        stored = client.get_producer(instance, message["topic"]).publish_message(out)
        say(messageId=stored.message_id, md5=stored.message_body_md5)


def consume(client, instance, messages):
    for topic in {message["topic"] for message in messages}:
        consumer = client.get_consumer(instance, topic, "GID_app")
        missing = sum(message["topic"] == topic for message in messages)
        while missing:
            batch = consumer.consume_message(3, 3)
            for message in batch:
                say(
                    topic=topic,
                    tag=message.message_tag,
                    key=message.get_message_key(),
                    shardingKey=message.get_sharding_key(),
                    properties=message.properties,
                    body=message.message_body,
                )
            consumer.ack_message([message.receipt_handle for message in batch])
            missing -= len(batch)


def strays(client, instance, messages):
    consumer = client.get_consumer(instance, messages[0]["topic"], "GID_app")
    for ask in [lambda: consumer.consume_message(3, 3), lambda: consumer.ack_message(["x"])]:
        try:
            ask()
        except MQExceptionBase as error:
            say(code=error.type, message=error.message)


def main():
    task, endpoint, access_key, secret, instance, file = sys.argv[1:]
    with open(file, encoding="utf-8") as messages:
        messages = json.load(messages)
    client = MQClient(endpoint, access_key, secret)
    {"publish": publish, "consume": consume, "strays": strays}[task](client, instance, messages)


main()
