use super::*;

struct Bundle {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn setup(content: Option<&[u8]>) -> Bundle {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    if let Some(content) = content {
        std::fs::write(&path, content).unwrap();
    }
    Bundle {
        _folder: folder,
        path,
    }
}

fn mark(settled: &[u8], announced: u64) -> Mark {
    Mark {
        base: 0,
        settled: settled.len() as u64,
        announced,
        lines: None,
        tail: tail_digest(settled),
        replacement: None,
    }
}

fn open(bundle: &Bundle, mark: Option<&Mark>, existing: Existing) -> Result<FileState, SinkError> {
    ResultFile::open(&bundle.path, mark, existing).map(|(_, found)| found)
}

#[test]
fn a_torn_tail_is_cut_and_no_more() {
    let bundle = setup(Some(b"one\ntwo\nthr"));
    assert_eq!(
        open(&bundle, Some(&mark(b"one\ntwo\n", 6)), Existing::Refuse).unwrap(),
        FileState::AsMarked
    );
    assert_eq!(std::fs::read(&bundle.path).unwrap(), b"one\ntwo\n");
}

#[test]
fn what_others_wrote_behind_an_announcement_is_left_alone() {
    let mark = |lines: Option<&[u8]>| Mark {
        lines: lines.map(<[u8]>::to_vec),
        ..mark(b"one\n", 10)
    };
    for (behind, is_ours) in [
        (&b"two\nthr"[..], true),
        (b"two\nthree\n", true),
        (b"two\0\0\0", true),
        (b"mine\n", false),
        (b"twomine\n", false),
        (b"two\nthree\n\n", false),
    ] {
        let content = [b"one\n", behind].concat();
        let bundle = setup(Some(&content));
        let found = open(&bundle, Some(&mark(Some(b"two\nthree\n"))), Existing::Refuse);
        assert_eq!(
            matches!(found, Ok(FileState::AsMarked)),
            is_ours,
            "{behind:?} {found:?}"
        );
        let left = if is_ours { &b"one\n"[..] } else { &content };
        assert_eq!(std::fs::read(&bundle.path).unwrap(), left, "{behind:?}");
    }
    // The announced lines are not known any more, so only their length is checked.
    let bundle = setup(Some(b"one\nmine\n"));
    assert_eq!(
        open(&bundle, Some(&mark(None)), Existing::Refuse).unwrap(),
        FileState::AsMarked
    );
}

#[test]
fn what_others_wrote_is_left_alone() {
    let cases: [(&[u8], Option<Mark>, &str); 4] = [
        (b"mine\n", None, "it existed before this run"),
        (
            b"one\n",
            Some(mark(b"one\ntwo\n", 9)),
            "it has 4 bytes, but 8 were written",
        ),
        (
            b"one\nTWO\n",
            Some(mark(b"one\ntwo\n", 9)),
            "the 8 bytes before byte 8 were changed",
        ),
        (
            b"one\ntwo\nmore\n",
            Some(mark(b"one\ntwo\n", 0)),
            "5 bytes were added after byte 8",
        ),
    ];
    for (content, mark, expected) in cases {
        let bundle = setup(Some(content));
        match open(&bundle, mark.as_ref(), Existing::Refuse) {
            Err(SinkError::Foreign { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
        assert_eq!(std::fs::read(&bundle.path).unwrap(), content);
    }
}

#[test]
fn numbers_that_cannot_be_true_explain_no_file() {
    let bundle = setup(Some(b"one\n"));
    let most = i64::MAX.unsigned_abs();
    for (base, settled) in [(most, most), (u64::MAX, u64::MAX), (0, u64::MAX)] {
        let mark = Mark {
            base,
            settled,
            ..mark(b"one\n", u64::MAX)
        };
        let found = open(&bundle, Some(&mark), Existing::Refuse);
        assert!(matches!(found, Err(SinkError::Foreign { .. })), "{found:?}");
    }
    // The announcement has no bound, so all bytes behind the settled ones are ours.
    let found = open(&bundle, Some(&mark(b"", u64::MAX)), Existing::Refuse);
    assert_eq!(found.unwrap(), FileState::AsMarked);
}

#[test]
fn append_keeps_and_overwrite_empties() {
    let bundle = setup(Some(b"mine"));
    assert_eq!(
        open(&bundle, None, Existing::Append).unwrap(),
        FileState::Nothing { base: 5 }
    );
    assert_eq!(std::fs::read(&bundle.path).unwrap(), b"mine\n");
    assert_eq!(
        open(&bundle, None, Existing::Overwrite).unwrap(),
        FileState::Nothing { base: 0 }
    );
    assert_eq!(std::fs::read(&bundle.path).unwrap(), b"");
}

#[test]
fn an_absent_file_is_made_and_an_open_one_is_locked() {
    let bundle = setup(None);
    let (_held, found) = ResultFile::open(&bundle.path, Some(&mark(b"one\n", 0)), Existing::Refuse).unwrap();
    assert_eq!(found, FileState::Nothing { base: 0 });
    assert!(matches!(
        open(&bundle, None, Existing::Refuse),
        Err(SinkError::Locked { .. })
    ));
}

#[test]
fn what_somebody_else_does_to_an_open_file_is_noticed() {
    type Act = fn(&Path);
    let acts: [(Act, &str); 6] = [
        (
            |path| std::fs::write(path, b"").unwrap(),
            "it has 0 bytes, but 4 were written",
        ),
        (
            |path| std::fs::write(path, b"ours").unwrap(),
            "the 4 bytes before byte 4 were changed",
        ),
        (
            |path| std::fs::write(path, b"one\nmore\n").unwrap(),
            "5 bytes were added after byte 4",
        ),
        (|path| std::fs::remove_file(path).unwrap(), "it was removed"),
        (
            |path| {
                std::fs::rename(path, path.with_extension("1")).unwrap();
                std::fs::write(path, b"one\n").unwrap();
            },
            "another file has its name",
        ),
        (
            |path| {
                std::fs::rename(path, path.with_extension("1")).unwrap();
                std::os::unix::fs::symlink(path.with_extension("1"), path).unwrap();
            },
            "another file has its name",
        ),
    ];
    for (act, expected) in acts {
        let bundle = setup(None);
        let (mut file, _) = ResultFile::open(&bundle.path, None, Existing::Refuse).unwrap();
        file.append(b"one\n").unwrap();
        file.check().unwrap();
        act(&bundle.path);
        let before = std::fs::read(&bundle.path).ok();
        for result in [file.append(b"two\n"), file.empty(0), file.check()] {
            match result {
                Err(SinkError::Changed { reason, .. }) => assert_eq!(reason, expected),
                other => panic!("{other:?}"),
            }
        }
        let mut new = file
            .replacement(0)
            .unwrap()
            .expect("a folder that can be written");
        new.write(b"new\n").unwrap();
        assert!(matches!(new.take_place(file), Err(SinkError::Changed { .. })));
        assert_eq!(std::fs::read(&bundle.path).ok(), before, "{expected}");
        let left = std::fs::read_dir(bundle.path.parent().unwrap()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            !left
                .iter()
                .any(|name| name.to_string_lossy().ends_with("nova3-new")),
            "{left:?}"
        );
    }
}

#[test]
fn a_link_in_the_place_of_the_file_is_not_followed() {
    let bundle = setup(None);
    let other = bundle.path.with_extension("other");
    std::os::unix::fs::symlink(&other, &bundle.path).unwrap();
    assert!(matches!(
        open(&bundle, None, Existing::Overwrite),
        Err(SinkError::Io { .. })
    ));
    assert!(!other.exists());
}

#[test]
fn a_replacement_is_recognised_before_and_after_its_rename() {
    let bundle = setup(Some(b"base\nold\n"));
    let before = Mark {
        base: 5,
        settled: 4,
        announced: 0,
        lines: None,
        tail: tail_digest(b"base\nold\n"),
        replacement: None,
    };
    let (mut file, _) = ResultFile::open(&bundle.path, Some(&before), Existing::Refuse).unwrap();
    let mut new = file
        .replacement(5)
        .unwrap()
        .expect("a folder that can be written");
    new.write(b"new\nlines\n").unwrap();
    let announced = Mark {
        replacement: Some(new.complete().unwrap()),
        ..before
    };
    drop(file);
    assert_eq!(
        open(&bundle, Some(&announced), Existing::Refuse).unwrap(),
        FileState::AsMarked
    );
    let (file, _) = ResultFile::open(&bundle.path, Some(&announced), Existing::Refuse).unwrap();
    let (file, placed) = new.take_place(file).unwrap();
    assert!(placed);
    assert!(matches!(
        open(&bundle, None, Existing::Refuse),
        Err(SinkError::Locked { .. })
    ));
    drop(file);
    assert_eq!(
        open(&bundle, Some(&announced), Existing::Refuse).unwrap(),
        FileState::Replaced
    );
    assert_eq!(std::fs::read(&bundle.path).unwrap(), b"base\nnew\nlines\n");
}

#[test]
fn the_remembered_tail_is_the_files_tail() {
    let bundle = setup(None);
    let (mut file, _) = ResultFile::open(&bundle.path, None, Existing::Refuse).unwrap();
    let mut whole = Vec::new();
    for n in 0..300_usize {
        let line = format!("{}\n", "x".repeat(n * 7 % 97));
        file.append(line.as_bytes()).unwrap();
        whole.extend_from_slice(line.as_bytes());
    }
    assert_eq!(file.tail(), tail_digest(&whole));
    file.append(&vec![b'y'; 9000]).unwrap();
    whole.extend_from_slice(&vec![b'y'; 9000]);
    assert_eq!(
        (file.tail(), file.length()),
        (tail_digest(&whole), whole.len() as u64)
    );
}

#[test]
fn a_replacement_that_looks_like_the_old_file_is_not_believed() {
    let end = [b'x'; 4096];
    let (old, new) = ([b"1\n", &end[..]].concat(), [b"2\n", &end[..]].concat());
    let bundle = setup(Some(&old));
    let length = new.len() as u64;
    let mark = Mark {
        replacement: Some((length, tail_digest(&new))),
        ..mark(&old, 0)
    };
    assert_eq!(
        open(&bundle, Some(&mark), Existing::Refuse).unwrap(),
        FileState::AsMarked
    );
}
