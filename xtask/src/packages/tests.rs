use super::*;

const NOWHERE: Package = Package::Debian {
    program: "a-program-that-nobody-has-made",
    package: "a-package-that-nobody-has-made",
};

#[test]
fn what_is_on_the_path_is_taken_as_it_is() {
    let sh = Package::Debian {
        program: "sh",
        package: "dash",
    };
    let found = Packages::default().ensure(sh).unwrap();
    assert!(
        found.ends_with("sh") && found.is_file(),
        "{}",
        found.display()
    );
}

#[test]
fn what_could_not_be_installed_is_not_tried_again_and_keeps_its_reason() {
    let packages = Packages::default();
    let reason = "Debian's a-package: only root may".to_owned();
    packages
        .found
        .borrow_mut()
        .insert(NOWHERE, Err(reason.clone()));
    assert_eq!(packages.ensure(NOWHERE), Err(reason));
}

#[test]
fn the_key_changes_with_each_list() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    fs::write(&one, "anthropic==1").unwrap();
    fs::write(&two, "").unwrap();
    let before = key(&[&one, &two]).unwrap();
    assert_eq!(before, key(&[&one, &two]).unwrap());
    fs::write(&two, "openai==2").unwrap();
    assert_ne!(before, key(&[&one, &two]).unwrap());
}
