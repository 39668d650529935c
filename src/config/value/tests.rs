use super::super::tests::{problems, resolved};
use super::*;
use crate::config::settings;

#[test]
fn an_engine_of_another_build_is_told_from_one_that_never_was() {
    let redis = problems("", &[], &["--engine=redis"]);
    assert!(redis[0].ends_with("this build has the engines memory and disk"));
    let paper = problems("", &[], &["--engine=paper"]);
    assert!(paper[0].ends_with("there is no such engine"), "{paper:?}");
}

#[test]
fn names_of_choices_are_those_by_which_they_are_set() {
    for engine in [EngineKind::Memory, EngineKind::Disk] {
        let row = settings::find("engine").expect("a row");
        let read = row.read_scalar(engine.as_str()).expect("its own name");
        assert_eq!(EngineKind::from_value(&read), Some(engine));
    }
    for sync in [Sync::Always, Sync::Interval] {
        let row = settings::find("disk.sync").expect("a row");
        let read = row.read_scalar(sync.as_str()).expect("its own name");
        assert_eq!(Sync::from_value(&read), Some(sync));
    }
    for deliver in [Deliver::Durable, Deliver::Early] {
        let row = settings::find("disk.deliver").expect("a row");
        let read = row.read_scalar(deliver.as_str()).expect("its own name");
        assert_eq!(Deliver::from_value(&read), Some(deliver));
    }
}

#[test]
fn a_directory_may_be_relative_or_odd_but_not_a_slip() {
    for good in ["/", "data", "./data dir", "../~x", "/srv/$x/ü\"'"] {
        let flags = ["--engine=disk".to_owned(), format!("--data-dir={good}")];
        let flags = flags.each_ref().map(String::as_str);
        let first = resolved("", &[], &flags).expect(good);
        assert_eq!(first.config.data_dir, PathBuf::from(good));
        let again = resolved(&first.to_toml(), &[], &[]).expect("what it prints is good");
        assert_eq!(again.config, first.config);
    }
    for bad in ["~", "~/data", " /data", "/data\n", "/da\0ta", " "] {
        let problems = problems("", &[("TIDEWIRE_DATA_DIR", bad)], &["--engine=disk"]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let beginning = "TIDEWIRE_DATA_DIR: `data_dir` = ";
        assert!(problems[0].starts_with(beginning), "{problems:?}");
    }
}
