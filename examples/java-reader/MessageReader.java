import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
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
import java.util.UUID;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/**
 * Reads what Spillway puts into a RocketMQ message; docs/message-format.md is the specification.
 * Copy {@link #readAll} and what it needs into your consumer: it has no dependencies.
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

    /**
     * Reads a message: a bundle gives its records, any other message one. A bundle that cannot be
     * read gives one, with the fault "bundle": keep its body. Acknowledge when all are done.
     */
    public static List<Read> readAll(
        String messageId, String keys, Map<String, String> properties, byte[] body) {
        Read message = read(messageId, keys, properties, body);
        if (!message.flags().contains("bundle")) {
            return List.of(message);
        }
        try {
            List<Read> records = new Bundle(message).records();
            if ("body".equals(message.fault())
                || !properties.getOrDefault("sw_n", "").equals(Integer.toString(records.size()))) {
                throw new Malformed("sw_n or base64");
            }
            return records;
        } catch (Malformed none) {
            return List.of(new Read(message.id(), message.properties(), message.origin(),
                message.flags(), message.body(), "bundle"));
        }
    }

    /** A body that is flagged as a bundle and is none. */
    private static final class Malformed extends Exception {
        Malformed(String what) {
            super(what);
        }
    }

    /** The records of a bundle. */
    private static final class Bundle {
        private static final int BYTES_MAX = 4 << 20;
        private static final int RECORDS_MAX = 1024;
        private static final int UUID_ID = 1, KEY = 2, PROPERTIES = 4, TRACE = 8, FLAGS = 16, UNSET = 32;
        private final Read message;
        private ByteBuffer in;
        private long seq;
        private long acceptedMs;

        Bundle(Read message) {
            this.message = message;
            this.in = ByteBuffer.wrap(message.body());
        }

        List<Read> records() throws Malformed {
            if (octet() != 1) {
                throw new Malformed("version");
            }
            int method = octet();
            long size = number();
            if (Long.compareUnsigned(size, BYTES_MAX) > 0 || method > 1) {
                throw new Malformed("size or method");
            }
            byte[] rest = raw(in.remaining());
            in = ByteBuffer.wrap(method == 1 ? inflate(rest, (int) size) : rest);
            if (in.remaining() != size) {
                throw new Malformed("size");
            }
            long count = number();
            if (count == 0 || Long.compareUnsigned(count, RECORDS_MAX) > 0) {
                throw new Malformed("count");
            }
            List<Read> records = new ArrayList<>();
            for (long n = 0; n < count; n++) {
                records.add(record());
            }
            if (in.hasRemaining()) {
                throw new Malformed("end");
            }
            return records;
        }

        private Read record() throws Malformed {
            int bits = octet();
            seq += step();
            acceptedMs += step();
            if ((bits & ~63) != 0 || seq == 0) {
                throw new Malformed("record");
            }
            String id = (bits & UUID_ID) != 0 ? uuid() : text();
            if ((bits & KEY) != 0) {
                text(); // KEYS of its own, where it is not the id
            }
            Map<String, String> properties = new TreeMap<>();
            if ((bits & TRACE) != 0) {
                String hex = HexFormat.of().formatHex(raw(25));
                properties.put("traceparent",
                    "00-" + hex.substring(0, 32) + "-" + hex.substring(32, 48) + "-" + hex.substring(48));
            }
            String flags = (bits & FLAGS) != 0 ? text() : "";
            for (long left = (bits & PROPERTIES) != 0 ? number() : 0; left != 0; left--) {
                properties.put(text(), text());
            }
            Origin of = message.origin();
            Origin origin = of == null ? null : new Origin(
                of.gateway(), of.lane(), of.stream(), seq, acceptedMs, (bits & UNSET) == 0);
            return new Read(id, properties, origin, splitFlags(flags), raw(number()), message.fault());
        }

        private static byte[] inflate(byte[] deflated, int size) throws Malformed {
            Inflater inflater = new Inflater(true);
            try {
                inflater.setInput(deflated);
                byte[] out = new byte[size + 1]; // one more tells that there is more
                int count = 0;
                while (!inflater.finished() && count < out.length) {
                    int more = inflater.inflate(out, count, out.length - count);
                    if (more == 0 && !inflater.finished()) {
                        throw new Malformed("cut");
                    }
                    count += more;
                }
                return Arrays.copyOf(out, count);
            } catch (DataFormatException broken) {
                throw new Malformed("deflate");
            } finally {
                inflater.end();
            }
        }

        private int octet() throws Malformed {
            if (!in.hasRemaining()) {
                throw new Malformed("cut");
            }
            return in.get() & 0xff;
        }

        /** Seven bits a byte, the lowest first; unsigned. */
        private long number() throws Malformed {
            long number = 0;
            for (int shift = 0; shift < 64; shift += 7) {
                int octet = octet();
                if (shift == 63 && (octet & 0x7f) > 1) {
                    break;
                }
                number |= (long) (octet & 0x7f) << shift;
                if ((octet & 0x80) == 0) {
                    return number;
                }
            }
            throw new Malformed("number");
        }

        /** 0, 1, 2, 3 ... stand for 0, -1, 1, -2 ... */
        private long step() throws Malformed {
            long number = number();
            return (number >>> 1) ^ -(number & 1);
        }

        private byte[] raw(long count) throws Malformed {
            if (Long.compareUnsigned(count, in.remaining()) > 0) {
                throw new Malformed("cut");
            }
            byte[] raw = new byte[(int) count];
            in.get(raw);
            return raw;
        }

        private String text() throws Malformed {
            try {
                return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(raw(number()))).toString();
            } catch (CharacterCodingException none) {
                throw new Malformed("text");
            }
        }

        private String uuid() throws Malformed {
            ByteBuffer raw = ByteBuffer.wrap(raw(16));
            return new UUID(raw.getLong(), raw.getLong()).toString();
        }
    }

    /** Reads a message; {@code properties} are the user properties, {@code keys} may be null. */
    public static Read read(String messageId, String keys, Map<String, String> properties, byte[] body) {
        Map<String, String> apps = new TreeMap<>(properties);
        apps.keySet().removeIf(name -> name.startsWith("sw_"));
        String id = firstFilled(properties.get("sw_id"), keys, messageId);
        List<String> flags = splitFlags(properties.getOrDefault("sw_flags", ""));
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

    private static List<String> splitFlags(String flags) {
        return Arrays.stream(flags.split(",")).filter(flag -> !flag.isEmpty()).toList();
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
        for (Object vector : (List<?>) vectors.get("bundles")) {
            checkBundle((Map<?, ?>) vector);
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
        Read read = readAll(message).get(0);
        same(name + ": fault", vector.get("fault"), read.fault());
        Map<?, ?> record = (Map<?, ?>) vector.get("record");
        if (record == null) {
            String body = HexFormat.of().formatHex(bytes(message));
            same(name + ": body", body, HexFormat.of().formatHex(read.body()));
            return;
        }
        check(name, record, read);
    }

    private static void checkBundle(Map<?, ?> vector) {
        String name = (String) vector.get("name");
        List<Read> read = readAll((Map<?, ?>) vector.get("message"));
        same(name + ": fault", vector.get("fault"), read.get(0).fault());
        if (vector.get("fault") != null) {
            return;
        }
        List<?> records = (List<?>) vector.get("records");
        same(name + ": records", records.size(), read.size());
        for (int n = 0; n < records.size(); n++) {
            check(name + ": record " + n, (Map<?, ?>) records.get(n), read.get(n));
        }
    }

    private static List<Read> readAll(Map<?, ?> message) {
        return readAll((String) message.get("message_id"), (String) message.get("keys"),
            texts(message.get("properties")), bytes(message));
    }

    private static void check(String name, Map<?, ?> record, Read read) {
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
                default -> Long.parseUnsignedLong(word);
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
