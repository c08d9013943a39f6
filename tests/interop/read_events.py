"""Reads topics as a service would, with Confluent's AvroDeserializer.

    read_events.py BOOTSTRAP_SERVERS REGISTRY_URL [--count N] [--timeout SECONDS] TOPIC...

Reads every topic from its beginning until N records came altogether (without --count: until the
ends of all partitions), and prints each as a line of JSON: topic, partition, offset, key and
headers in hexadecimal, and the decoded value. Exits with 1 when the time is up before.
"""

import argparse
import base64
import datetime
import decimal
import json
import sys
import time
import uuid

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext


def plain(value):
    """What JSON has no word for, as text."""
    if isinstance(value, datetime.datetime):
        # A time without a zone is a local timestamp and stays without one.
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value)} in a record")


def printed(message, value):
    headers = [[name, None if v is None else v.hex()] for name, v in message.headers() or []]
    line = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "key": None if message.key() is None else message.key().hex(),
        "headers": headers,
        "value": value,
    }
    print(json.dumps(line, default=plain, ensure_ascii=False), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap_servers")
    parser.add_argument("registry_url")
    parser.add_argument("--count", type=int)
    parser.add_argument("--timeout", type=float, default=20)
    parser.add_argument("topics", nargs="+")
    options = parser.parse_args()
    deadline = time.monotonic() + options.timeout

    deserialize = AvroDeserializer(SchemaRegistryClient({"url": options.registry_url}))
    consumer = Consumer(
        {
            "bootstrap.servers": options.bootstrap_servers,
            "group.id": "interop-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    partitions = []
    for topic in options.topics:
        found = consumer.list_topics(topic, timeout=options.timeout).topics[topic]
        if found.error is not None:
            sys.exit(f"{topic}: {found.error}")
        partitions += [TopicPartition(topic, p, OFFSET_BEGINNING) for p in found.partitions]
    consumer.assign(partitions)

    count, ends = 0, set()
    while count < options.count if options.count is not None else len(ends) < len(partitions):
        if time.monotonic() > deadline:
            sys.exit(f"the time is up after {count} records")
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error() is not None:
            if message.error().code() == KafkaError._PARTITION_EOF:
                ends.add((message.topic(), message.partition()))
                continue
            sys.exit(f"{message.error()}")
        context = SerializationContext(message.topic(), MessageField.VALUE, message.headers())
        printed(message, deserialize(message.value(), context))
        count += 1
    consumer.close()


if __name__ == "__main__":
    main()
