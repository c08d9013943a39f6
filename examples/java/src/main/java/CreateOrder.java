import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.KafkaMessageListenerContainer;
import org.springframework.kafka.requestreply.ReplyingKafkaTemplate;

/** Sends a create-order command as JSON and waits for its reply, without a schema registry. */
public class CreateOrder {
    public static void main(String[] args) throws Exception {
        Map<String, String> env = System.getenv();
        String prefix = env.getOrDefault("TOPIC_PREFIX", "wms");
        // A reply topic of its own, which the connector's `commands.reply_topics` allows: there the
        // reply to a JSON command is JSON. On the default one replies are always Avro.
        String replies = prefix + ".replies.java-shop";
        String servers = env.getOrDefault("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092");
        String orderNumber = args.length > 0 ? args[0] : "JAVA-" + UUID.randomUUID();
        String command = """
                {
                  "account": "jf-main",
                  "orderNumber": "%s",
                  "platform": "other",
                  "warehouse": "01",
                  "recipient": {"name": "Erika Muster", "country": "DE", "address1": "Heidestr. 17"},
                  "logistics": {"kind": "OFFLINE", "name": "DHL"},
                  "currency": "EUR",
                  "lines": [{"sku": "2309-1Bei", "quantity": 2, "unitPrice": "19.90"}]
                }""".formatted(orderNumber);

        var producers = new DefaultKafkaProducerFactory<String, String>(
                Map.of("bootstrap.servers", servers, "acks", "all"),
                new StringSerializer(), new StringSerializer());
        var consumers = new DefaultKafkaConsumerFactory<>(
                // Every instance reads all replies and takes those it has asked for.
                Map.of("bootstrap.servers", servers, "group.id", "java-shop-" + UUID.randomUUID()),
                new StringDeserializer(), new StringDeserializer());
        // region ask
        var container = new KafkaMessageListenerContainer<>(consumers, new ContainerProperties(replies));
        var template = new ReplyingKafkaTemplate<>(producers, container);
        // The replies of other instances are none of ours.
        template.setSharedReplyTopic(true);
        template.start();
        try {
            if (!template.waitForAssignment(Duration.ofSeconds(20))) {
                throw new IllegalStateException(replies + " could not be read in time");
            }
            // It sets kafka_correlationId and kafka_replyTopic.
            var record = new ProducerRecord<>(prefix + ".commands.create-order", orderNumber, command);
            var reply = template.sendAndReceive(record, Duration.ofSeconds(30)).get(40, TimeUnit.SECONDS);
            JsonNode answer = new ObjectMapper().readTree(reply.value());
            System.out.println(answer.path("status").asText() + " " + answer.path("category").asText()
                    + " " + answer.path("message").asText());
        } finally {
            template.stop();
            template.destroy();
            producers.destroy();
        }
        // endregion
        // The template's timer for the time-out would run on for a while.
        System.exit(0);
    }
}
