"""Sends a command as a service would, with Confluent's AvroSerializer.

    send_command.py BOOTSTRAP_SERVERS REGISTRY_URL TOPIC COMMAND_JSON
        [--subject SUBJECT] [--key KEY] [--reply-topic TOPIC] [--timeout SECONDS]

The schema is the newest of the subject (TOPIC-value); nothing is registered. Bytes are given as
base64, times as epoch milliseconds or RFC 3339, decimals as text. Prints a line of JSON with the
place of the command and its correlation id (Spring Kafka's headers); with --reply-topic waits for
the reply with that id and prints it as read_events.py does.
"""

import argparse
import base64
import datetime
import decimal
import json
import sys
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from read_events import printed


class Typed:
    """Turns plain JSON into what the schema's logical types want."""

    def __init__(self, schema):
        self.named = {}
        self.schema = self.resolve_names(schema, "")

    def resolve_names(self, schema, namespace):
        if isinstance(schema, list):
            return [self.resolve_names(s, namespace) for s in schema]
        if not isinstance(schema, dict):
            return schema
        schema = dict(schema)
        if schema["type"] in ("record", "enum", "fixed"):
            namespace = schema.get("namespace", namespace)
            self.named[schema["name"]] = schema
            self.named[f"{namespace}.{schema['name']}"] = schema
        if schema["type"] == "record":
            for field in schema["fields"]:
                field["type"] = self.resolve_names(field["type"], namespace)
        for inner in ("items", "values"):
            if inner in schema:
                schema[inner] = self.resolve_names(schema[inner], namespace)
        return schema

    def convert(self, value, schema=None):
        schema = self.schema if schema is None else schema
        if isinstance(schema, list):
            if value is None:
                return None
            return self.convert(value, next(s for s in schema if s != "null"))
        if isinstance(schema, str):
            if schema in self.named:
                return self.convert(value, self.named[schema])
            return base64.b64decode(value) if schema == "bytes" else value
        kind = schema["type"]
        if isinstance(kind, (dict, list)):
            return self.convert(value, kind)
        logical = schema.get("logicalType")
        if logical == "decimal":
            return decimal.Decimal(str(value))
        if logical == "timestamp-millis":
            if isinstance(value, str):
                return datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
            return datetime.datetime.fromtimestamp(value / 1000, datetime.timezone.utc)
        if logical == "date":
            return datetime.date.fromisoformat(value)
        if kind == "record":
            fields = schema["fields"]
            unknown = set(value) - {f["name"] for f in fields}
            if unknown:
                sys.exit(f"{schema['name']} has no {sorted(unknown)}")
            return {
                f["name"]: self.convert(value[f["name"]], f["type"])
                for f in fields
                if f["name"] in value
            }
        if kind == "array":
            return [self.convert(item, schema["items"]) for item in value]
        if kind == "map":
            return {name: self.convert(item, schema["values"]) for name, item in value.items()}
        return self.convert(value, kind) if kind == "bytes" else value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap_servers")
    parser.add_argument("registry_url")
    parser.add_argument("topic")
    parser.add_argument("command")
    parser.add_argument("--subject")
    parser.add_argument("--key")
    parser.add_argument("--reply-topic")
    parser.add_argument("--timeout", type=float, default=20)
    options = parser.parse_args()
    deadline = time.monotonic() + options.timeout

    registry = SchemaRegistryClient({"url": options.registry_url})
    subject = options.subject or f"{options.topic}-value"
    schema = registry.get_latest_version(subject).schema.schema_str
    serialize = AvroSerializer(
        registry,
        schema,
        conf={
            "auto.register.schemas": False,
            "use.latest.version": True,
            "subject.name.strategy": lambda context, record: subject,
        },
    )
    context = SerializationContext(options.topic, MessageField.VALUE)
    value = serialize(Typed(json.loads(schema)).convert(json.loads(options.command)), context)

    consumer = None
    if options.reply_topic:
        consumer = Consumer(
            {
                "bootstrap.servers": options.bootstrap_servers,
                "group.id": "interop-replies",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        found = consumer.list_topics(options.reply_topic, timeout=options.timeout)
        # Where the topic ends before the command is sent: the reply cannot be missed.
        places = []
        for partition in found.topics[options.reply_topic].partitions:
            place = TopicPartition(options.reply_topic, partition)
            _, place.offset = consumer.get_watermark_offsets(place, timeout=options.timeout)
            places.append(place)
        consumer.assign(places)

    correlation_id = uuid.uuid4().bytes
    headers = [("kafka_correlationId", correlation_id)]
    if options.reply_topic:
        headers.append(("kafka_replyTopic", options.reply_topic.encode()))
    delivered = []
    producer = Producer(
        {
            "bootstrap.servers": options.bootstrap_servers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
        }
    )
    producer.produce(
        options.topic,
        value=value,
        key=options.key,
        headers=headers,
        on_delivery=lambda error, message: delivered.append((error, message)),
    )
    producer.flush(options.timeout)
    if not delivered or delivered[0][0] is not None:
        sys.exit(f"the command was not taken: {delivered}")
    place = delivered[0][1]
    line = {"partition": place.partition(), "offset": place.offset(), "correlation_id": correlation_id.hex()}
    print(json.dumps(line), flush=True)
    if consumer is None:
        return

    deserialize = AvroDeserializer(registry)
    while True:
        if time.monotonic() > deadline:
            sys.exit("the time is up and no reply came")
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error() is not None:
            sys.exit(f"{message.error()}")
        if dict(message.headers() or []).get("kafka_correlationId") == correlation_id:
            reply = SerializationContext(message.topic(), MessageField.VALUE, message.headers())
            printed(message, deserialize(message.value(), reply))
            break
    consumer.close()


if __name__ == "__main__":
    main()
