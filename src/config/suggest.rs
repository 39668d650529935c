//! Did you mean: the nearest known name, and none when nothing is near.

#[cfg(test)]
mod tests;

use super::settings::{SETTINGS, Setting, VARIABLE_PREFIX};

/// The candidate nearest to `wrong`, if it is near enough to be a slip: spelling, case, dashes
/// for underscores, or up to a third of the letters.
pub fn closest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = normal_form(wrong);
    let allowed = (wrong.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&wrong, &normal_form(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The setting meant by `leaf` in `table` (empty at the top): the same in another spelling, else the
/// same name in another table, else the nearest in the same table, else the nearest anywhere.
pub fn setting(table: &str, leaf: &str) -> Option<&'static str> {
    let siblings = || SETTINGS.iter().filter(|setting| setting.table() == table);
    let wrong = normal_form(leaf);
    let is_same = |setting: &&Setting| setting.leaf() == wrong;
    if let Some(same) = siblings().find(is_same) {
        return Some(same.key);
    }
    if let Some(same) = SETTINGS.iter().find(is_same) {
        return Some(same.key);
    }
    if let Some(near) = closest(leaf, siblings().map(Setting::leaf)) {
        let found = siblings().find(|setting| setting.leaf() == near);
        return found.map(|setting| setting.key);
    }
    let whole = if table.is_empty() {
        leaf.to_owned()
    } else {
        format!("{table}.{leaf}")
    };
    closest(&whole, SETTINGS.iter().map(|setting| setting.key))
}

/// The variable that is meant by `wrong`: one that only lacks its table's name, else the nearest.
pub fn variable(wrong: &str) -> Option<String> {
    let variables: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let bare = wrong.strip_prefix(VARIABLE_PREFIX).unwrap_or(wrong);
    let without_table = SETTINGS
        .iter()
        .find(|setting| setting.leaf().eq_ignore_ascii_case(bare))
        .map(Setting::variable);
    let nearest = || {
        // Without the prefix, which every candidate shares and which would count as nearness.
        let bare_names = variables.iter().map(|name| &name[VARIABLE_PREFIX.len()..]);
        closest(bare, bare_names).map(|name| format!("{VARIABLE_PREFIX}{name}"))
    };
    without_table.or_else(nearest)
}

/// Lower case with underscores, from `kebab-case`, `camelCase` and `SHOUTING`.
fn normal_form(name: &str) -> String {
    let mut normal = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && after_lower {
            normal.push('_');
        }
        after_lower = c.is_ascii_lowercase();
        normal.push(match c {
            '-' => '_',
            other => other.to_ascii_lowercase(),
        });
    }
    normal
}

/// Optimal string alignment: insertions, deletions, substitutions and swapped neighbours.
fn distance(a: &str, b: &str) -> usize {
    let [a, b]: [Vec<char>; 2] = [a, b].map(|text| text.chars().collect());
    let mut before_previous: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i];
        for j in 1..=b.len() {
            let substitution = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(previous[j] + 1).min(current[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                best = best.min(before_previous[j - 2] + 1);
            }
            current.push(best);
        }
        before_previous = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}
