import java.io.IOException;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.SocketException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import spillway.Client;
import spillway.Level;
import spillway.NewRecord;
import spillway.Receipt;
import spillway.Refusal;
import spillway.Result;
import spillway.SpillwayException;
import spillway.SpillwayException.Refused;
import spillway.SpillwayException.TryLater;
import spillway.SpillwayException.Unanswered;
import spillway.State;

/**
 * Against real agents: SPILLWAY_SOCKET, and SPILLWAY_SLOW_SOCKET with a rate and a full disk.
 * tests/tests/languages.rs starts them: {@code cargo test -p spillway-tests --test languages}.
 */
public final class ClientTest {
    private static final Path SOCKET = Path.of(System.getenv("SPILLWAY_SOCKET"));
    private static final Path SLOW_SOCKET = Path.of(System.getenv("SPILLWAY_SLOW_SOCKET"));
    private static final int CONNECTIONS_MAX = 256;
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    @Retention(RetentionPolicy.RUNTIME)
    private @interface Test {}

    public static void main(String[] args) throws Exception {
        int failed = 0;
        for (Method method : ClientTest.class.getDeclaredMethods()) {
            if (!method.isAnnotationPresent(Test.class)) {
                continue;
            }
            try {
                method.invoke(new ClientTest());
                System.out.println("ok " + method.getName());
            } catch (InvocationTargetException error) {
                System.out.println("FAILED " + method.getName());
                error.getCause().printStackTrace(System.out);
                failed++;
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    @Test
    void everyFieldArrives() throws Exception {
        try (Client client = new Client(SOCKET)) {
            NewRecord record = NewRecord.of(new byte[] {0, -1, '3', '6'}).withId("java-fields").withKey("bed-7")
                .withLane("ordered").withTopic("own-topic").withTag("Temp").withOrderKey("Bett 7 süd")
                .withProperties(Map.of("unit", "°C", "Path", "a\\b = c"))
                .withTraceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
            Receipt receipt = client.send(record);
            same(new Receipt("java-fields", "bed-7", "ordered", receipt.seq(), Level.DISK, false), receipt);
            String text = "one \"line\"\n\tand \\ another, 36.6 °C \ud83c\udf21\r\n";
            client.send(NewRecord.of(text).withId("java-text"));
        }
    }

    @Test
    void theSameRecordAgainIsTheSameOne() throws Exception {
        try (Client client = new Client(SOCKET)) {
            NewRecord record = NewRecord.of("once");
            Receipt first = client.send(record);
            Receipt again = client.send(record);
            same(first.seq(), again.seq());
            same(true, again.duplicate());
            Refusal refusal = refused(client, NewRecord.of("another body").withId(record.id()));
            same("id_reused id", refusal.code() + " " + refusal.field());
        }
    }

    @Test
    void aRecordCanBeFollowedToTheBroker() throws Exception {
        try (Client client = new Client(SOCKET)) {
            String id = "java/b%?é+";
            Receipt receipt = client.send(NewRecord.of("x").withId(id).withLevel(Level.BROKER));
            same(Level.BROKER, receipt.level());
            State state = client.state(id);
            same(new State("delivered", "readings", state.stream(), receipt.seq()), state);
            same(state, client.stateOf("readings", receipt.seq(), null));
            same(state, client.stateOf("readings", receipt.seq(), state.stream()));
            same(new State("unknown", null, null, null), client.state("never-sent"));
        }
    }

    @Test
    void whatIsWrongIsRefusedForGoodAndNamed() throws Exception {
        try (Client client = new Client(SOCKET)) {
            Refusal lane = refused(client, NewRecord.of("x").withLane("nowhere"));
            same("unknown_lane lane", lane.code() + " " + lane.field());
            hold(lane.message().contains("readings, ordered"), lane);
            same("id", refused(client, NewRecord.of("x").withId("a b")).field());
            same("malformed", refused(client, NewRecord.of("half a pair: \ud83c")).code());
            same("too_large", refused(client, NewRecord.of(new byte[5_000_000])).code());
        }
    }

    @Test
    void eachOfManyHasItsOwnResult() throws Exception {
        try (Client client = new Client(SOCKET)) {
            List<NewRecord> records = List.of(
                NewRecord.of("1").withLane("ordered").withOrderKey("j-a"),
                NewRecord.of("2").withLane("nowhere").withOrderKey("j-a"),
                NewRecord.of("3").withLane("ordered").withOrderKey("j-a"),
                NewRecord.of(new byte[] {4}).withLane("ordered").withOrderKey("j-b"));
            List<String> expected = List.of("stored", "unknown_lane for good", "not_attempted", "stored");
            same(expected, words(client.sendMany(records)));
            List<Result> again = client.sendAllUntilStored(records, PATIENCE);
            same(expected, words(again));
            hold(((Receipt) again.get(0)).duplicate() && ((Receipt) again.get(3)).duplicate(), again);
            same(List.of(), client.sendMany(List.of()));
        }
    }

    @Test
    void onlyWhatIsBehindARefusedOneIsLeft() throws Exception {
        try (Client client = new Client(SOCKET)) {
            List<NewRecord> records = List.of(
                // So long that its order key is not read: the agent holds up all that keeps an order.
                NewRecord.of("x".repeat(8_000_000)).withLane("readings").withOrderKey("j-a"),
                NewRecord.of("1").withLane("ordered").withOrderKey("j-b"),
                NewRecord.of("2").withLane("ordered").withOrderKey("j-a"),
                NewRecord.of("3").withLane("whole").withOrderKey("j-a"),
                NewRecord.of("4").withLane("whole").withOrderKey("j-b"));
            String none = "not_attempted";
            same(List.of("too_large for good", none, none, none, none), words(client.sendMany(records)));
            List<Result> found = client.sendAllUntilStored(records, PATIENCE);
            same(List.of("too_large for good", "stored", none, none, none), words(found));
        }
    }

    @Test
    void aLaneMayBeOneOrderWhateverKeysItHas() throws Exception {
        try (Client client = new Client(SOCKET)) {
            List<Result> found = client.sendAllUntilStored(List.of(
                NewRecord.of("1").withLane("whole").withOrderKey("j-c").withTopic("a b"),
                NewRecord.of("2").withLane("whole").withOrderKey("j-d"),
                NewRecord.of("3").withLane("whole").withOrderKey("j-e")), PATIENCE);
            same(List.of("bad_record for good", "not_attempted", "not_attempted"), words(found));
        }
    }

    @Test
    void theStatusNamesTheLanes() throws Exception {
        try (Client client = new Client(SOCKET)) {
            List<?> lanes = (List<?>) client.status().get("lanes");
            List<?> names = lanes.stream().map(lane -> ((Map<?, ?>) lane).get("name")).toList();
            same(List.of("readings", "ordered", "whole"), names);
        }
    }

    @Test
    void threadsShareAClient() throws Exception {
        var threads = Executors.newFixedThreadPool(8);
        try (Client client = new Client(SOCKET)) {
            Set<Long> numbers = new HashSet<>();
            Callable<Long> sending = () -> client.send(NewRecord.of("of some thread")).seq();
            for (Future<Long> number : threads.invokeAll(IntStream.range(0, 160).mapToObj(n -> sending).toList())) {
                numbers.add(number.get());
            }
            same(160, numbers.size());
        } finally {
            threads.shutdown();
        }
    }

    @Test
    void tooManyConnectionsAreToldToComeLaterWhateverTheyBring() throws Exception {
        List<SocketChannel> others = new ArrayList<>();
        try (Client client = new Client(SOCKET)) {
            for (int n = 0; n < CONNECTIONS_MAX; n++) {
                others.add(SocketChannel.open(UnixDomainSocketAddress.of(SOCKET)));
            }
            for (String body : List.of("x", "x".repeat(1_000_000))) {
                TryLater later = failure(TryLater.class, () -> client.send(NewRecord.of(body)));
                same("overloaded", later.refusal().code());
                same(Duration.ofSeconds(1), later.retryAfter());
            }
            for (SocketChannel other : others) {
                other.close();
            }
            client.sendUntilStored(NewRecord.of("they are gone"), PATIENCE);
        }
    }

    @Test
    void whatIsOverTheRateIsStoredLater() throws Exception {
        List<String> waits = new ArrayList<>();
        Duration second = Duration.ofSeconds(1);
        try (Client client = new Client(SLOW_SOCKET, PATIENCE, (error, wait) ->
            waits.add(((TryLater) error).refusal().code() + " " + (wait.compareTo(second) >= 0)))) {
            List<NewRecord> records = IntStream.range(0, 30).mapToObj(n -> NewRecord.of("fast " + n)).toList();
            Set<String> words = new HashSet<>(words(client.sendMany(records)));
            same(Set.of("stored", "over_rate"), words);
            List<Result> found = client.sendAllUntilStored(records, PATIENCE);
            same(Set.of("stored"), new HashSet<>(words(found)));
            same(30L, found.stream().map(result -> ((Receipt) result).seq()).distinct().count());
            same(Set.of("over_rate true"), new HashSet<>(waits));
        }
    }

    @Test
    void oneOrderWaitsForTheRateWhileAnotherIsRefusedForGood() throws Exception {
        List<String> waits = new ArrayList<>();
        try (Client client = new Client(SLOW_SOCKET, PATIENCE,
            (error, wait) -> waits.add(((TryLater) error).refusal().code()))) {
            List<NewRecord> records = new ArrayList<>();
            records.add(NewRecord.of("1").withId("a b").withOrderKey("bed-1"));
            records.add(NewRecord.of("2").withOrderKey("bed-1"));
            IntStream.range(0, 30).forEach(n -> records.add(NewRecord.of("fast " + n).withOrderKey("bed-2")));
            List<Result> found = client.sendAllUntilStored(records, PATIENCE);
            same(List.of("bad_record for good", "not_attempted"), words(found.subList(0, 2)));
            List<Result> second = found.subList(2, 32);
            same(Set.of("stored"), new HashSet<>(words(second)));
            List<Long> numbers = second.stream().map(result -> ((Receipt) result).seq()).toList();
            same(numbers.stream().sorted().toList(), numbers);
            hold(waits.contains("over_rate"), waits);
        }
    }

    @Test
    void aFullLaneAsksToComeLaterAndTheAppMayGiveUp() throws Exception {
        try (Client client = new Client(SLOW_SOCKET)) {
            TryLater later = failure(TryLater.class, () -> {
                for (int n = 0; n < 1000; n++) {
                    NewRecord record = NewRecord.of(new byte[300_000]).withLane("small");
                    client.sendUntilStored(record, Duration.ofSeconds(20));
                }
                return null;
            });
            same("disk_full", later.refusal().code());
            same(Duration.ofSeconds(30), later.retryAfter());
            hold(later.getMessage().contains("its quota"), later.getMessage());
        }
    }

    @Test
    void nobodyIsThere() throws Exception {
        Path path = Path.of(System.getProperty("java.io.tmpdir"), "spillway-nobody");
        List<Duration> waits = new ArrayList<>();
        try (Client client = new Client(path, PATIENCE, (error, wait) -> waits.add(wait))) {
            Unanswered none = failure(Unanswered.class,
                () -> client.sendUntilStored(NewRecord.of("x"), Duration.ofMillis(500)));
            hold(none.getMessage().contains(path.toString()) && !waits.isEmpty(), none);
        }
    }

    @Test
    void aFullBacklogEndsACall() throws Exception {
        Path folder = Files.createTempDirectory("spillway");
        Path path = folder.resolve("socket");
        var thread = Executors.newSingleThreadExecutor();
        List<SocketChannel> waiting = new ArrayList<>();
        try (var server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
            Client client = new Client(path, Duration.ofMillis(200), (error, wait) -> {})) {
            server.bind(UnixDomainSocketAddress.of(path), 1);
            failure(SocketException.class, () -> {
                while (true) {
                    waiting.add(SocketChannel.open(StandardProtocolFamily.UNIX));
                    SocketChannel next = waiting.get(waiting.size() - 1);
                    next.configureBlocking(false);
                    next.connect(UnixDomainSocketAddress.of(path));
                }
            });
            var sending = thread.submit(() -> failure(Unanswered.class, () -> client.send(NewRecord.of("x"))));
            Unanswered none = sending.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
            hold(none.getMessage().contains(path.toString()), none);
        } finally {
            for (SocketChannel next : waiting) {
                next.close();
            }
            thread.shutdown();
            Files.delete(path);
            Files.delete(folder);
        }
    }

    @Test
    void silenceEndsAndSoDoesAnInterruptedWait() throws Exception {
        try (Other other = new Other("silence"); Client client = new Client(other.path);
            Client hasty = new Client(other.path, Duration.ofMillis(200), (error, wait) -> {})) {
            failure(Unanswered.class, () -> hasty.send(NewRecord.of("x")));
            other.asked = Thread.currentThread()::interrupt;
            failure(Unanswered.class, () -> client.send(NewRecord.of("x")));
            hold(Thread.currentThread().isInterrupted(), "the interrupt is still to be seen");
            failure(InterruptedException.class, () -> client.sendUntilStored(NewRecord.of("x"), PATIENCE));
            hold(!Thread.interrupted(), "it was handed on");
        }
    }

    @Test
    void anAnswerThatBreaksOffIsNone() throws Exception {
        NewRecord record = NewRecord.of("x");
        String line = "{\"id\":\"" + record.id() + "\",\"key\":\"k\",\"lane\":\"l\",\"seq\":1,\"level\":\"disk\"}\n";
        String head = "HTTP/1.1 200 OK\r\n";
        for (String answer : List.of(
            head + "transfer-encoding: chunked\r\n\r\n" + Integer.toHexString(line.length()) + "\r\n" + line + "\r\n",
            head + "content-length: " + line.length() + "\r\n\r\n" + line,
            head + "content-length: 3\r\n\r\n{}\n", head + "content-length: -1\r\n\r\n", "SSH-2.0\r\n", "")) {
            try (Other other = new Other(answer); Client client = new Client(other.path)) {
                failure(Unanswered.class, () -> client.sendMany(List.of(record, NewRecord.of("y"))));
            }
        }
    }

    @Test
    void anAnswerToAnotherRecordIsNone() throws Exception {
        String line = "{\"id\":\"other\",\"key\":\"k\",\"lane\":\"l\",\"seq\":1,\"level\":\"disk\"}\n";
        String answer = "HTTP/1.1 201 Created\r\ncontent-length: " + line.length() + "\r\n\r\n" + line;
        try (Other other = new Other(answer); Client client = new Client(other.path)) {
            failure(Unanswered.class, () -> client.send(NewRecord.of("x")));
        }
    }

    /** Another server: gives every connection this answer and closes it, or keeps silent. */
    private static final class Other implements AutoCloseable {
        final Path path = Files.createTempDirectory("spillway").resolve("socket");
        private final ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        private final List<SocketChannel> kept = new CopyOnWriteArrayList<>();
        volatile Runnable asked = () -> {};

        Other(String answer) throws Exception {
            server.bind(UnixDomainSocketAddress.of(path));
            Thread thread = new Thread(() -> serve(answer));
            thread.setDaemon(true);
            thread.start();
        }

        private void serve(String answer) {
            try {
                while (true) {
                    SocketChannel channel = server.accept();
                    kept.add(channel);
                    channel.read(ByteBuffer.allocate(65536));
                    asked.run();
                    if (!answer.equals("silence")) {
                        channel.write(ByteBuffer.wrap(answer.getBytes(StandardCharsets.UTF_8)));
                        channel.close();
                    }
                }
            } catch (Exception closed) {
                // The test is over.
            }
        }

        @Override
        public void close() throws IOException {
            server.close();
            for (SocketChannel channel : kept) {
                channel.close();
            }
            Files.delete(path);
            Files.delete(path.getParent());
        }
    }

    private static List<String> words(List<Result> results) {
        return results.stream().map(result -> result instanceof Refusal refusal
            ? refusal.code() + (refusal.isForGood() ? " for good" : "") : "stored").toList();
    }

    private static Refusal refused(Client client, NewRecord record) {
        Refused refused = failure(Refused.class, () -> client.send(record));
        same(null, refused.retryAfter());
        return refused.refusal();
    }

    private static <E extends Exception> E failure(Class<E> kind, Callable<?> doing) {
        try {
            throw new AssertionError("no " + kind + ", but " + doing.call());
        } catch (Exception error) {
            if (!kind.isInstance(error)) {
                throw new AssertionError("no " + kind, error);
            }
            return kind.cast(error);
        }
    }

    private static void same(Object expected, Object found) {
        hold(Objects.equals(expected, found), "expected " + expected + ", found " + found);
    }

    private static void hold(boolean condition, Object otherwise) {
        if (!condition) {
            throw new AssertionError(otherwise);
        }
    }
}
