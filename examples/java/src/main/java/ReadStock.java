import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Prints what each new order leaves in stock, from the topic of JFWMS `orderCreate` events. */
public class ReadStock {
    public static void main(String[] args) {
        Map<String, String> env = System.getenv();
        String topic = env.getOrDefault("TOPIC_PREFIX", "wms") + ".jfwms.order-create";
        // Apicurio's deserializer reads the Confluent wire format and asks Apicurio by its own API,
        // where Confluent's API has the same ids. With a registry of Confluent's, take theirs.
        String registry = env.getOrDefault("APICURIO_URL", "http://localhost:8082/apis/registry/v3");
        Map<String, Object> config = Map.of(
                "bootstrap.servers", env.getOrDefault("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
                "group.id", "read-stock-java",
                "auto.offset.reset", "earliest",
                "enable.auto.commit", "false",
                "key.deserializer", StringDeserializer.class,
                "value.deserializer", AvroKafkaDeserializer.class,
                "apicurio.registry.url", registry);
        try (var consumer = new KafkaConsumer<String, GenericRecord>(config)) {
            consumer.subscribe(List.of(topic));
            while (true) {
                // region read
                for (var message : consumer.poll(Duration.ofSeconds(1))) {
                    for (var line : (List<?>) message.value().get("skuList")) {
                        var stock = (GenericRecord) line;
                        System.out.println(stock.get("sku") + " " + stock.get("available"));
                    }
                }
                consumer.commitSync();
                // endregion
            }
        }
    }
}
