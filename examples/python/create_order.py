"""Sends a create-order command in Avro and waits for its reply.

pip install "confluent-kafka[avro,schemaregistry]==2.16.0"
"""

import os
import sys
import time
import uuid
from decimal import Decimal

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

prefix = os.environ.get("TOPIC_PREFIX", "wms")
commands, replies = f"{prefix}.commands.create-order", f"{prefix}.replies"
kafka = {"bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")}
registry = SchemaRegistryClient(
    {"url": os.environ.get("SCHEMA_REGISTRY_URL", "http://localhost:8082/apis/ccompat/v7")}
)
# The schema is the newest of the subject `<topic>-value`; a service registers none.
serialize = AvroSerializer(
    registry, conf={"auto.register.schemas": False, "use.latest.version": True}
)
deserialize = AvroDeserializer(registry)

order_number = sys.argv[1] if len(sys.argv) > 1 else f"PY-{uuid.uuid4().hex[:12]}"
command = {
    "account": "jf-main",
    "orderNumber": order_number,
    "platform": "other",
    "warehouse": "01",
    "recipient": {"name": "Erika Muster", "country": "DE", "address1": "Heidestr. 17"},
    "logistics": {"kind": "OFFLINE", "name": "DHL"},
    "currency": "EUR",
    "lines": [{"sku": "2309-1Bei", "quantity": 2, "unitPrice": Decimal("19.9000")}],
}

deadline = time.monotonic() + 30
# Reading starts where the reply topic ends before the command is sent: the reply is not missed.
consumer = Consumer({**kafka, "group.id": "unused", "enable.auto.commit": False})
places = []
for number in consumer.list_topics(replies, timeout=10).topics[replies].partitions:
    place = TopicPartition(replies, number)
    _, place.offset = consumer.get_watermark_offsets(place, timeout=10)
    places.append(place)
consumer.assign(places)


def delivered(error, _message):
    if error is not None:
        raise KafkaException(error)


# region ask
# Java's partitioner: a key is on one partition, whatever language sends it.
producer = Producer({**kafka, "enable.idempotence": True, "partitioner": "murmur2_random"})
correlation_id = uuid.uuid4().bytes
producer.produce(
    commands,
    key=order_number,
    value=serialize(command, SerializationContext(commands, MessageField.VALUE)),
    headers={"kafka_correlationId": correlation_id},
    on_delivery=delivered,
)
if producer.flush(10):
    sys.exit("Kafka did not confirm the command in time: it may have been taken or not")

while time.monotonic() < deadline:
    message = consumer.poll(0.5)
    if message is None:
        continue
    if message.error():
        raise KafkaException(message.error())
    if dict(message.headers() or []).get("kafka_correlationId") == correlation_id:
        reply = deserialize(message.value(), SerializationContext(replies, MessageField.VALUE))
        print(reply["status"], reply["category"], reply["message"])
        break
else:
    sys.exit(f"no reply for {order_number} in time: ask again with the same number")
# endregion
consumer.close()
