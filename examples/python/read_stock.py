"""Prints what each new order leaves in stock, from the topic of JFWMS `orderCreate` events.

pip install "confluent-kafka[avro,schemaregistry]==2.16.0"
"""

import os

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

topic = os.environ.get("TOPIC_PREFIX", "wms") + ".jfwms.order-create"
registry = os.environ.get("SCHEMA_REGISTRY_URL", "http://localhost:8082/apis/ccompat/v7")
deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
consumer = Consumer(
    {
        "bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        "group.id": "read-stock-python",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
)
consumer.subscribe([topic])
try:
    while True:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        # region read
        context = SerializationContext(message.topic(), MessageField.VALUE)
        event = deserialize(message.value(), context)
        for line in event["skuList"]:
            print(line["sku"], line["available"], flush=True)
        consumer.commit(message, asynchronous=False)
        # endregion
finally:
    consumer.close()
