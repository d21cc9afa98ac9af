import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Reads what Spillway puts into a RocketMQ message; docs/message-format.md is the specification.
 * Copy {@link #read} and what it needs into your consumer: it has no dependencies.
 *
 * <pre>java MessageReader.java ../../docs/message-vectors.json    checks itself (Java 17)</pre>
 */
public final class MessageReader {
    private static final List<String> ORIGIN = List.of("sw_gw", "sw_lane", "sw_st", "sw_seq", "sw_at");
    private static final int ORDER_KEY_BYTES_MAX = 63;

    /** Where a record comes from. {@code seq} is unsigned. */
    public record Origin(
        String gateway, String lane, String stream, long seq, long acceptedMs, boolean clockSet) {}

    /**
     * A message as read. {@code origin} is null for another sender's, and for one whose origin
     * cannot be read: then {@code fault} names the property. Also a message with a fault has to be
     * kept.
     */
    public record Read(
        String id, Map<String, String> properties, Origin origin, List<String> flags, byte[] body,
        String fault) {}

    /** Reads a message; {@code properties} are the user properties, {@code keys} may be null. */
    public static Read read(String messageId, String keys, Map<String, String> properties, byte[] body) {
        Map<String, String> apps = new TreeMap<>(properties);
        apps.keySet().removeIf(name -> name.startsWith("sw_"));
        String id = firstFilled(properties.get("sw_id"), keys, messageId);
        List<String> flags = Arrays.stream(properties.getOrDefault("sw_flags", "").split(","))
            .filter(flag -> !flag.isEmpty()).toList();
        String fault = faultOf(properties);
        byte[] plain = body;
        if (flags.contains("base64")) {
            try {
                plain = Base64.getDecoder().decode(body);
            } catch (IllegalArgumentException none) {
                fault = fault == null ? "body" : fault;
            }
        }
        boolean named = ORIGIN.stream().anyMatch(properties::containsKey);
        boolean readable = fault == null || fault.equals("body");
        Origin origin = named && readable ? origin(properties) : null;
        return new Read(id, apps, origin, flags, plain, fault);
    }

    /** An order key as it is sent: itself where it fits, else a hash. */
    public static String orderKeySent(String given) throws Exception {
        byte[] utf8 = given.getBytes(StandardCharsets.UTF_8);
        boolean plain = given.codePoints().noneMatch(c ->
            Character.isWhitespace(c) || Character.isSpaceChar(c) || Character.isISOControl(c)
                || "\"'&<>:|".indexOf(c) >= 0 || c == 0xFFFE || c == 0xFFFF);
        if (plain && utf8.length <= ORDER_KEY_BYTES_MAX) {
            return given;
        }
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(utf8);
        return HexFormat.of().formatHex(digest).substring(0, 32);
    }

    /** The property of the origin that is missing or has another form; null if none. */
    private static String faultOf(Map<String, String> properties) {
        if (ORIGIN.stream().noneMatch(properties::containsKey)) {
            return null;
        }
        for (String name : ORIGIN) {
            String value = properties.getOrDefault(name, "");
            boolean good = switch (name) {
                case "sw_st" -> value.matches("[0-9a-fA-F]{8}");
                case "sw_seq" -> isNumber(value) && Long.parseUnsignedLong(value) != 0;
                case "sw_at" -> isNumber(value.startsWith("~") ? value.substring(1) : value);
                default -> !value.isEmpty();
            };
            if (!good) {
                return name;
            }
        }
        return null;
    }

    private static boolean isNumber(String text) {
        try {
            Long.parseUnsignedLong(text);
            return text.matches("[0-9]+");
        } catch (NumberFormatException none) {
            return false;
        }
    }

    private static Origin origin(Map<String, String> properties) {
        String at = properties.get("sw_at");
        boolean clockSet = !at.startsWith("~");
        return new Origin(
            properties.get("sw_gw"), properties.get("sw_lane"), properties.get("sw_st"),
            Long.parseUnsignedLong(properties.get("sw_seq")),
            Long.parseUnsignedLong(clockSet ? at : at.substring(1)), clockSet);
    }

    private static String firstFilled(String... candidates) {
        return Arrays.stream(candidates).filter(c -> c != null && !c.isEmpty()).findFirst().orElse("");
    }

    // From here on: the check against the vectors. A consumer needs none of it.

    public static void main(String[] args) throws Exception {
        String text = Files.readString(Path.of(args[0]));
        Map<?, ?> vectors = (Map<?, ?>) new Json(text).value();
        int checked = 0;
        for (Object vector : (List<?>) vectors.get("messages")) {
            check((Map<?, ?>) vector);
            checked++;
        }
        for (Object vector : (List<?>) vectors.get("order_keys")) {
            Map<?, ?> pair = (Map<?, ?>) vector;
            same("order key " + pair.get("given"), pair.get("sent"), orderKeySent((String) pair.get("given")));
            checked++;
        }
        System.out.println(checked + " vectors read as expected");
    }

    private static void check(Map<?, ?> vector) {
        String name = (String) vector.get("name");
        Map<?, ?> message = (Map<?, ?>) vector.get("message");
        byte[] body = bytes(message);
        Read read = read((String) message.get("message_id"), (String) message.get("keys"),
            texts(message.get("properties")), body);
        same(name + ": fault", vector.get("fault"), read.fault());
        Map<?, ?> record = (Map<?, ?>) vector.get("record");
        if (record == null) {
            same(name + ": body", HexFormat.of().formatHex(body), HexFormat.of().formatHex(read.body()));
            return;
        }
        same(name + ": id", record.get("id"), read.id());
        same(name + ": properties", texts(record.get("properties")), read.properties());
        same(name + ": body", HexFormat.of().formatHex(bytes(record)), HexFormat.of().formatHex(read.body()));
        Map<?, ?> origin = (Map<?, ?>) record.get("origin");
        same(name + ": origin", expected(origin), read.origin());
        same(name + ": flags", origin == null ? List.of() : origin.get("flags"), read.flags());
    }

    private static Origin expected(Map<?, ?> origin) {
        return origin == null ? null : new Origin(
            (String) origin.get("gateway"), (String) origin.get("lane"), (String) origin.get("stream"),
            (Long) origin.get("seq"), (Long) origin.get("accepted_ms"), (Boolean) origin.get("clock_set"));
    }

    private static byte[] bytes(Map<?, ?> of) {
        return Base64.getDecoder().decode((String) of.get("body_base64"));
    }

    private static Map<String, String> texts(Object object) {
        Map<String, String> texts = new TreeMap<>();
        ((Map<?, ?>) object).forEach((name, value) -> texts.put((String) name, (String) value));
        return texts;
    }

    private static void same(String what, Object expected, Object found) {
        if (expected == null ? found != null : !expected.equals(found)) {
            throw new AssertionError(what + ": expected " + expected + ", found " + found);
        }
    }

    /** As much JSON as the vectors have: whole numbers only. */
    private static final class Json {
        private final String text;
        private int at;

        Json(String text) {
            this.text = text;
        }

        Object value() {
            char first = peek();
            if (first == '{') {
                return object();
            } else if (first == '[') {
                return array();
            } else if (first == '"') {
                return string();
            }
            int begin = at;
            while (at < text.length() && ",]} \n\r\t".indexOf(text.charAt(at)) < 0) {
                at++;
            }
            String word = text.substring(begin, at);
            return switch (word) {
                case "null" -> null;
                case "true", "false" -> Boolean.valueOf(word);
                default -> Long.valueOf(word);
            };
        }

        private Map<String, Object> object() {
            Map<String, Object> object = new LinkedHashMap<>();
            for (at++; peek() != '}'; skip(',')) {
                peek();
                String name = string();
                peek();
                skip(':');
                object.put(name, value());
                peek();
            }
            at++;
            return object;
        }

        private List<Object> array() {
            List<Object> array = new ArrayList<>();
            for (at++; peek() != ']'; skip(',')) {
                array.add(value());
                peek();
            }
            at++;
            return array;
        }

        private String string() {
            StringBuilder string = new StringBuilder();
            for (at++; text.charAt(at) != '"'; at++) {
                char c = text.charAt(at);
                if (c == '\\') {
                    c = text.charAt(++at);
                    if (c == 'u') {
                        c = (char) Integer.parseInt(text.substring(at + 1, at + 5), 16);
                        at += 4;
                    } else {
                        int escaped = "bfnrt".indexOf(c);
                        c = escaped < 0 ? c : "\b\f\n\r\t".charAt(escaped);
                    }
                }
                string.append(c);
            }
            at++;
            return string.toString();
        }

        private char peek() {
            while (Character.isWhitespace(text.charAt(at))) {
                at++;
            }
            return text.charAt(at);
        }

        private void skip(char c) {
            if (text.charAt(at) == c) {
                at++;
            }
        }
    }
}
