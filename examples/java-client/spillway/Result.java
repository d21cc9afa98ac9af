package spillway;

/** What became of one of many records. */
public sealed interface Result permits Receipt, Refusal {}
