"""The official Python SDK against the embedded broker.

Run by tests/tests/sdk.rs, which checks what the broker has afterwards.
Arguments: endpoint, access key, secret, instance, file of cases.
"""

import base64
import hashlib
import json
import sys

from mq_http_sdk.mq_client import MQClient
from mq_http_sdk.mq_exception import MQServerException
from mq_http_sdk.mq_producer import TopicMessage

GROUP = "GID_python"


def consume(consumer, count, orderly=False):
    """Messages, or none, which is an error to this SDK."""
    ask = consumer.consume_message_orderly if orderly else consumer.consume_message
    try:
        return ask(count, 0)
    except MQServerException as error:
        if error.type == "MessageNotExist":
            return []
        raise


def expect(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r} is not {expected!r}")


def read_what_the_agent_sent(client, instance, cases):
    consumer = client.get_consumer(instance, "from-agent", GROUP, "T||Other")
    seen = {}
    while batch := consume(consumer, 4):
        seen.update((message.get_message_key(), message) for message in batch)
        consumer.ack_message([message.receipt_handle for message in batch])
    expect(sorted(seen), sorted(case["key"] for case in cases), "keys")
    for case in cases:
        key, message = case["key"], seen[case["key"]]
        flags = (message.get_property("sw_flags") or "").split(",")
        expect("base64" in flags, case["base64"], f"flag of {key}")
        body = message.message_body
        read = base64.b64decode(body) if case["base64"] else body.encode()
        expect(read, bytes(case["body"]), f"body of {key}")
        expect(message.message_tag, "T", f"tag of {key}")
        expect(message.get_sharding_key(), "bed-12", f"sharding key of {key}")
        expect(message.get_property("unit"), "°C indoor", f"property of {key}")


def publish_cases(client, instance, cases):
    producer = client.get_producer(instance, "from-python")
    for case in cases:
        # This SDK does not escape CR, and XML turns a bare one into LF.
        if case["base64"] or b"\r" in bytes(case["body"]):
            continue
        text = bytes(case["body"]).decode()
        message = TopicMessage(text, "T")
        message.set_message_key(case["key"])
        message.put_property("unit", "°C indoor")
        published = producer.publish_message(message)
        md5 = hashlib.md5(text.encode()).hexdigest()
        expect(published.message_body_md5.lower(), md5, f"MD5 of {case['key']}")


def consume_in_order(client, instance):
    producer = client.get_producer(instance, "ordered-python")
    for text, key in [("a1", "a"), ("a2", "a"), ("b1", "b")]:
        message = TopicMessage(text)
        message.set_sharding_key(key)
        producer.publish_message(message)
    consumer = client.get_consumer(instance, "ordered-python", GROUP)

    def bodies(batch):
        return [message.message_body for message in batch]

    first = consume(consumer, 1, orderly=True)
    expect(bodies(first), ["a1"], "first in order")
    expect(bodies(consume(consumer, 16, orderly=True)), ["b1"], "while a waits")
    consumer.ack_message([first[0].receipt_handle])
    expect(bodies(consume(consumer, 16, orderly=True)), ["a2"], "after the acknowledgement")
    try:
        consumer.ack_message([first[0].receipt_handle])
    except MQServerException as error:
        expect(error.type, "ReceiptHandleError", "second acknowledgement")
        expect(error.sub_errors[0]["ReceiptHandle"], first[0].receipt_handle, "its handle")
    else:
        raise AssertionError("a handle worked twice")


def refusals(endpoint, access_key, secret, instance):
    stranger = MQClient(endpoint, access_key, secret + "x")
    try:
        stranger.get_producer(instance, "from-python").publish_message(TopicMessage("x"))
    except MQServerException as error:
        expect(error.type, "SignatureDoesNotMatch", "wrong secret")
    else:
        raise AssertionError("a wrong secret was taken")


def main():
    endpoint, access_key, secret, instance, cases_file = sys.argv[1:]
    with open(cases_file, encoding="utf-8") as file:
        cases = json.load(file)
    client = MQClient(endpoint, access_key, secret)
    read_what_the_agent_sent(client, instance, cases)
    publish_cases(client, instance, cases)
    consume_in_order(client, instance)
    refusals(endpoint, access_key, secret, instance)


main()
