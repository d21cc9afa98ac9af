package spillway;

import java.util.Map;

/** The record is stored. {@code duplicate}: it was already, as this number. */
public record Receipt(String id, String key, String lane, long seq, Level level, boolean duplicate)
    implements Result {

    /** @throws SpillwayException.Unanswered if it is the answer to another record */
    static Receipt of(Map<?, ?> found, NewRecord record) throws SpillwayException {
        if (!record.id().equals(found.get("id"))) {
            throw new SpillwayException.Unanswered("an answer to " + found.get("id") + ", not to " + record.id());
        }
        Level level = "broker".equals(found.get("level")) ? Level.BROKER : Level.DISK;
        boolean duplicate = Boolean.TRUE.equals(found.get("duplicate"));
        return new Receipt(record.id(), (String) found.get("key"), (String) found.get("lane"),
            (Long) found.get("seq"), level, duplicate);
    }
}
