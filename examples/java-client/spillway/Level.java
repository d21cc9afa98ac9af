package spillway;

/** How far a record has come when it is answered. */
public enum Level {
    /** Synced to this machine's disk. */
    DISK,
    /** RocketMQ has it. Waited for up to 30 s; then the receipt says {@link #DISK}. */
    BROKER
}
