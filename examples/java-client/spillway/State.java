package spillway;

import java.util.Map;

/**
 * Where a record is: waiting, delivered, dead, expired, dropped, or unknown (then lane, stream and
 * seq are null).
 */
public record State(String state, String lane, String stream, Long seq) {
    static State of(Map<?, ?> found) {
        return new State((String) found.get("state"), (String) found.get("lane"),
            (String) found.get("stream"), (Long) found.get("seq"));
    }
}
