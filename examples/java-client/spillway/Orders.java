package spillway;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedSet;

/**
 * What was refused for good among many, or is left behind such a one: by its order key, and by its
 * lane, which may be one order; both as the records say them. Records by their places.
 */
final class Orders {
    /** Refused whatever became of those before them in their order, or because of it. */
    private static final Set<String> UNTRIED = Set.of("not_attempted", "overloaded", "stopping");
    private final List<NewRecord> records;
    private final Map<String, Integer> keys = new HashMap<>();
    private final Map<String, Integer> lanes = new HashMap<>();

    Orders(List<NewRecord> records) {
        this.records = records;
    }

    /** Those that are to be sent again of those that were just sent. */
    Set<Integer> later(SortedSet<Integer> sent, Result[] results) {
        Map<String, Integer> tried = new HashMap<>();
        sent.stream().filter(n -> wasTried(results[n])).forEach(n -> tried.put(records.get(n).lane(), n));
        Set<Integer> later = new HashSet<>();
        for (int n : sent) {
            if (results[n] instanceof Refusal refusal) {
                if (!refusal.isForGood() && !(refusal.code().equals("not_attempted") && isBehind(n))) {
                    later.add(n);
                } else {
                    // Were the lane one order, none of it would be tried behind this one.
                    note(n, tried.getOrDefault(records.get(n).lane(), n) <= n);
                }
            }
        }
        return later;
    }

    private static boolean wasTried(Result result) {
        return !(result instanceof Refusal refusal)
            || !refusal.isForGood() && !UNTRIED.contains(refusal.code());
    }

    private boolean isBehind(int n) {
        NewRecord record = records.get(n);
        return keys.getOrDefault(record.orderKey(), n) < n || lanes.getOrDefault(record.lane(), n) < n;
    }

    private void note(int n, boolean isLane) {
        NewRecord record = records.get(n);
        if (record.orderKey() != null) {
            keys.merge(record.orderKey(), n, Math::min);
        }
        if (record.orderKey() == null || isLane) {
            lanes.merge(record.lane(), n, Math::min);
        }
    }
}
