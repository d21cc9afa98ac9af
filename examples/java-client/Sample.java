import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import spillway.Client;
import spillway.NewRecord;
import spillway.Receipt;
import spillway.Result;
import spillway.SpillwayException;

/**
 * Stores readings from standard input, such as {@code bed-7 36.6}, and prints each one's number.
 *
 * <pre>java -cp build Sample SOCKET LANE [BATCH] &lt; readings.txt</pre>
 *
 * With BATCH, so many go in one request. It goes on through whatever becomes of the agent.
 */
public final class Sample {
    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private final Client client;

    private Sample(Client client) {
        this.client = client;
    }

    public static void main(String[] args) throws Exception {
        Path socket = Path.of(args[0]);
        int batch = args.length > 2 ? Integer.parseInt(args[2]) : 1;
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (Client client = new Client(socket, Duration.ofSeconds(60), Sample::waits)) {
            Sample sample = new Sample(client);
            List<String> some = new ArrayList<>();
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                some.add(line);
                if (some.size() == batch) {
                    sample.store(some, args[1]);
                    some.clear();
                }
            }
            sample.store(some, args[1]);
        }
    }

    private static void waits(SpillwayException error, Duration wait) {
        System.err.println("waits " + wait.toMillis() + " ms: " + error.getMessage());
    }

    private void store(List<String> lines, String lane) throws Exception {
        List<NewRecord> records = lines.stream().map(line -> reading(line.split(" "), lane)).toList();
        List<Result> results = client.sendAllUntilStored(records, Client.FOR_EVER);
        for (int n = 0; n < results.size(); n++) {
            if (!(results.get(n) instanceof Receipt receipt)) {
                throw new IllegalStateException(lines.get(n) + ": " + results.get(n));
            }
            out.println(receipt.seq() + " " + receipt.id() + " " + lines.get(n).split(" ")[1]);
        }
    }

    private static NewRecord reading(String[] words, String lane) {
        return NewRecord.of(words[1]).withLane(lane).withKey(words[0]).withOrderKey(words[0])
            .withProperties(Map.of("unit", "°C"));
    }
}
