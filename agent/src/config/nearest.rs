//! The name that was probably meant.

/// The candidate that differs from `name` in the fewest letters, if these are few enough.
pub(super) fn nearest<'c>(name: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let few = name.chars().count().div_ceil(3).min(3);
    candidates
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .filter(|(distance, _)| *distance <= few)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove or replace to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_another_word_does_not() {
        let names = ["endpoint", "transport", "tls"];
        assert_eq!(nearest("endpiont", &names), Some("endpoint"));
        assert_eq!(nearest("lts", &["limits"]), None);
        assert_eq!(nearest("end_point", &names), Some("endpoint"));
        assert_eq!(nearest("tlss", &names), Some("tls"));
        assert_eq!(nearest("colour", &names), None);
        assert_eq!(nearest("ca", &names), None);
    }

    #[test]
    fn the_distance_counts_single_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
