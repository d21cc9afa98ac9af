package spillway;

import java.time.Duration;
import java.util.Map;

/**
 * The agent's words: {@code code} is for programs, {@code field} the field to blame or null, {@code
 * message} for people. {@code retryAfter}: after how long sending again may help; null: never.
 */
public record Refusal(String code, String field, String message, Duration retryAfter) implements Result {
    /** Seconds after which a refused line may pass; only whole requests are told by Retry-After. */
    private static final Map<String, Integer> LATER_S = Map.of(
        "not_attempted", 0, "timeout", 0, "over_rate", 1, "overloaded", 1, "disk_failed", 5, "stopping", 5,
        "disk_full", 30);

    /** Whether sending the same record again never helps. */
    public boolean isForGood() {
        return retryAfter == null;
    }

    static Refusal of(Map<?, ?> found, String retryAfter) {
        if (!(found.get("error") instanceof Map<?, ?> error)) {
            return new Refusal("unknown", null, "no reason given; is this an agent's socket?", null);
        }
        String code = String.valueOf(error.get("code"));
        Integer seconds = retryAfter == null ? LATER_S.get(code) : Integer.valueOf(retryAfter);
        Duration later = seconds == null ? null : Duration.ofSeconds(seconds);
        return new Refusal(code, (String) error.get("field"), (String) error.get("message"), later);
    }

    SpillwayException toException() {
        return isForGood() ? new SpillwayException.Refused(this) : new SpillwayException.TryLater(this);
    }

    @Override
    public String toString() {
        return code + ": " + (field == null ? "" : field + " ") + message;
    }
}
