package spillway;

import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.UUID;

/**
 * What is stored. Immutable; all but the body may be left out. It has its id from the start, so
 * sending the same one again, after whatever error, never makes it two.
 */
public final class NewRecord {
    private final Map<String, Object> fields;

    private NewRecord(Map<String, Object> fields) {
        this.fields = fields;
    }

    public static NewRecord of(String text) {
        return of("body", text);
    }

    /** Bytes go to the agent as base64, and arrive as they are. */
    public static NewRecord of(byte[] bytes) {
        return of("body_base64", Base64.getEncoder().encodeToString(bytes));
    }

    private static NewRecord of(String name, String body) {
        return new NewRecord(Map.of(name, body)).withId(UUID.randomUUID().toString());
    }

    public NewRecord withId(String id) {
        return with("id", id);
    }

    public NewRecord withKey(String key) {
        return with("key", key);
    }

    public NewRecord withLane(String lane) {
        return with("lane", lane);
    }

    public NewRecord withTopic(String topic) {
        return with("topic", topic);
    }

    public NewRecord withTag(String tag) {
        return with("tag", tag);
    }

    public NewRecord withOrderKey(String orderKey) {
        return with("order_key", orderKey);
    }

    public NewRecord withProperties(Map<String, String> properties) {
        return with("properties", Map.copyOf(properties));
    }

    public NewRecord withTraceparent(String traceparent) {
        return with("traceparent", traceparent);
    }

    public NewRecord withLevel(Level level) {
        return with("level", level.name().toLowerCase(Locale.ROOT));
    }

    public String id() {
        return (String) fields.get("id");
    }

    /** Null: it says none. */
    String lane() {
        return (String) fields.get("lane");
    }

    /** Null: it says none. */
    String orderKey() {
        return (String) fields.get("order_key");
    }

    /** The record as the agent reads it, on one line. */
    String toJson() {
        return Json.write(fields);
    }

    private NewRecord with(String name, Object value) {
        Map<String, Object> more = new LinkedHashMap<>(fields);
        more.put(name, value);
        return new NewRecord(more);
    }

    @Override
    public String toString() {
        return "record " + id();
    }
}
