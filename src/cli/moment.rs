//! Points in time for people: RFC 3339 in UTC, and how long from now.

use std::time::{SystemTime, UNIX_EPOCH};

use toml::value::{Datetime, Offset};

const DAY: u64 = 86_400;
/// The last second of the year 9999, which RFC 3339 can still write.
const LAST: u64 = 253_402_300_799;

/// This computer's clock, in Unix seconds.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// `2027-01-01T00:00:00Z`, of Unix seconds.
pub fn utc(seconds: u64) -> String {
    if seconds > LAST {
        return "after the year 9999".to_owned();
    }
    let (year, month, day) = civil(seconds / DAY);
    let second = seconds % DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// `in 3 days`, `5 minutes ago`.
pub fn from_now(seconds: u64, now: u64) -> String {
    let distance = seconds.abs_diff(now);
    let units = [(DAY, "day"), (3600, "hour"), (60, "minute")];
    let unit = units.into_iter().find(|(unit, _)| distance >= 2 * unit);
    let (unit, name) = unit.unwrap_or((1, "second"));
    let count = distance / unit;
    let plural = if count == 1 { "" } else { "s" };
    match seconds >= now {
        true => format!("in {count} {name}{plural}"),
        false => format!("{count} {name}{plural} ago"),
    }
}

/// Unix seconds of a time with its offset, such as `2027-01-01T00:00:00Z`.
pub fn parse(text: &str) -> Result<u64, String> {
    let moment = text.parse::<Datetime>().ok();
    moment
        .and_then(|moment| seconds(&moment))
        .ok_or_else(|| "write a time with its offset, such as 2027-01-01T00:00:00Z".to_owned())
}

/// Unix seconds of a time that has a date, a time of day and an offset, from 1970 on.
pub fn seconds(moment: &Datetime) -> Option<u64> {
    let (date, time, offset) = (moment.date?, moment.time?, moment.offset?);
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let [year, month, day] = [date.year.into(), date.month.into(), date.day.into()];
    let [hour, minute]: [i64; 2] = [time.hour.into(), time.minute.into()];
    let second = i64::from(time.second.unwrap_or(0));
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    u64::try_from(seconds - minutes * 60).ok()
}

/// Year, month and day of a day since 1970. In years that begin in March, leap days come last
/// (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The other way round; negative before 1970.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_in_utc() {
        // date -u -d @N +%FT%TZ
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_798_761_600, "2027-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(seconds), text);
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
        assert_eq!(utc(u64::MAX), "after the year 9999");
        for day in 0..200_000 {
            assert_eq!(parse(&utc(day * DAY + 1)), Ok(day * DAY + 1));
        }
    }

    #[test]
    fn an_offset_is_asked_for_and_counts() {
        assert_eq!(parse("2027-01-01T02:00:00+02:00"), Ok(1_798_761_600));
        for bad in [
            "",
            "tomorrow",
            "2027-01-01",
            "2027-01-01T00:00:00",
            "00:00:00",
            "1969-01-01T00:00:00Z",
            "2027-13-01T00:00:00Z",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn distances_are_told_in_one_unit() {
        for (seconds, words) in [
            (1000, "in 0 seconds"),
            (1001, "in 1 second"),
            (1119, "in 119 seconds"),
            (1120, "in 2 minutes"),
            (1000 + 7200, "in 2 hours"),
            (1000 + 3 * DAY + 5, "in 3 days"),
            (999, "1 second ago"),
            (0, "16 minutes ago"),
        ] {
            assert_eq!(from_now(seconds, 1000), words);
        }
    }
}
