use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_784_023_200);

#[test]
fn a_second_taker_is_told_who_has_it_and_since_when() {
    let directory = tempfile::tempdir().unwrap();
    let first = DirectoryLock::take(directory.path(), NOW).unwrap();
    let error = DirectoryLock::take(directory.path(), NOW).unwrap_err();
    let StoreError::InUse { pid, started, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*pid, std::process::id());
    assert_eq!(started, "2026-07-14T10:00:00Z");
    drop(first);
    DirectoryLock::take(directory.path(), NOW).unwrap();
}

#[test]
fn the_note_of_a_process_that_ended_is_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let note = "4294967295 2020-01-01T00:00:00Z and a longer line than ours will be\n";
    std::fs::write(directory.path().join(LOCK), note).unwrap();
    let lock = DirectoryLock::take(directory.path(), NOW).unwrap();
    let note = std::fs::read_to_string(directory.path().join(LOCK)).unwrap();
    assert_eq!(
        note,
        format!("{} 2026-07-14T10:00:00Z\n", std::process::id())
    );
    assert_eq!(lock.directory(), directory.path());
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_made_is_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let _lock = DirectoryLock::take(&directory, NOW).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join(LOCK)), 0o600);
}

#[test]
fn a_path_that_is_no_directory_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = DirectoryLock::take(&file.path().join("x"), NOW).unwrap_err();
    assert!(
        error.to_string().contains(&*file.path().to_string_lossy()),
        "{error}"
    );
}
