"""Sends a create-order command as plain JSON and waits for its reply, without a schema registry.

pip install confluent-kafka==2.16.0
"""

import json
import os
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

prefix = os.environ.get("TOPIC_PREFIX", "wms")
# A reply topic of its own, which the connector's `commands.reply_topics` allows: there the reply
# to a JSON command is JSON. On the default one replies are always Avro.
commands, replies = f"{prefix}.commands.create-order", f"{prefix}.replies.python-shop"
kafka = {"bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")}

order_number = sys.argv[1] if len(sys.argv) > 1 else f"PY-{uuid.uuid4().hex[:12]}"
command = {
    "account": "jf-main",
    "orderNumber": order_number,
    "platform": "other",
    "warehouse": "01",
    "recipient": {"name": "Erika Muster", "country": "DE", "address1": "Heidestr. 17"},
    "logistics": {"kind": "OFFLINE", "name": "DHL"},
    "currency": "EUR",
    "lines": [{"sku": "2309-1Bei", "quantity": 2, "unitPrice": "19.90"}],
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


# region send
# Java's partitioner: a key is on one partition, whatever language sends it.
producer = Producer({**kafka, "enable.idempotence": True, "partitioner": "murmur2_random"})
correlation_id = uuid.uuid4().bytes
producer.produce(
    commands,
    key=order_number,
    value=json.dumps(command),
    headers={"kafka_correlationId": correlation_id, "kafka_replyTopic": replies},
    on_delivery=delivered,
)
# endregion
if producer.flush(10):
    sys.exit("Kafka did not confirm the command in time: it may have been taken or not")

while time.monotonic() < deadline:
    message = consumer.poll(0.5)
    if message is None:
        continue
    if message.error():
        raise KafkaException(message.error())
    if dict(message.headers() or []).get("kafka_correlationId") == correlation_id:
        reply = json.loads(message.value())
        print(reply["status"], reply["category"], reply["message"])
        break
else:
    sys.exit(f"no reply for {order_number} in time: ask again with the same number")
consumer.close()
