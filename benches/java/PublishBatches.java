import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/**
 * The classic Java client publishing batches as fast as it can from so many threads. Run by
 * benches/src/peer.rs. Arguments: name server, topic, records, records to warm up with, bytes of a
 * body, threads, messages of a batch.
 */
public class PublishBatches {
    private final String topic;
    private final String text;
    private final int threads;
    private final int batch;

    private PublishBatches(String topic, int bodyBytes, int threads, int batch) {
        this.topic = topic;
        this.text = "x".repeat(bodyBytes);
        this.threads = threads;
        this.batch = batch;
    }

    public static void main(String[] arguments) throws Exception {
        int records = Integer.parseInt(arguments[2]);
        int warmUp = Integer.parseInt(arguments[3]);
        int bodyBytes = Integer.parseInt(arguments[4]);
        var publish = new PublishBatches(arguments[1], bodyBytes,
                Integer.parseInt(arguments[5]), Integer.parseInt(arguments[6]));
        var producer = new DefaultMQProducer("GID_bench");
        producer.setNamesrvAddr(arguments[0]);
        producer.start();
        publish.send(producer, warmUp);
        long begun = System.nanoTime();
        publish.send(producer, records);
        double seconds = (System.nanoTime() - begun) / 1e9;
        System.out.printf("{\"records\": %d, \"seconds\": %s}%n", records, seconds);
        // Its threads would keep the process.
        System.exit(0);
    }

    private void send(DefaultMQProducer producer, int count) throws Exception {
        var pool = Executors.newFixedThreadPool(threads);
        List<Future<?>> sent = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
            int first = (int) ((long) count * thread / threads);
            int last = (int) ((long) count * (thread + 1) / threads);
            Callable<Void> task = () -> {
                for (int from = first; from < last; from += batch) {
                    send(producer, from, Math.min(last, from + batch));
                }
                return null;
            };
            sent.add(pool.submit(task));
        }
        for (Future<?> one : sent) {
            one.get();
        }
        pool.shutdown();
    }

    private void send(DefaultMQProducer producer, int from, int to) throws Exception {
        List<Message> messages = new ArrayList<>();
        for (int number = from; number < to; number++) {
            String body = (number + text).substring(0, text.length());
            // As much as the agent's messages tell: an id, and where in which sequence it stands.
            var message = new Message(topic, "", UUID.randomUUID().toString(),
                    body.getBytes(StandardCharsets.UTF_8));
            message.putUserProperty("sw_gw", "gw-bench");
            message.putUserProperty("sw_lane", "lane-0");
            message.putUserProperty("sw_st", "0123abcd");
            message.putUserProperty("sw_seq", Integer.toString(number));
            message.putUserProperty("sw_at", Long.toString(System.currentTimeMillis()));
            messages.add(message);
        }
        if (producer.send(messages).getSendStatus() != SendStatus.SEND_OK) {
            throw new IllegalStateException("not stored");
        }
    }
}
