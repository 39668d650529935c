use super::*;

#[test]
fn sizes_are_read() {
    let cases = [
        ("0", 0),
        ("65536", 65_536),
        ("12B", 12),
        ("900kB", 900_000),
        ("64KiB", 65_536),
        ("64 KiB", 65_536),
        (" 16MiB ", 16 << 20),
        ("2MB", 2_000_000),
        ("1GiB", 1 << 30),
        ("3GB", 3_000_000_000),
        ("1TB", 1_000_000_000_000),
        ("1024TiB", 1 << 50),
    ];
    for (text, bytes) in cases {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
}

#[test]
fn durations_are_read() {
    let cases = [
        ("0", 0),
        ("0s", 0),
        ("250ms", 250),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("36500d", 3_153_600_000_000),
    ];
    for (text, millis) in cases {
        let expected = Ok(Duration::from_millis(millis));
        assert_eq!(parse_duration(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_whole_positive_number_is_refused() {
    for parse in [parse_size, parse_count, |text: &str| {
        parse_duration(text).map(|_| 0)
    }] {
        assert_eq!(parse(""), Err(UnitError::Empty));
        assert_eq!(parse("  "), Err(UnitError::Empty));
        assert_eq!(parse("-1s"), Err(UnitError::Negative));
        assert_eq!(parse("1.5s"), Err(UnitError::NotWhole));
        assert_eq!(parse("1,5s"), Err(UnitError::NotWhole));
        assert_eq!(parse("+1s"), Err(UnitError::NotANumber));
        assert_eq!(parse("s"), Err(UnitError::NotANumber));
        assert_eq!(parse("٣s"), Err(UnitError::NotANumber));
    }
}

#[test]
fn too_much_is_refused_and_nothing_wraps() {
    let too_large = |text: &str| {
        let size = parse_size(text);
        assert!(matches!(size, Err(UnitError::TooLarge { .. })), "{text}");
    };
    too_large("1025TiB");
    too_large("18446744073709551616");
    // 2^64 bytes: would be 0 if it wrapped.
    too_large("16777216TiB");
    too_large("99999999999999999999999999999999999999999999GiB");

    let durations = ["36501d", "18446744073709551616ms", "213503982335d"];
    for text in durations {
        let duration = parse_duration(text);
        assert!(
            matches!(duration, Err(UnitError::TooLarge { .. })),
            "{text}"
        );
    }
    assert_eq!(parse_count("1000000000000"), Ok(MAX_COUNT));
    let count = parse_count("1000000000001");
    assert!(matches!(count, Err(UnitError::TooLarge { .. })));
}

#[test]
fn a_duration_without_a_unit_is_told_which_there_are() {
    let error = parse_duration("30").expect_err("no unit").to_string();
    assert_eq!(
        error,
        "a bare number says no unit; there are ms, s, m, h, d"
    );
}

#[test]
fn wrong_units_are_told_the_right_ones() {
    let hint_of = |result: Result<u64, UnitError>| match result {
        Err(UnitError::UnknownUnit { hint, .. }) => hint,
        other => panic!("{other:?}"),
    };
    assert_eq!(hint_of(parse_size("64KB")), " (did you mean `kB`?)");
    assert_eq!(hint_of(parse_size("64kib")), " (did you mean `KiB`?)");
    assert_eq!(hint_of(parse_size("64M")), " (did you mean `MiB`?)");
    assert_eq!(hint_of(parse_size("64s")), "");
    assert_eq!(hint_of(parse_size("1KiB1B")), "");
    let duration = |text| parse_duration(text).map(|_| 0);
    assert_eq!(hint_of(duration("30S")), " (did you mean `s`?)");
    assert_eq!(hint_of(duration("1h30m")), "");
    assert_eq!(hint_of(duration("5us")), "");
    assert_eq!(hint_of(parse_count("5k")), "");
}

#[test]
fn what_is_written_reads_back_the_same() {
    let sizes = [
        0,
        1,
        1000,
        1023,
        1024,
        65_536,
        900_000,
        1 << 20,
        3 << 30,
        MAX_SIZE,
    ];
    for bytes in sizes {
        assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
    }
    assert_eq!(format_size(65_536), "64KiB");
    assert_eq!(format_size(900_000), "900000");
    for millis in [0, 1, 999, 1000, 60_000, 90_000, 5_400_000, 86_400_000] {
        let duration = Duration::from_millis(millis);
        assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }
    assert_eq!(format_duration(Duration::from_secs(5400)), "90m");
    assert_eq!(format_duration(Duration::ZERO), "0s");
}
