use super::files::{Paths, answer_text, appear, is_abandoned, parse_answer};
use super::*;
use crate::checkpoint::{SavepointFormat, StopMode};
use crate::{Error, ErrorKind};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn requests_read_back_and_what_is_none_is_told() {
    for target in [None, Some("/a b=c".to_owned())] {
        for format in [SavepointFormat::Canonical, SavepointFormat::Native] {
            for stop in [None, Some(StopMode::Suspend), Some(StopMode::Drain)] {
                let target = target.clone();
                let request = Request { target, format, stop };
                assert_eq!(Request::parse(&request.to_text().unwrap()), Ok(request));
            }
        }
    }
    for text in ["", "millpond-request 2\n", "millpond-request 1\nstop=maybe\n"] {
        Request::parse(text).unwrap_err();
    }
    let two_lines = Request {
        target: Some("a\nstop=drain".into()),
        ..Request::default()
    };
    assert_eq!(two_lines.to_text().unwrap_err().kind(), ErrorKind::Configuration);
}

#[test]
fn answers_read_back() {
    let path = PathBuf::from("/s/savepoint-1");
    let text = answer_text(&Ok(path.clone()));
    assert_eq!(parse_answer(&text, "a".as_ref()).unwrap(), path);
    let text = answer_text(&Err(Error::new(ErrorKind::Storage, "disk\nfull")));
    assert_eq!(
        parse_answer(&text, "a".as_ref()).unwrap_err().message(),
        "disk\nfull"
    );
    assert!(
        parse_answer("done\n", "the-answer".as_ref())
            .unwrap_err()
            .to_string()
            .contains("the-answer")
    );
}

#[test]
fn request_that_no_job_notices_is_withdrawn() {
    let dir = tempfile::tempdir().unwrap();
    let error = request(dir.path(), &Request::default(), Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.to_string().contains(dir.path().to_str().unwrap()),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let error = request(&dir.path().join("none"), &Request::default(), Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[test]
fn whoever_holds_a_file_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(dir.path(), "1");
    assert!(!is_abandoned(&paths.taken), "it is not there");
    let held = appear(&paths.taken, "").unwrap();
    assert!(!is_abandoned(&paths.taken));
    drop(held);
    assert!(is_abandoned(&paths.taken));
}
