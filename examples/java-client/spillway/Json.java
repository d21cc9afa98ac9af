package spillway;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** As much JSON as the agent speaks: objects, lists, texts, numbers (Long or Double), true, false, null. */
final class Json {
    private static final int DEPTH_MAX = 64;
    private final String text;
    private int at;
    private int depth;

    private Json(String text) {
        this.text = text;
    }

    /** An object, as one line. */
    static String write(Map<?, ?> object) {
        StringBuilder out = new StringBuilder("{");
        object.forEach((name, value) -> {
            out.append(out.length() > 1 ? "," : "");
            quote(name.toString(), out);
            out.append(':');
            if (value instanceof Map<?, ?> nested) {
                out.append(write(nested));
            } else {
                quote(value.toString(), out);
            }
        });
        return out.append('}').toString();
    }

    private static void quote(String text, StringBuilder out) {
        out.append('"');
        for (int n = 0; n < text.length(); n++) {
            char c = text.charAt(n);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ' || Character.isSurrogate(c)) {
                // Half a pair would become a question mark in UTF-8; so the agent sees and refuses it.
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }

    /** @throws SpillwayException.Unanswered if it is no object */
    static Map<?, ?> parse(String text) throws SpillwayException {
        try {
            Json json = new Json(text);
            if (json.value() instanceof Map<?, ?> object && json.peek() == 0) {
                return object;
            }
        } catch (IllegalArgumentException none) {
            // Said below.
        }
        String begin = text.substring(0, Math.min(80, text.length()));
        throw new SpillwayException.Unanswered("this is no agent's answer: " + begin);
    }

    private Object value() {
        return switch (peek()) {
            case '{' -> object();
            case '[' -> list();
            case '"' -> string();
            default -> word();
        };
    }

    private Map<String, Object> object() {
        Map<String, Object> object = new LinkedHashMap<>();
        enter();
        for (boolean more = peek() != '}'; more; more = goesOn('}')) {
            peek();
            String name = string();
            skip(':');
            object.put(name, value());
        }
        leave('}');
        return object;
    }

    private List<Object> list() {
        List<Object> list = new ArrayList<>();
        enter();
        for (boolean more = peek() != ']'; more; more = goesOn(']')) {
            list.add(value());
        }
        leave(']');
        return list;
    }

    private void enter() {
        at++;
        if (++depth > DEPTH_MAX) {
            throw wrong();
        }
    }

    private void leave(char end) {
        skip(end);
        depth--;
    }

    private boolean goesOn(char end) {
        if (peek() == end) {
            return false;
        }
        skip(',');
        return true;
    }

    private String string() {
        StringBuilder out = new StringBuilder();
        if (next() != '"') {
            throw wrong();
        }
        for (char c = next(); c != '"'; c = next()) {
            out.append(c == '\\' ? escaped() : c);
        }
        return out.toString();
    }

    private char escaped() {
        char c = next();
        return switch (c) {
            case 'b' -> '\b';
            case 'f' -> '\f';
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 't' -> '\t';
            case 'u' -> {
                at += 4;
                if (at > text.length()) {
                    throw wrong();
                }
                yield (char) Integer.parseInt(text, at - 4, at, 16);
            }
            default -> c;
        };
    }

    private Object word() {
        int begin = at;
        while (at < text.length() && ",]} \n\r\t".indexOf(text.charAt(at)) < 0) {
            at++;
        }
        String word = text.substring(begin, at);
        return switch (word) {
            case "null" -> null;
            case "true", "false" -> Boolean.valueOf(word);
            default -> word.matches("-?[0-9]{1,18}") ? (Object) Long.valueOf(word) : Double.valueOf(word);
        };
    }

    /** The next sign that is no space; 0 at the end. */
    private char peek() {
        while (at < text.length() && " \n\r\t".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        return at < text.length() ? text.charAt(at) : 0;
    }

    private char next() {
        if (at >= text.length()) {
            throw wrong();
        }
        return text.charAt(at++);
    }

    private void skip(char wanted) {
        if (peek() != wanted) {
            throw wrong();
        }
        at++;
    }

    private IllegalArgumentException wrong() {
        return new IllegalArgumentException("not JSON at " + at);
    }
}
