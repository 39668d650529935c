//! Sizes and durations as people write them, and back.
//!
//! Whole numbers only, one unit only, and units exactly as listed: `KB`, `M` or `30S` could mean
//! two things or nothing, and a guess about a limit is worse than a question.

#[cfg(test)]
mod tests;

use std::time::Duration;

use thiserror::Error;

/// The largest count (of events, topics …). Arithmetic on counts cannot overflow below it.
pub const MAX_COUNT: u64 = 1_000_000_000_000;
/// The largest size, in bytes: 1 PiB.
pub const MAX_SIZE: u64 = 1 << 50;
/// The longest duration: a hundred years, which a clock can still be moved by.
pub const MAX_DURATION: Duration = Duration::from_secs(36_500 * 86_400);

/// Bytes in each unit of size; the ones that [`format_size`] uses come largest first.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Milliseconds in each unit of time, largest first.
const DURATION_UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    #[error("it is empty")]
    Empty,
    #[error("it cannot be negative")]
    Negative,
    #[error("only whole numbers are read")]
    NotWhole,
    #[error("it does not begin with a number")]
    NotANumber,
    #[error("a bare number says no unit; there are {units}")]
    MissingUnit { units: String },
    #[error("`{unit}` is not a unit here; there are {units}{hint}")]
    UnknownUnit {
        unit: String,
        units: String,
        hint: String,
    },
    #[error("it is too large; the most is {most}")]
    TooLarge { most: String },
}

/// A whole number, at most [`MAX_COUNT`].
pub fn parse_count(text: &str) -> Result<u64, UnitError> {
    let (digits, rest) = split_number(text)?;
    if !rest.is_empty() {
        return Err(UnitError::UnknownUnit {
            unit: rest.to_owned(),
            units: "none, only the number".to_owned(),
            hint: String::new(),
        });
    }
    bounded(digits, 1, MAX_COUNT).ok_or_else(|| UnitError::TooLarge {
        most: MAX_COUNT.to_string(),
    })
}

/// Bytes: a number with a unit, or a bare number of bytes; at most [`MAX_SIZE`].
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (digits, unit) = split_number(text)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let Some(factor) = factor(SIZE_UNITS, unit) else {
        return Err(unknown_unit(unit, SIZE_UNITS));
    };
    bounded(digits, factor, MAX_SIZE).ok_or_else(|| UnitError::TooLarge {
        most: format_size(MAX_SIZE),
    })
}

/// A time: a number with a unit, or `0`; at most [`MAX_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (digits, unit) = split_number(text)?;
    if unit.is_empty() {
        let is_zero = digits.bytes().all(|digit| digit == b'0');
        return if is_zero {
            Ok(Duration::ZERO)
        } else {
            Err(UnitError::MissingUnit {
                units: names(DURATION_UNITS),
            })
        };
    }
    let Some(factor) = factor(DURATION_UNITS, unit) else {
        return Err(unknown_unit(unit, DURATION_UNITS));
    };
    // u64 milliseconds hold MAX_DURATION many times over.
    let most = MAX_DURATION.as_secs() * 1_000;
    bounded(digits, factor, most)
        .map(Duration::from_millis)
        .ok_or_else(|| UnitError::TooLarge {
            most: format_duration(MAX_DURATION),
        })
}

/// The shortest form that [`parse_size`] reads back: `64KiB`, or bytes without a unit.
pub fn format_size(bytes: u64) -> String {
    let binary = &SIZE_UNITS[..4];
    let fits = |&&(_, factor): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(factor);
    match binary.iter().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// The shortest form that [`parse_duration`] reads back, to the millisecond.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let fits = |&&(_, factor): &&(&str, u64)| millis.is_multiple_of(u128::from(factor));
    match DURATION_UNITS.iter().find(fits) {
        Some((unit, factor)) if millis > 0 => format!("{}{unit}", millis / u128::from(*factor)),
        _ => "0s".to_owned(),
    }
}

/// The digits at the front and what follows, without the spaces around and between.
fn split_number(text: &str) -> Result<(&str, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    match (digits.is_empty(), rest.chars().next()) {
        (true, None) => Err(UnitError::Empty),
        (true, Some('-')) => Err(UnitError::Negative),
        (true, Some(_)) => Err(UnitError::NotANumber),
        (false, Some('.' | ',')) => Err(UnitError::NotWhole),
        (false, _) => Ok((digits, rest.trim_start())),
    }
}

/// `digits * factor`, unless that is more than `most`.
fn bounded(digits: &str, factor: u64, most: u64) -> Option<u64> {
    // Digits only, so the one way to fail is that it does not fit.
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(factor).filter(|&n| n <= most)
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    let found = units.iter().find(|(name, _)| *name == unit);
    found.map(|&(_, factor)| factor)
}

fn names(units: &[(&str, u64)]) -> String {
    let names: Vec<&str> = units.iter().rev().map(|&(name, _)| name).collect();
    names.join(", ")
}

fn unknown_unit(unit: &str, units: &[(&str, u64)]) -> UnitError {
    let meant = |name: &str| {
        let [name, unit] = [name, unit].map(str::to_ascii_lowercase);
        // `KB` and `K` both leave open whether 1000 or 1024 is meant.
        name == unit || (unit.len() == 1 && name.len() == 3 && name.starts_with(&unit))
    };
    let candidates: Vec<&str> = units
        .iter()
        .map(|&(name, _)| name)
        .filter(|name| meant(name))
        .collect();
    let hint = match candidates.as_slice() {
        [] => String::new(),
        names => format!(" (did you mean `{}`?)", names.join("` or `")),
    };
    UnitError::UnknownUnit {
        unit: unit.to_owned(),
        units: self::names(units),
        hint,
    }
}
