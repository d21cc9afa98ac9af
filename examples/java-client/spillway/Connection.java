package spillway;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.ProtocolException;
import java.net.SocketTimeoutException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/**
 * As much HTTP/1.1 over a Unix socket as the agent speaks (java.net.http knows only TCP): one request
 * after the other, answers with a length or in chunks. For one thread at a time.
 */
final class Connection implements Closeable {
    private static final int LINE_MAX = 64 * 1024;
    private final SocketChannel channel;
    private final Selector selector;
    private final SelectionKey key;
    private final Duration timeout;
    private final ByteBuffer in = ByteBuffer.allocate(16 * 1024).limit(0);
    private boolean reusable;

    record Answer(int status, String retryAfter, String text) {}

    private Connection(Duration timeout) throws IOException {
        this.timeout = timeout;
        channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        try {
            // Waiting with a time-out is what only a selector can.
            channel.configureBlocking(false);
            selector = Selector.open();
            key = channel.register(selector, 0);
        } catch (IOException none) {
            channel.close();
            throw none;
        }
    }

    /** Connects. Where more wait to be accepted than may, Linux says so at once. */
    static Connection to(Path socket, Duration timeout) throws IOException {
        Connection connection = new Connection(timeout);
        try {
            boolean connected = connection.channel.connect(UnixDomainSocketAddress.of(socket));
            while (!connected) {
                connection.await(SelectionKey.OP_CONNECT);
                connected = connection.channel.finishConnect();
            }
            return connection;
        } catch (IOException | RuntimeException none) {
            connection.close();
            throw none;
        }
    }

    /** Whether another request may follow. */
    boolean isReusable() {
        return reusable;
    }

    /** Sends a request and reads its whole answer. */
    Answer ask(String method, String path, String kind, byte[] body) throws IOException {
        reusable = false;
        String type = kind == null ? "" : "content-type: " + kind + "\r\ncontent-length: " + body.length + "\r\n";
        String head = method + " " + path + " HTTP/1.1\r\nhost: agent\r\n" + type + "\r\n";
        IOException unsent = null;
        try {
            write(ByteBuffer.wrap(head.getBytes(StandardCharsets.US_ASCII)));
            write(ByteBuffer.wrap(body));
        } catch (InterruptedIOException silence) {
            throw silence;
        } catch (IOException broken) {
            unsent = broken; // A refusal may have come before all was read.
        }
        try {
            return read();
        } catch (IOException none) {
            throw unsent == null ? none : unsent;
        }
    }

    private Answer read() throws IOException {
        int status;
        Map<String, String> headers = new HashMap<>();
        do {
            status = status(line());
            headers.clear();
            for (String line = line(); !line.isEmpty(); line = line()) {
                String[] pair = line.split(":", 2);
                headers.put(pair[0].toLowerCase(Locale.ROOT), pair.length > 1 ? pair[1].trim() : "");
            }
        } while (status < 200);
        byte[] body = "chunked".equalsIgnoreCase(headers.get("transfer-encoding")) ? chunks() : counted(headers);
        reusable = !"close".equalsIgnoreCase(headers.get("connection")) && !in.hasRemaining();
        return new Answer(status, headers.get("retry-after"), new String(body, StandardCharsets.UTF_8));
    }

    private static int status(String line) throws IOException {
        if (!line.matches("HTTP/1\\.[01] [1-5][0-9]{2}( .*)?")) {
            throw new ProtocolException("this is no HTTP: " + line);
        }
        return Integer.parseInt(line, 9, 12, 10);
    }

    private byte[] counted(Map<String, String> headers) throws IOException {
        String length = headers.get("content-length");
        if (length == null) {
            throw new ProtocolException("an answer without a length");
        }
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        take(number(length, 10), body);
        return body.toByteArray();
    }

    private byte[] chunks() throws IOException {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        for (int size = size(); size > 0; size = size()) {
            take(size, body);
            line();
        }
        while (!line().isEmpty()) {
            // Trailers say nothing here.
        }
        return body.toByteArray();
    }

    private int size() throws IOException {
        return number(line().split(";", 2)[0].trim(), 16);
    }

    private static int number(String digits, int radix) throws IOException {
        if (!digits.matches("[0-9a-fA-F]{1,8}")) {
            throw new ProtocolException("a length that is none: " + digits);
        }
        return Integer.parseInt(digits, radix);
    }

    private String line() throws IOException {
        StringBuilder line = new StringBuilder();
        for (char c = octet(); c != '\n'; c = octet()) {
            if (line.append(c).length() > LINE_MAX) {
                throw new ProtocolException("a line without an end");
            }
        }
        return line.toString().stripTrailing();
    }

    private char octet() throws IOException {
        fill();
        return (char) (in.get() & 0xff);
    }

    private void take(int count, ByteArrayOutputStream out) throws IOException {
        for (int left = count; left > 0;) {
            fill();
            int part = Math.min(left, in.remaining());
            out.write(in.array(), in.position(), part);
            in.position(in.position() + part);
            left -= part;
        }
    }

    /** Waits until something can be read. */
    private void fill() throws IOException {
        if (in.hasRemaining()) {
            return;
        }
        in.clear();
        int count = channel.read(in);
        while (count == 0) {
            await(SelectionKey.OP_READ);
            count = channel.read(in);
        }
        in.flip();
        if (count < 0) {
            throw new EOFException("the agent closed the connection");
        }
    }

    private void write(ByteBuffer out) throws IOException {
        while (out.hasRemaining()) {
            if (channel.write(out) == 0) {
                await(SelectionKey.OP_WRITE);
            }
        }
    }

    private void await(int operation) throws IOException {
        key.interestOps(operation);
        if (selector.select(timeout.toMillis()) == 0) {
            throw Thread.currentThread().isInterrupted()
                ? new InterruptedIOException("interrupted while waiting for the agent")
                : new SocketTimeoutException("no answer in time");
        }
        selector.selectedKeys().clear();
    }

    @Override
    public void close() {
        try (selector; channel) {
            reusable = false;
        } catch (IOException none) {
            // There is nothing that could be done about it.
        }
    }
}
