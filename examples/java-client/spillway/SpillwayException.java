package spillway;

import java.io.IOException;
import java.time.Duration;

/** No receipt. */
@SuppressWarnings("serial")
public abstract sealed class SpillwayException extends IOException {
    SpillwayException(String message, Throwable cause) {
        super(message, cause);
    }

    /** After how long sending again may help; null: never. */
    public abstract Duration retryAfter();

    /** Refused for good. */
    public static final class Refused extends SpillwayException {
        private final transient Refusal refusal;

        Refused(Refusal refusal) {
            super(refusal.toString(), null);
            this.refusal = refusal;
        }

        public Refusal refusal() {
            return refusal;
        }

        @Override
        public Duration retryAfter() {
            return null;
        }
    }

    /** Refused for now: over the rate, full, or stopping. */
    public static final class TryLater extends SpillwayException {
        private final transient Refusal refusal;

        TryLater(Refusal refusal) {
            super(refusal.toString(), null);
            this.refusal = refusal;
        }

        public Refusal refusal() {
            return refusal;
        }

        @Override
        public Duration retryAfter() {
            return refusal.retryAfter();
        }
    }

    /** No agent, or no answer from it: the record may be stored or not. Send the same one again. */
    public static final class Unanswered extends SpillwayException {
        Unanswered(String message) {
            this(message, null);
        }

        Unanswered(String message, Throwable cause) {
            super(message, cause);
        }

        @Override
        public Duration retryAfter() {
            return Duration.ZERO;
        }
    }
}
