package spillway;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.BiConsumer;

/**
 * How long to wait: what was asked for, and full jitter, so that those who were refused together do
 * not come back together.
 */
final class Patience {
    private static final long FIRST_MS = 200;
    private static final long MOST_MS = 10_000;
    private final long beganNs = System.nanoTime();
    private final Duration giveUpAfter;
    private final BiConsumer<SpillwayException, Duration> onWait;
    private long boundMs = FIRST_MS;

    Patience(Duration giveUpAfter, BiConsumer<SpillwayException, Duration> onWait) {
        this.giveUpAfter = giveUpAfter;
        this.onWait = onWait;
    }

    void await(SpillwayException error) throws SpillwayException, InterruptedException {
        if (error.retryAfter() == null) {
            throw error;
        }
        Duration wait = error.retryAfter().plusMillis(ThreadLocalRandom.current().nextLong(boundMs + 1));
        boundMs = Math.min(2 * boundMs, MOST_MS);
        Duration passed = Duration.ofNanos(System.nanoTime() - beganNs);
        if (passed.plus(wait).compareTo(giveUpAfter) > 0) {
            throw error;
        }
        onWait.accept(error, wait);
        Thread.sleep(wait.toMillis());
    }
}
