import com.aliyun.mq.http.MQClient;
import com.aliyun.mq.http.MQConsumer;
import com.aliyun.mq.http.common.ServiceException;
import com.aliyun.mq.http.model.Message;
import com.aliyun.mq.http.model.TopicMessage;
import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * An app as its users write it with the official Java SDK: it publishes, or consumes until it has
 * all. tests/tests/front.rs runs it, publishing at the agent and consuming at the broker.
 * Arguments: publish or consume, endpoint, access key, secret, instance, file of messages.
 */
public class App {
    static class Item {
        String topic;
        String tag;
        String key;
        String shardingKey;
        Map<String, String> properties;
        String body;
    }

    private static final PrintStream OUT =
            new PrintStream(System.out, true, StandardCharsets.UTF_8);

    public static void main(String[] args) throws Exception {
        String text = Files.readString(Path.of(args[5]));
        List<Item> items = new Gson().fromJson(text, new TypeToken<List<Item>>() {}.getType());
        MQClient client = new MQClient(args[1], args[2], args[3]);
        try {
            switch (args[0]) {
                case "publish" -> publish(client, args[4], items);
                case "consume" -> consume(client, args[4], items);
                default -> strays(client, args[4], items);
            }
        } finally {
            client.close();
        }
    }

    private static void publish(MQClient client, String instance, List<Item> items) throws Exception {
        for (Item item : items) {
            byte[] body = item.body.getBytes(StandardCharsets.UTF_8);
            TopicMessage message = new TopicMessage(body, item.tag);
            message.setMessageKey(item.key);
            if (!item.shardingKey.isEmpty()) message.setShardingKey(item.shardingKey);
            message.getProperties().putAll(item.properties);
            TopicMessage stored = client.getProducer(instance, item.topic).publishMessage(message);
            say("messageId", stored.getMessageId(), "md5", stored.getMessageBodyMD5());
        }
    }

    private static void consume(MQClient client, String instance, List<Item> items) {
        for (String topic : items.stream().map(item -> item.topic).collect(Collectors.toSet())) {
            MQConsumer consumer = client.getConsumer(instance, topic, "GID_app", null);
            long missing = items.stream().filter(item -> item.topic.equals(topic)).count();
            while (missing > 0) {
                List<Message> batch = consumer.consumeMessage(3, 3);
                for (Message message : batch) {
                    say("topic", topic, "tag", message.getMessageTag(), "key", message.getMessageKey(),
                            "shardingKey", message.getShardingKey(), "properties", message.getProperties(),
                            "body", new String(message.getMessageBodyBytes(), StandardCharsets.UTF_8));
                }
                consumer.ackMessage(batch.stream().map(Message::getReceiptHandle).toList());
                missing -= batch.size();
            }
        }
    }

    private static void strays(MQClient client, String instance, List<Item> items) {
        MQConsumer consumer = client.getConsumer(instance, items.get(0).topic, "GID_app", null);
        List<Runnable> asks =
                List.of(() -> consumer.consumeMessage(3, 3), () -> consumer.ackMessage(List.of("x")));
        for (Runnable ask : asks) {
            try {
                ask.run();
            } catch (ServiceException error) {
                say("code", error.getErrorCode(), "message", error.getMessage());
            }
        }
    }

    private static void say(Object... pairs) {
        Map<String, Object> value = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) value.put((String) pairs[i], pairs[i + 1]);
        OUT.println(new Gson().toJson(value));
    }
}
