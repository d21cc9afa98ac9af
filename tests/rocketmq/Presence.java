import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Who is online, as a team would know it that reads ApsaraMQ for MQTT's status events with the
 * classic client: a push consumer on "connect||tcpclean" and a table by client and channel.
 *
 * <pre>
 * java -cp 'lib/*' Presence.java NAMESRV GROUP TOPIC
 * </pre>
 *
 * Says "done" when it consumes; answers each line of standard input with a line of the number of
 * different messages it has seen and the clients that are online. Ends with its standard input.
 */
public class Presence {
    private final Map<String, Map<String, Set<String>>> clients = new TreeMap<>();
    private final Set<String> messages = new HashSet<>();

    public static void main(String[] args) throws Exception {
        Presence presence = new Presence();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(args[1]);
        consumer.setNamesrvAddr(args[0]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(args[2], "connect||tcpclean");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            batch.forEach(presence::take);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        System.out.println("done");
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in));
        while (questions.readLine() != null) {
            System.out.println(presence.answer());
        }
        System.exit(0);
    }

    private synchronized void take(MessageExt message) {
        JSONObject event = JSON.parseObject(message.getBody());
        if (!event.getString("eventType").equals(message.getTags())) {
            throw new IllegalStateException("tag " + message.getTags() + ", body " + event);
        }
        messages.add(message.getQueueId() + "/" + message.getQueueOffset());
        clients.computeIfAbsent(event.getString("clientId"), id -> new HashMap<>())
            .computeIfAbsent(event.getString("channelId"), id -> new HashSet<>())
            .add(event.getString("eventType"));
    }

    private synchronized String answer() {
        Set<String> online = new TreeSet<>();
        clients.forEach((client, channels) -> {
            if (channels.values().stream().anyMatch(seen -> !seen.contains("tcpclean"))) {
                online.add(client);
            }
        });
        return (messages.size() + " " + String.join(" ", online)).trim();
    }
}
