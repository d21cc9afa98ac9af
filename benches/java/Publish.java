import java.nio.charset.StandardCharsets;
import java.util.UUID;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.producer.Producer;

/**
 * The official Java client publishing as fast as it can with so many sends under way. Run by
 * benches/src/peer.rs. Arguments: endpoint, topic, records, records to warm up with, bytes of a
 * body, sends under way (1: one blocking send after the other).
 */
public class Publish {
    private final ClientServiceProvider provider = ClientServiceProvider.loadService();
    private final String topic;
    private final String text;
    private final int concurrency;

    private Publish(String topic, int bodyBytes, int concurrency) {
        this.topic = topic;
        this.text = "x".repeat(bodyBytes);
        this.concurrency = concurrency;
    }

    public static void main(String[] arguments) throws Exception {
        int records = Integer.parseInt(arguments[2]);
        int warmUp = Integer.parseInt(arguments[3]);
        int bodyBytes = Integer.parseInt(arguments[4]);
        var publish = new Publish(arguments[1], bodyBytes, Integer.parseInt(arguments[5]));
        var configuration =
                ClientConfiguration.newBuilder().setEndpoints(arguments[0]).enableSsl(false).build();
        try (Producer producer = publish.provider.newProducerBuilder()
                .setClientConfiguration(configuration).setTopics(publish.topic).build()) {
            publish.send(producer, warmUp);
            long begun = System.nanoTime();
            publish.send(producer, records);
            double seconds = (System.nanoTime() - begun) / 1e9;
            System.out.printf("{\"records\": %d, \"seconds\": %s}%n", records, seconds);
        }
        // Its threads would keep the process.
        System.exit(0);
    }

    private void send(Producer producer, int count) throws Exception {
        if (concurrency == 1) {
            for (int number = 0; number < count; number++) {
                producer.send(message(number));
            }
            return;
        }
        var room = new Semaphore(concurrency);
        var failure = new AtomicReference<Throwable>();
        for (int number = 0; number < count; number++) {
            room.acquire();
            producer.sendAsync(message(number)).whenComplete((receipt, error) -> {
                if (error != null) {
                    failure.set(error);
                }
                room.release();
            });
        }
        room.acquire(concurrency);
        if (failure.get() != null) {
            throw new IllegalStateException(failure.get());
        }
    }

    private Message message(int number) {
        String body = (number + text).substring(0, text.length());
        // As much as the agent's messages tell: an id, and where in which sequence it stands.
        return provider.newMessageBuilder().setTopic(topic).setKeys(UUID.randomUUID().toString())
                .addProperty("sw_gw", "gw-bench").addProperty("sw_lane", "lane-0")
                .addProperty("sw_st", "0123abcd").addProperty("sw_seq", Integer.toString(number))
                .addProperty("sw_at", Long.toString(System.currentTimeMillis()))
                .setBody(body.getBytes(StandardCharsets.UTF_8)).build();
    }
}
