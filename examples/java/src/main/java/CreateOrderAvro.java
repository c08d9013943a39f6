import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.KafkaMessageListenerContainer;
import org.springframework.kafka.requestreply.ReplyingKafkaTemplate;

/** Sends a create-order command in Avro and waits for its reply on the topic of all replies. */
public class CreateOrderAvro {
    public static void main(String[] args) throws Exception {
        Map<String, String> env = System.getenv();
        String prefix = env.getOrDefault("TOPIC_PREFIX", "wms");
        String servers = env.getOrDefault("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092");
        // Apicurio's serializers write and read the Confluent wire format and ask Apicurio by its
        // own API, where Confluent's API has the same ids. With a registry of Confluent's, take
        // theirs: `auto.register.schemas=false`, `use.latest.version=true`.
        String registry = env.getOrDefault("APICURIO_URL", "http://localhost:8082/apis/registry/v3");
        String orderNumber = args.length > 0 ? args[0] : "JAVA-" + UUID.randomUUID();

        var producers = new DefaultKafkaProducerFactory<String, GenericRecord>(Map.of(
                "bootstrap.servers", servers,
                "acks", "all",
                "key.serializer", StringSerializer.class,
                "value.serializer", AvroKafkaSerializer.class,
                "apicurio.registry.url", registry,
                // The newest schema of `<topic>-value`; a service registers none.
                "apicurio.registry.auto-register", "false",
                "apicurio.registry.find-latest", "true"));
        var consumers = new DefaultKafkaConsumerFactory<String, GenericRecord>(Map.of(
                "bootstrap.servers", servers,
                // Every instance reads all replies and takes those it has asked for.
                "group.id", "java-shop-" + UUID.randomUUID(),
                "key.deserializer", StringDeserializer.class,
                "value.deserializer", AvroKafkaDeserializer.class,
                "apicurio.registry.url", registry));
        var container = new KafkaMessageListenerContainer<>(
                consumers, new ContainerProperties(prefix + ".replies"));
        var template = new ReplyingKafkaTemplate<>(producers, container);
        // The replies of other services are none of ours.
        template.setSharedReplyTopic(true);
        template.start();
        try {
            if (!template.waitForAssignment(Duration.ofSeconds(20))) {
                throw new IllegalStateException("the replies could not be read in time");
            }
            // It sets kafka_correlationId and kafka_replyTopic.
            var record = new ProducerRecord<>(
                    prefix + ".commands.create-order", orderNumber, command(orderNumber));
            var reply = template.sendAndReceive(record, Duration.ofSeconds(30))
                    .get(40, TimeUnit.SECONDS).value();
            System.out.println(reply.get("status") + " " + reply.get("category") + " " + reply.get("message"));
        } finally {
            template.stop();
            template.destroy();
            producers.destroy();
        }
        // The template's timer for the time-out would run on for a while.
        System.exit(0);
    }

    private static GenericRecord command(String orderNumber) throws Exception {
        Schema order;
        try (var file = CreateOrderAvro.class.getResourceAsStream("/wms.commands.CreateOrder.avsc")) {
            order = new Schema.Parser().parse(file);
        }
        var recipient = new GenericRecordBuilder(order.getField("recipient").schema())
                .set("name", "Erika Muster").set("country", "DE").set("address1", "Heidestr. 17")
                .build();
        Schema logistics = nonNull(order.getField("logistics").schema());
        Schema kind = nonNull(logistics.getField("kind").schema());
        var line = new GenericRecordBuilder(order.getField("lines").schema().getElementType());
        line.set("sku", "2309-1Bei").set("quantity", 2L);
        line.set("unitPrice", decimal(new BigDecimal("19.90")));
        return new GenericRecordBuilder(order)
                .set("account", "jf-main")
                .set("orderNumber", orderNumber)
                .set("platform", "other")
                .set("warehouse", "01")
                .set("recipient", recipient)
                .set("logistics", new GenericRecordBuilder(logistics)
                        .set("kind", new GenericData.EnumSymbol(kind, "OFFLINE")).set("name", "DHL").build())
                .set("currency", "EUR")
                .set("lines", List.of(line.build()))
                .build();
    }

    /** The schema of a field that may also be null. */
    private static Schema nonNull(Schema union) {
        return union.getTypes().get(1);
    }

    /** Money is decimal(18,4). */
    private static ByteBuffer decimal(BigDecimal amount) {
        return ByteBuffer.wrap(amount.setScale(4).unscaledValue().toByteArray());
    }
}
