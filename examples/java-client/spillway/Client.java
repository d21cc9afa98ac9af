package spillway;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.function.BiConsumer;

/**
 * Hands records to a Spillway agent over its Unix socket. Copy this package: it needs only Java 17.
 *
 * <pre>try (Client client = new Client(Path.of("/run/spillway/spillway.sock"))) {
 *     Receipt receipt = client.sendUntilStored(NewRecord.of("36.6").withKey("bed-7"), Client.FOR_EVER);
 * }</pre>
 *
 * One client may be used by all threads of a program. Each call under way has a connection of its own,
 * so those at the same time have no order among them.
 * An interrupt ends a call: it throws, with the thread's interrupt status set or as
 * {@link InterruptedException}.
 */
public final class Client implements AutoCloseable {
    /** Never give up. */
    public static final Duration FOR_EVER = Duration.ofDays(36_500);
    private static final String RECORDS = "/v1/records";
    private final Path socket;
    private final Duration timeout;
    private final BiConsumer<SpillwayException, Duration> onWait;
    private final ConcurrentLinkedDeque<Connection> idle = new ConcurrentLinkedDeque<>();

    /** A client that waits for each answer for a minute; the agent itself answers within 30 s. */
    public Client(Path socket) {
        this(socket, Duration.ofSeconds(60), (error, wait) -> {});
    }

    /**
     * @param timeout silence after which the agent counts as gone
     * @param onWait hears of each wait of the {@code ...UntilStored}
     */
    public Client(Path socket, Duration timeout, BiConsumer<SpillwayException, Duration> onWait) {
        this.socket = socket;
        this.timeout = timeout;
        this.onWait = onWait;
    }

    /** Stores one record. */
    public Receipt send(NewRecord record) throws SpillwayException {
        String answer = exchange("POST", RECORDS, "application/json", record.toJson());
        return Receipt.of(Json.parse(answer), record);
    }

    /**
     * Stores up to a few thousand records in one request: a result for each, in order. Behind a
     * refused one, those of the same order are refused as {@code not_attempted}. Throws only where
     * there is no result at all, or not for all: then send all of them again.
     */
    public List<Result> sendMany(List<NewRecord> records) throws SpillwayException {
        StringBuilder lines = new StringBuilder();
        records.forEach(record -> lines.append(record.toJson()).append('\n'));
        String answer = exchange("POST", RECORDS, "application/x-ndjson", lines.toString());
        List<String> found = answer.lines().toList();
        if (found.size() != records.size()) {
            throw new SpillwayException.Unanswered(found.size() + " answers to " + records.size() + " records");
        }
        List<Result> results = new ArrayList<>();
        for (int n = 0; n < found.size(); n++) {
            Map<?, ?> line = Json.parse(found.get(n));
            boolean refused = line.containsKey("error");
            results.add(refused ? Refusal.of(line, null) : Receipt.of(line, records.get(n)));
        }
        return results;
    }

    /**
     * Stores one record, however often it has to be sent.
     *
     * @throws SpillwayException.Refused or the last error where the next attempt would come too late
     */
    public Receipt sendUntilStored(NewRecord record, Duration giveUpAfter)
        throws SpillwayException, InterruptedException {
        Patience patience = new Patience(giveUpAfter, onWait);
        while (true) {
            try {
                return send(record);
            } catch (SpillwayException error) {
                patience.await(error);
            }
        }
    }

    /**
     * The same for many: for each a receipt, or a refusal for good, or one with the code {@code
     * not_attempted}: behind a refused one of its order (the same order key, or the same lane where
     * that may be one order), and only the app knows whether it may follow.
     */
    public List<Result> sendAllUntilStored(List<NewRecord> records, Duration giveUpAfter)
        throws SpillwayException, InterruptedException {
        Patience patience = new Patience(giveUpAfter, onWait);
        TreeMap<Integer, NewRecord> left = new TreeMap<>();
        records.forEach(record -> left.put(left.size(), record));
        Result[] results = new Result[records.size()];
        Orders orders = new Orders(records);
        while (!left.isEmpty()) {
            try {
                List<Result> answers = sendMany(List.copyOf(left.values()));
                int at = 0;
                for (int n : left.keySet()) {
                    results[n] = answers.get(at++);
                }
                left.keySet().retainAll(orders.later(left.navigableKeySet(), results));
            } catch (SpillwayException error) {
                patience.await(error);
                continue;
            }
            if (!left.isEmpty()) {
                patience.await(latest(left.keySet().stream().map(n -> (Refusal) results[n]).toList()));
            }
        }
        return List.of(results);
    }

    /** Where the record with this id is. */
    public State state(String id) throws SpillwayException {
        return State.of(Json.parse(exchange("GET", RECORDS + "/" + escape(id), null, "")));
    }

    /** Where the record with this number is; where {@code stream} is null, in the current one. */
    public State stateOf(String lane, long seq, String stream) throws SpillwayException {
        String of = stream == null ? "" : "&stream=" + escape(stream);
        String path = RECORDS + "?lane=" + escape(lane) + "&seq=" + seq + of;
        return State.of(Json.parse(exchange("GET", path, null, "")));
    }

    /** The agent's state, as {@code spillway status --json} prints it: maps, lists, texts, numbers. */
    public Map<?, ?> status() throws SpillwayException {
        return Json.parse(exchange("GET", "/v1/status", null, ""));
    }

    /** Closes what is idle. The client can still be used. */
    @Override
    public void close() {
        for (Connection next = idle.pollFirst(); next != null; next = idle.pollFirst()) {
            next.close();
        }
    }

    /** One request; on another connection where an idle one died, as all do with their agent. */
    private String exchange(String method, String path, String kind, String body) throws SpillwayException {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        while (true) {
            Connection used = idle.pollFirst();
            try {
                return ask(used == null ? Connection.to(socket, timeout) : used, method, path, kind, bytes);
            } catch (SpillwayException refused) {
                throw refused;
            } catch (IOException broken) {
                if (used == null || broken instanceof InterruptedIOException) {
                    throw new SpillwayException.Unanswered(socket + ": " + broken.getMessage(), broken);
                }
            }
        }
    }

    private String ask(Connection connection, String method, String path, String kind, byte[] body)
        throws IOException {
        try {
            Connection.Answer answer = connection.ask(method, path, kind, body);
            if (answer.status() >= 300) {
                throw Refusal.of(Json.parse(answer.text()), answer.retryAfter()).toException();
            }
            return answer.text();
        } finally {
            if (connection.isReusable()) {
                idle.addFirst(connection);
            } else {
                connection.close();
            }
        }
    }

    private static SpillwayException latest(List<Refusal> later) {
        return later.stream().max(Comparator.comparing(Refusal::retryAfter)).orElseThrow().toException();
    }

    private static String escape(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
    }
}
