import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.LongAdder;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * The operator's desk of a real RocketMQ, for tests: one JVM that takes a command a line and
 * answers with lines, the last of them "done" or "error TEXT".
 *
 * <pre>
 * java -cp 'lib/*' Desk.java NAMESRV BROKER [ACCESS_KEY SECRET_KEY]
 * ready                 an error until the broker serves and the name server knows it
 * create TOPIC TYPE     NORMAL or FIFO, 8 queues
 * permit TOPIC PERMISSION     6 both ways, 4 reading only
 * delete TOPIC
 * mqadmin WORD...       what an operator would type after mqadmin, but for -n and -c
 * await TOPIC COUNT     until it holds so many messages
 * load TOPIC THREADS    so many threads send to it, one message after the other, until told otherwise
 * unload                they end; answers with how many were stored and how many refused
 * read TOPIC            all of every queue, by offset, as the classic wire protocol reads it
 * </pre>
 */
public class Desk {
    private static final int QUEUES = 8;
    /** A broker on a machine that is busy with builds is slow. */
    private static final long ANSWER_MILLIS = 30_000;
    private static final long AWAIT_NANOS = 120_000_000_000L;

    private final String namesrv;
    private final String broker;
    private final RPCHook signer;
    private final DefaultMQAdminExt admin;
    private final DefaultMQPullConsumer reader;
    private final List<Thread> loaders = new ArrayList<>();
    private final LongAdder stored = new LongAdder();
    private final LongAdder refused = new LongAdder();
    private volatile boolean loading;

    private Desk(String namesrv, String broker, RPCHook signer) throws Exception {
        this.namesrv = namesrv;
        this.broker = broker;
        this.signer = signer;
        admin = new DefaultMQAdminExt(signer, ANSWER_MILLIS);
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName("desk-admin");
        admin.start();
        reader = new DefaultMQPullConsumer("desk", signer);
        reader.setNamesrvAddr(namesrv);
        reader.setInstanceName("desk-reader");
        reader.start();
    }

    public static void main(String[] args) throws Exception {
        RPCHook signer = args.length < 4 ? null
            : new AclClientRPCHook(new SessionCredentials(args[2], args[3]));
        Desk desk = new Desk(args[0], args[1], signer);
        answer("done");
        ExecutorService worker = Executors.newSingleThreadExecutor();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String command = line;
            worker.submit(() -> desk.obeyAndAnswer(command));
        }
        // Whoever commands is gone; an unfinished command is of no use to anyone.
        System.exit(0);
    }

    private void obeyAndAnswer(String command) {
        try {
            obey(command.split(" "));
            answer("done");
        } catch (Exception e) {
            answer("error " + String.valueOf(e).replaceAll("\\s+", " "));
        }
    }

    private void obey(String[] words) throws Exception {
        switch (words[0]) {
            case "ready" -> ready();
            case "create" -> create(words[1], words[2]);
            case "permit" -> permit(words[1], Integer.parseInt(words[2]));
            case "delete" -> delete(words[1]);
            case "mqadmin" -> mqadmin(Arrays.copyOfRange(words, 1, words.length));
            case "await" -> await(words[1], Long.parseLong(words[2]));
            case "load" -> load(words[1], Integer.parseInt(words[2]));
            case "unload" -> unload();
            case "read" -> read(words[1]);
            default -> throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private void ready() throws Exception {
        admin.fetchBrokerRuntimeStats(broker);
        if (admin.examineBrokerClusterInfo().getBrokerAddrTable().isEmpty()) {
            Thread.sleep(100);
            throw new IllegalStateException("the name server knows no broker");
        }
    }

    private void create(String topic, String type) throws Exception {
        TopicConfig config = new TopicConfig(topic, QUEUES, QUEUES);
        config.setAttributes(Map.of("+message.type", type));
        admin.createAndUpdateTopicConfig(broker, config);
    }

    private void permit(String topic, int permission) throws Exception {
        TopicConfig config = admin.examineTopicConfig(broker, topic);
        config.setPerm(permission);
        config.setAttributes(Map.of());
        admin.createAndUpdateTopicConfig(broker, config);
    }

    private void delete(String topic) throws Exception {
        admin.deleteTopicInBroker(Set.of(broker), topic);
        admin.deleteTopicInNameServer(
            new TreeSet<>(admin.getNameServerAddressList()), "DefaultCluster", topic);
    }

    private void mqadmin(String[] words) {
        List<String> line = new ArrayList<>(List.of(words));
        line.addAll(List.of("-n", namesrv));
        MQAdminStartup.main0(line.toArray(new String[0]), signer);
        // Its last line may not be ended.
        System.out.println();
    }

    private void await(String topic, long count) throws Exception {
        long deadline = System.nanoTime() + AWAIT_NANOS;
        for (long held = 0; held < count; Thread.sleep(10)) {
            held = 0;
            for (MessageQueue queue : reader.fetchSubscribeMessageQueues(topic)) {
                held += reader.maxOffset(queue) - reader.minOffset(queue);
            }
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("only " + held + " messages came");
            }
        }
    }

    private void load(String topic, int threads) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("desk-load", signer);
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName("desk-load");
        producer.setRetryTimesWhenSendFailed(0);
        producer.start();
        loading = true;
        for (int thread = 0; thread < threads; thread++) {
            Thread sender = new Thread(() -> sendUntilUnloaded(producer, topic));
            sender.start();
            loaders.add(sender);
        }
    }

    private void sendUntilUnloaded(DefaultMQProducer producer, String topic) {
        while (loading) {
            try {
                producer.send(new Message(topic, new byte[64]));
                stored.increment();
            } catch (Exception e) {
                refused.increment();
            }
        }
    }

    private void unload() throws Exception {
        loading = false;
        for (Thread loader : loaders) {
            loader.join();
        }
        System.out.println(stored + " " + refused);
    }

    private void read(String topic) throws Exception {
        awaitDispatch();
        for (MessageQueue queue : new TreeSet<>(reader.fetchSubscribeMessageQueues(topic))) {
            long end = reader.maxOffset(queue);
            for (long offset = reader.minOffset(queue); offset < end; ) {
                PullResult result = reader.pull(queue, "*", offset, 32);
                if (result.getPullStatus() == PullStatus.FOUND) {
                    show(result.getMsgFoundList());
                }
                offset = result.getNextBeginOffset();
            }
        }
    }

    /** What the log holds may not be in the queues yet. */
    private void awaitDispatch() throws Exception {
        while (!"0".equals(admin.fetchBrokerRuntimeStats(broker).getTable().get("dispatchBehindBytes"))) {
            Thread.sleep(10);
        }
    }

    private static void show(List<MessageExt> messages) {
        for (MessageExt message : messages) {
            StringBuilder line = new StringBuilder("{");
            line.append("\"queue_id\":").append(message.getQueueId());
            line.append(",\"offset\":").append(message.getQueueOffset());
            line.append(",\"stored_ms\":").append(message.getStoreTimestamp());
            line.append(",\"message_id\":").append(quoted(message.getMsgId()));
            line.append(",\"keys\":").append(quoted(message.getKeys()));
            line.append(",\"tag\":").append(quoted(message.getTags()));
            line.append(",\"properties\":{");
            String comma = "";
            for (Map.Entry<String, String> pair : new TreeMap<>(message.getProperties()).entrySet()) {
                line.append(comma).append(quoted(pair.getKey())).append(':').append(quoted(pair.getValue()));
                comma = ",";
            }
            line.append("},\"body\":\"");
            line.append(Base64.getEncoder().encodeToString(message.getBody()));
            answer(line.append("\"}").toString());
        }
    }

    /** A JSON string; everything but plain ASCII is escaped, so that no encoding interferes. */
    private static String quoted(String text) {
        if (text == null) {
            return "null";
        }
        StringBuilder json = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c >= ' ' && c < 127 && c != '"' && c != '\\') {
                json.append(c);
            } else {
                json.append(String.format("\\u%04x", (int) c));
            }
        }
        return json.append('"').toString();
    }

    private static void answer(String line) {
        byte[] bytes = (line + "\n").getBytes(StandardCharsets.US_ASCII);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }
}
